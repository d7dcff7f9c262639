# Test::Nginx::Server -- the nginx of a block: its folder, its configuration,
# how it starts and stops, and what it has logged.  A part of the stand-in for
# Test::Nginx (Socket.pm); there is one nginx at a time.

package Test::Nginx::Server;

use strict;
use warnings;

use Exporter qw(import);
use File::Path qw(make_path remove_tree);
use File::Spec ();
use IO::Socket::INET ();
use POSIX qw(:sys_wait_h);
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
    no_root_location log_level workers master_on worker_connections
    server_root server_port bail_out
    expand serve refuse is_up stop_nginx remove_root connect_nginx
    mark_log wait_for_close error_log_since
);

my $Root        = $ENV{TEST_NGINX_SERVROOT}
                  || File::Spec->rel2abs('t/servroot');
my $Binary      = $ENV{TEST_NGINX_BINARY} || 'nginx';
my $Port        = $ENV{TEST_NGINX_CLIENT_PORT} || 1984;
my $Level       = $ENV{TEST_NGINX_LOG_LEVEL} || 'debug';
my $LogTimeout  = 5;
my $Workers     = 1;
my $Connections = 64;
my $Master      = $ENV{TEST_NGINX_MASTER_PROCESS}
                  || (defined $ENV{ASAN_OPTIONS} ? 'on' : 'off');
my $NoRoot      = 0;

my ($Pid, $Running, $LogPos);

$ENV{TEST_NGINX_SERVER_ROOT} = $Root;
$ENV{TEST_NGINX_SERVER_PORT} //= $Port;

sub no_root_location ()    { $NoRoot = 1 }
sub master_on ()           { $Master = 'on' }
sub server_root ()         { $Root }
sub server_port (@)        { $Port = shift if @_; $Port }
sub log_level (@)          { $Level = shift if @_; $Level }
sub workers (@)            { $Workers = shift if @_; $Workers }
sub worker_connections (@) { $Connections = shift if @_; $Connections }
sub bail_out (@)           { Test::More::BAIL_OUT("@_") }


# The prototypes matter: a section that a block does not have is an empty list,
# and undef where a scalar is wanted.

# Has the nginx of this block run; one with the same configuration goes on.
sub serve ($) {
    my $block = shift;
    my $text = config_text($block);

    if (defined $Running && $Running eq $text
        && !defined $block->post_setup_server_root
        && !waitpid($Pid, WNOHANG))
    {
        write_user_files($block);
        return;
    }

    stop_nginx();
    prepare_root($block, $text);
    start_nginx($block);
    $Running = $text;
}

# Its exit status, if it does not start, as it should; undef if it does.
sub refuse ($) {
    my $block = shift;

    stop_nginx();
    prepare_root($block, config_text($block));
    $LogPos = 0;

    # nginx frees nothing when its configuration is refused
    local $ENV{ASAN_OPTIONS} = ($ENV{ASAN_OPTIONS} // '') . ':detect_leaks=0';

    my $pid = spawn_nginx();
    my $end = time + 10;

    while (waitpid($pid, WNOHANG) == 0) {
        if (time > $end || -s "$Root/logs/nginx.pid") {
            $Pid = $pid;
            stop_nginx();
            return undef;
        }
        sleep 0.01;
    }

    return $?;
}

sub is_up () { return defined $Pid }

sub remove_root () {
    remove_tree($Root) unless $ENV{TEST_NGINX_NO_CLEAN};
}


# --- configuration, start, stop

sub expand ($$) {
    my ($text, $block) = @_;

    return '' unless defined $text;

    $text =~ s{\$(TEST_NGINX_[_A-Z0-9]+)}{
        $ENV{$1} // bail_out($block->name . " - No environment $1 defined.")
    }eg;

    return $text;
}

sub config_text ($) {
    my $block = shift;
    my $load = join ' ', map { "load_module $_;" }
               split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $main = expand($block->main_config, $block);
    my $http = expand($block->http_config, $block);
    my $conf = expand($block->config, $block);
    my $level = $block->log_level ? $block->log_level : $Level;
    my $user = $Master eq 'on' && $> == 0 ? 'user root;' : '';
    my $root = $NoRoot ? '' : "location / { root $Root/html; }";
    my $temp = join "\n    ", map { "${_}_temp_path $Root/${_}_temp;" }
               qw(client_body proxy fastcgi scgi uwsgi);

    chomp $level;

    return <<_EOC_;
worker_processes $Workers;
daemon off;
master_process $Master;
error_log $Root/logs/error.log $level;
pid $Root/logs/nginx.pid;

$load $user $main

http {
    access_log $Root/logs/access.log;
    $temp
    default_type text/plain;
    keepalive_timeout 68s;

$http
    server {
        listen 127.0.0.1:$Port;
        server_name localhost;
        client_max_body_size 30M;

$conf
        $root
    }
}

events {
    worker_connections $Connections;
}
_EOC_
}

sub prepare_root ($$) {
    my ($block, $text) = @_;

    remove_tree($Root);
    make_path(map { "$Root/$_" } qw(conf logs html));
    write_file("$Root/conf/nginx.conf", $text);
    write_file("$Root/html/index.html", "It works!\n");
    write_file("$Root/logs/error.log", '');
    write_user_files($block);

    if (defined $block->post_setup_server_root) {
        eval $block->post_setup_server_root;
        bail_out($block->name . " - post_setup_server_root failed: $@") if $@;
    }
}

sub write_file ($$) {
    my ($path, $data) = @_;

    open my $out, '>', $path or bail_out("cannot write $path: $!");
    binmode $out;
    print $out $data;
    close $out;
}

sub write_user_files ($) {
    my $block = shift;
    my $files = $block->user_files;

    return unless $files;

    if (!ref $files) {
        my @parts = split /^>>> (\S+)[^\n]*\n/m, $files;
        my @list;
        shift @parts;
        while (@parts) {
            my ($fname, $body) = splice @parts, 0, 2;
            push @list, [$fname, $body // ''];
        }
        $files = \@list;
    }

    for (@$files) {
        my ($fname, $body) = @$_;
        my $path = $fname =~ m{^/} ? $fname : "$Root/html/$fname";

        make_path($1) if $path =~ m{(.*)/};
        write_file($path, expand($body, $block));
    }
}

sub spawn_nginx () {
    my $pid = fork() // bail_out("fork() failed: $!");

    return $pid if $pid;

    open STDOUT, '>', '/dev/null';
    open STDERR, '>>', "$Root/logs/stderr.log";
    exec $Binary, '-e', "$Root/logs/error.log", '-p', "$Root/",
         '-c', "$Root/conf/nginx.conf" or POSIX::_exit(127);
}

sub start_nginx ($) {
    my $block = shift;
    my $end = time + 15;

    $Pid = spawn_nginx();

    while (time < $end) {
        last if waitpid($Pid, WNOHANG) != 0;

        if (-s "$Root/logs/nginx.pid" && connect_nginx(1)) {
            return;
        }
        sleep 0.01;
    }

    Test::More::diag(join '', map { read_file("$Root/logs/$_") }
                              qw(error.log stderr.log));
    bail_out($block->name . " - cannot start nginx");
}

sub stop_nginx () {
    return unless defined $Pid;

    my ($pid, $end) = ($Pid, time + 15);

    undef $Pid;
    undef $Running;

    return if waitpid($pid, WNOHANG) != 0;

    kill 'QUIT', $pid;

    while (waitpid($pid, WNOHANG) == 0) {
        if (time > $end) {
            Test::More::diag("nginx did not quit in 15 s: killed");
            kill 'KILL', $pid;
            waitpid($pid, 0);
            return;
        }
        sleep 0.01;
    }
}

sub read_file ($) {
    open my $in, '<', shift or return '';
    binmode $in;
    local $/;
    return <$in> // '';
}

END {
    my $status = $?;
    stop_nginx();
    $? = $status;
}


# --- connections and the log

sub connect_nginx ($) {
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $Port,
                                 Proto => 'tcp', Timeout => shift);
}

# nginx logs a request before it closes the connection, but often after the
# client has seen the end: where it lingers (a pipelined request, a body that
# nobody reads) it only shuts its side down first.  Without this wait a line
# that must be there could be missing, and one that must not be there could
# stand in the part of the next block.
sub wait_for_close () {
    my $port = sprintf ':%04X', $Port;
    my $end = time + $LogTimeout;

    while (time < $end) {
        my $open = 0;

        for (split /\n/, read_file('/proc/net/tcp')) {
            my (undef, $local, undef, $state, undef, undef, undef, undef,
                undef, $inode) = split;

            # not the listening socket, nor one that nginx has closed; one
            # that it has yet to accept has no inode, but a peer
            $open = 1 if defined $inode && $local =~ /$port$/
                         && $state ne '0A'
                         && ($inode || $state =~ /^0[18]$/);
        }

        return if !$open;
        sleep 0.005;
    }

    Test::More::diag("a connection stayed open for $LogTimeout s");
}

# error_log_since() is what comes from now on.
sub mark_log () { $LogPos = -s "$Root/logs/error.log" }

sub error_log_since () {
    my $all = read_file("$Root/logs/error.log");

    return substr $all, $LogPos < length $all ? $LogPos : length $all;
}

1;
