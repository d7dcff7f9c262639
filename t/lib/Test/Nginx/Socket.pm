# Test::Nginx::Socket -- a small stand-in for openresty/test-nginx.
#
# The suites in t/ are written for the real Test::Nginx.  Where it is not
# installed (Debian has no package of it) this file takes its place: the same
# sections, the same number of assertions, so that `plan` holds under both.
# Each .t begins with BEGIN { push @INC, 't/lib' }: an installed copy, or one
# in PERL5LIB, is found first.
#
# What differs: it binds to 127.0.0.1 only, does not shuffle, keeps nginx
# running between blocks of equal configuration, waits longer (a machine may be
# slow), and dies on a section that it does not know, so that a suite cannot
# come to depend on something untested.  It also reads the error log only when
# nginx has closed the connection, and waits for the lines of error_log: a
# client may see the end of a response before the request's last line is
# written.
#
# One section is its own: raw_request_middle_until, a pattern or a list of them.
# The next piece of raw_request is sent when all that has come so far matches;
# the real Test::Nginx goes by raw_request_middle_delay, which stands there,
# too.
#
# Environment: TEST_NGINX_BINARY, TEST_NGINX_LOAD_MODULES, TEST_NGINX_SERVROOT,
# TEST_NGINX_CLIENT_PORT, TEST_NGINX_TIMEOUT, TEST_NGINX_LOG_LEVEL,
# TEST_NGINX_MASTER_PROCESS, TEST_NGINX_NO_CLEAN.  $TEST_NGINX_... is replaced
# in config sections.  With ASAN_OPTIONS there is a master by default: a single
# process leaves nginx's own tables behind, a worker does not.

package Test::Nginx::Socket;

use v5.10.1;
use Test::Base -Base;

use File::Path qw(make_path remove_tree);
use File::Spec ();
use IO::Select ();
use IO::Socket::INET ();
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep time);

our $VERSION = '0.1';

our @EXPORT = qw(
    run_tests repeat_each no_shuffle no_long_string no_root_location
    log_level workers master_on worker_connections server_root server_port
    add_block_preprocessor bail_out timeout
);

# Test::Base turns every plain `sub name {` into a method; a prototype keeps a
# sub as it is written.  That is why all of them have one.

my %Known = map { $_ => 1 } qw(
    config http_config main_config request raw_request
    raw_request_middle_delay raw_request_middle_until more_headers
    response_body response_body_like response_body_unlike response_headers
    response_headers_like error_code
    error_code_like error_log no_error_log timeout wait log_level must_die
    user_files post_setup_server_root ignore_response abort shutdown
    SKIP ONLY LAST
    name description seq_num original_values is_filtered blocks_object
);

my $Root        = $ENV{TEST_NGINX_SERVROOT}
                  || File::Spec->rel2abs('t/servroot');
my $Binary      = $ENV{TEST_NGINX_BINARY} || 'nginx';
my $Port        = $ENV{TEST_NGINX_CLIENT_PORT} || 1984;
my $Timeout     = $ENV{TEST_NGINX_TIMEOUT} || 15;
my $Level       = $ENV{TEST_NGINX_LOG_LEVEL} || 'debug';
my $LogTimeout  = 5;
my $RepeatEach  = 1;
my $Workers     = 1;
my $Connections = 64;
my $Master      = $ENV{TEST_NGINX_MASTER_PROCESS}
                  || (defined $ENV{ASAN_OPTIONS} ? 'on' : 'off');
my $NoRoot      = 0;
my @Preprocessors;

my ($Pid, $Running, $LogPos);

$ENV{TEST_NGINX_SERVER_ROOT} = $Root;
$ENV{TEST_NGINX_SERVER_PORT} //= $Port;

sub no_shuffle ()          { }
sub no_long_string ()      { }
sub no_root_location ()    { $NoRoot = 1 }
sub master_on ()           { $Master = 'on' }
sub server_root ()         { $Root }
sub server_port (@)        { $Port = shift if @_; $Port }
sub log_level (@)          { $Level = shift if @_; $Level }
sub workers (@)            { $Workers = shift if @_; $Workers }
sub worker_connections (@) { $Connections = shift if @_; $Connections }
sub timeout (@)            { $Timeout = shift if @_; $Timeout }
sub add_block_preprocessor (&) { push @Preprocessors, shift }
sub bail_out (@)           { Test::More::BAIL_OUT("@_") }

sub repeat_each (@) {
    $RepeatEach = shift if @_;
    return $RepeatEach;
}


sub run_tests () {
    for my $block (Test::Base::blocks()) {
        $_->($block) for @Preprocessors;

        for my $section (keys %$block) {
            next if $Known{$section} || $section =~ /^_/;
            bail_out($block->name . ": the stand-in for Test::Nginx does not "
                     . "know section '$section'");
        }

        run_block($block) unless defined $block->SKIP;
    }

    stop_nginx();
    remove_tree($Root) unless $ENV{TEST_NGINX_NO_CLEAN};
}


sub run_block ($) {
    my $block = shift;
    my $text = config_text($block);

    if (defined $block->must_die) {
        stop_nginx();
        run_must_die($block, $text) for 1 .. $RepeatEach;
        return;
    }

    if (!defined $Running || $Running ne $text
        || defined $block->post_setup_server_root || waitpid($Pid, WNOHANG))
    {
        stop_nginx();
        prepare_root($block, $text);
        start_nginx($block);
        $Running = $text;

    } else {
        write_user_files($block);
    }

    for (1 .. $RepeatEach) {
        $LogPos = -s "$Root/logs/error.log";
        run_requests($block);
    }
}


sub run_must_die ($$) {
    my ($block, $text) = @_;
    my $name = $block->name;

    prepare_root($block, $text);
    $LogPos = 0;

    # nginx frees nothing when its configuration is refused
    local $ENV{ASAN_OPTIONS} = ($ENV{ASAN_OPTIONS} // '') . ':detect_leaks=0';

    my $pid = spawn_nginx();
    my $end = time + 10;

    while (waitpid($pid, WNOHANG) == 0) {
        if (time > $end || -s "$Root/logs/nginx.pid") {
            fail("$name - die as expected");
            $Pid = $pid;
            stop_nginx();
            check_error_log($block);
            return;
        }
        sleep 0.01;
    }

    if ($block->must_die =~ /^\s*(\d+)\s*$/) {
        is($? >> 8, $1, "$name - die with the expected exit code");
    } else {
        isnt($?, 0, "$name - die as expected");
    }

    check_error_log($block);
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

    diag(join '', map { read_file("$Root/logs/$_") } qw(error.log stderr.log));
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
            diag("nginx did not quit in 15 s: killed");
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


# --- requests

sub run_requests ($) {
    my $block = shift;
    my $list = requests_of($block);
    my $many = @$list > 1;

    for my $i (0 .. $#$list) {
        my $raw = send_request($block, $list->[$i]);

        check_response($block, parse_response($raw), $i, $many)
            unless defined $block->ignore_response;

        if ($i < $#$list) {
            sleep($block->wait) if $block->wait;
            check_error_log($block);
        }
    }

    sleep($block->wait) if $block->wait;
    check_error_log($block);
}

# A list of requests, each a list of pieces to send.
sub requests_of ($) {
    my $block = shift;
    my $raw = $block->raw_request;
    my $requests = $block->request;
    my $more = $block->more_headers // '';

    if (defined $raw) {
        return [ref $raw ? $raw : [$raw]];
    }

    bail_out($block->name . " - neither request nor raw_request")
        unless defined $requests;

    $requests = [$requests] unless ref $requests;

    my $i = 0;
    return [map { [build_request($block, $_, ref $more ? $more->[$i++]
                                                       : $more)] } @$requests];
}

sub build_request ($$$) {
    my ($block, $text, $more) = @_;

    $text =~ s/^\s+//;

    my ($line, $body) = $text =~ /^([^\n]*)\n?(.*)$/s;
    my ($method, $uri, $version) = split ' ', $line;
    my @headers = grep { length && !/^\s*#/ } split /\n+/, $more;
    my $head = join '', map { "$_\r\n" } @headers;

    $uri //= '/';
    $version //= 'HTTP/1.1';

    $head = "Connection: close\r\n$head" if $head !~ /^Connection/mi;
    $head = "Host: localhost\r\n$head" if $head !~ /^Host:/mi;

    if ($body ne '' && $head !~ /^Transfer-Encoding: chunked/mi
        && $head !~ /^Content-Length:/m)
    {
        $body =~ s/^\s+|\s+$//g;
        $head .= "Content-Length: " . length($body) . "\r\n";
    }

    return "$method $uri $version\r\n$head\r\n$body";
}

sub connect_nginx ($) {
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $Port,
                                 Proto => 'tcp', Timeout => shift);
}

# Sends the pieces, reads until the server closes.
sub send_request ($$) {
    my ($block, $pieces) = @_;
    my $limit = $block->timeout ? $block->timeout + 0 : $Timeout;
    my $sock = connect_nginx($limit);
    my ($resp, $end) = ('', time + $limit);
    my @left = @$pieces;

    if (!$sock) {
        fail($block->name . " - cannot connect: $!");
        return '';
    }

    local $SIG{PIPE} = 'IGNORE';
    my $select = IO::Select->new($sock);

    while (@left) {
        my $piece = shift @left;

        $sock->blocking(0);
        while (length $piece) {
            my $n = syswrite $sock, $piece;
            if (defined $n) {
                substr($piece, 0, $n) = '';
            } elsif (!$!{EAGAIN}) {
                @left = ();            # the server has closed: read its words
                last;
            }

            # a server that answers early must not be blocked by us
            read_some($sock, $select, \$resp, 0.01) if length $piece;
            if (time > $end) {
                @left = ();
                last;
            }
        }

        if (@left) {
            between_pieces($block, scalar(@$pieces) - @left - 1, $sock,
                           $select, \$resp, $limit);
            $end = time + $limit;
        }
    }

    shutdown($sock, 1) if defined $block->shutdown;

    $end = time + $limit;

    while (time < $end) {
        my $n = read_some($sock, $select, \$resp, $end - time);
        return $resp if defined $n && $n <= 0;
        $end = time + $limit if $n;
    }

    fail("ERROR: client socket timed out - " . $block->name)
        unless defined $block->abort;

    return $resp;
}

# After the piece of this number, and before the next one.
sub between_pieces ($$$$$$) {
    my ($block, $piece, $sock, $select, $resp, $limit) = @_;
    my $until = $block->raw_request_middle_until;
    my $end = time + $limit;

    if (!defined $until) {
        sleep($block->raw_request_middle_delay)
            if $block->raw_request_middle_delay;
        return;
    }

    my $like = ref $until eq 'ARRAY' ? $until->[$piece] : $until;

    while ($$resp !~ /$like/s) {
        my $n = read_some($sock, $select, $resp, $end - time);

        if (defined $n ? $n <= 0 : time > $end) {
            diag($block->name . " - \"$like\" did not come before "
                 . "piece " . ($piece + 2));
            return;
        }
    }
}

# Bytes read; 0 or -1 at the end; undef when nothing came in time.
sub read_some ($$$$) {
    my ($sock, $select, $resp, $wait) = @_;

    return undef unless $select->can_read($wait > 0 ? $wait : 0);

    my $n = sysread $sock, $$resp, 65536, length $$resp;

    return $n if defined $n;
    return $!{EAGAIN} || $!{EINTR} ? undef : -1;
}

sub parse_response ($) {
    my $raw = shift;
    my %res = (code => '', head => '', headers => {}, body => '');

    return \%res unless $raw =~ /^HTTP\/\d\.\d (\d+)[^\n]*\r\n/;

    $res{code} = $1;

    my $at = index $raw, "\r\n\r\n";

    return \%res if $at < 0;

    $res{head} = substr $raw, 0, $at + 2;
    $res{body} = substr $raw, $at + 4;

    for (split /\r\n/, $res{head}) {
        push @{$res{headers}{lc $1}}, $2 if /^([^:\s]+):\s*(.*?)\s*$/;
    }

    return \%res if $res{code} == 101 || $res{code} == 304;

    my $len = $res{headers}{'content-length'};

    if (($res{headers}{'transfer-encoding'}[0] // '') eq 'chunked') {
        my ($rest, $body) = ($res{body}, '');

        while ($rest =~ s/^([0-9A-Fa-f]+)[^\r\n]*\r\n// && hex $1) {
            $body .= substr $rest, 0, hex $1;
            $rest = length $rest > hex $1 ? substr $rest, hex($1) + 2 : '';
        }
        $res{body} = $body;

    } elsif ($len && length $res{body} > $len->[0]) {
        $res{body} = substr $res{body}, 0, $len->[0];
    }

    return \%res;
}


# --- checks: as many assertions as the real one makes

sub pick ($$$$) {
    my ($block, $value, $i, $many) = @_;

    return $value unless $many;
    return $value->[$i] if ref $value eq 'ARRAY';

    bail_out($block->name . " - several requests need arrays of results");
}

sub check_response ($$$$) {
    my ($block, $res, $i, $many) = @_;
    my $name = $block->name;

    if (defined $block->error_code_like) {
        my $like = pick($block, $block->error_code_like, $i, $many);
        like($res->{code}, qr/$like/sm, "$name - status code ok");

    } else {
        my $code = defined $block->error_code
                   ? pick($block, $block->error_code, $i, $many) : 200;
        is($res->{code}, trim_line($code), "$name - status code ok");
    }

    if (defined $block->response_headers) {
        check_headers($block, $res, 0,
                      pick($block, $block->response_headers, $i, $many));

    } elsif (defined $block->response_headers_like) {
        check_headers($block, $res, 1,
                      pick($block, $block->response_headers_like, $i, $many));
    }

    if (defined $block->response_body) {
        my $body = pick($block, $block->response_body, $i, $many);

        if (ref $body) {
            like($res->{body}, $body, "$name - response_body - like");
        } else {
            is($res->{body}, expand($body, $block),
               "$name - response_body - response is expected");
        }

    } elsif (defined $block->response_body_like) {
        my $like = pick($block, $block->response_body_like, $i, $many);
        like($res->{body}, qr/$like/s, "$name - response_body_like");

    } elsif (defined $block->response_body_unlike) {
        my $like = pick($block, $block->response_body_unlike, $i, $many);
        unlike($res->{body}, qr/$like/s, "$name - response_body_unlike");
    }
}

sub trim_line ($) {
    my $s = shift;

    $s =~ s/^\s+|\s+$//g;
    return $s;
}

sub check_headers ($$$$) {
    my ($block, $res, $like, $text) = @_;
    my $name = $block->name;
    my %want;

    for (split /\n/, $text) {
        my $line = trim_line($_);

        if ($line =~ s/^!\s*//) {
            $want{$line} = undef;
        } else {
            my ($key, $value) = split /\s*:\s*/, $line, 2;
            $want{$key} = $value;
        }
    }

    for my $key (sort keys %want) {
        my $got = join ', ', @{$res->{headers}{lc $key} // []};

        if ($like) {
            like($got, qr/^$want{$key}$/, "$name - header $key like ok");
        } elsif (defined $want{$key}) {
            is($got, $want{$key}, "$name - header $key ok");
        } else {
            unlike($res->{head}, qr/^\s*\Q$key\E\s*:/ms,
                   "$name - header $key not present in the raw headers");
        }
    }
}

sub patterns ($) {
    my $value = shift;

    return @$value if ref $value eq 'ARRAY';
    return ($value) if ref $value;
    return grep { length } split /\n+/, $value;
}

sub log_has ($$) {
    my ($log, $pat) = @_;

    return ref $pat ? $log =~ /$pat/ : index($log, $pat) >= 0;
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

    diag("a connection stayed open for $LogTimeout s");
}

sub error_log_since () {
    my $all = read_file("$Root/logs/error.log");

    return substr $all, $LogPos < length $all ? $LogPos : length $all;
}

sub check_error_log ($) {
    my $block = shift;
    my $name = $block->name;
    my $end = time + $LogTimeout;

    # one that must die has closed everything
    wait_for_close() if defined $Pid;

    my $log = error_log_since();

    if (defined $block->error_log) {
        # what a timer or the answer of a peer writes
        while (defined $Pid && time < $end
               && grep { !log_has($log, $_) } patterns($block->error_log))
        {
            sleep 0.01;
            $log = error_log_since();
        }

        for my $pat (patterns($block->error_log)) {
            ok(log_has($log, $pat),
               "$name - pattern \"$pat\" matches a line in error.log");
        }
    }

    if (defined $block->no_error_log) {
        for my $pat (patterns($block->no_error_log)) {
            my ($line) = grep { log_has($_, $pat) } split /\n/, $log;

            ok(!defined $line, "$name - pattern \"$pat\" does not match a "
               . "line in error.log" . (defined $line ? ": $line" : ''));
        }
    }

    for (split /\n/, $log) {
        diag("WARNING: $name - $_")
            if /\[(?:alert|crit)\]|AddressSanitizer|runtime error:/;
    }
}

1;
