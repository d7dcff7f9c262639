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
# Server.pm runs nginx, Request.pm talks to it, this file checks.
#
# Environment: TEST_NGINX_BINARY, TEST_NGINX_LOAD_MODULES, TEST_NGINX_SERVROOT,
# TEST_NGINX_CLIENT_PORT, TEST_NGINX_TIMEOUT, TEST_NGINX_LOG_LEVEL,
# TEST_NGINX_MASTER_PROCESS, TEST_NGINX_NO_CLEAN.  $TEST_NGINX_... is replaced
# in config sections.  With ASAN_OPTIONS there is a master by default: a single
# process leaves nginx's own tables behind, a worker does not.

package Test::Nginx::Socket;

use v5.10.1;
use Test::Base -Base;

use Test::Nginx::Request;
use Test::Nginx::Server;
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
    response_headers_like error_code error_code_like error_log no_error_log
    timeout wait log_level must_die
    user_files post_setup_server_root ignore_response abort shutdown
    SKIP ONLY LAST
    name description seq_num original_values is_filtered blocks_object
);

my $RepeatEach = 1;
my $LogTimeout = 5;
my @Preprocessors;

sub no_shuffle ()     { }
sub no_long_string () { }
sub repeat_each (@)   { $RepeatEach = shift if @_; $RepeatEach }
sub add_block_preprocessor (&) { push @Preprocessors, shift }


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
    remove_root();
}


sub run_block ($) {
    my $block = shift;

    if (defined $block->must_die) {
        run_must_die($block) for 1 .. $RepeatEach;
        return;
    }

    serve($block);

    for (1 .. $RepeatEach) {
        mark_log();
        run_requests($block);
    }
}


sub run_must_die ($) {
    my $block = shift;
    my $name = $block->name;
    my $status = refuse($block);

    if (!defined $status) {
        fail("$name - die as expected");
    } elsif ($block->must_die =~ /^\s*(\d+)\s*$/) {
        is($status >> 8, $1, "$name - die with the expected exit code");
    } else {
        isnt($status, 0, "$name - die as expected");
    }

    check_error_log($block);
}


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

sub check_error_log ($) {
    my $block = shift;
    my $name = $block->name;
    my $end = time + $LogTimeout;

    # one that must die has closed everything
    wait_for_close() if is_up();

    my $log = error_log_since();

    if (defined $block->error_log) {
        # what a timer or the answer of a peer writes
        while (is_up() && time < $end
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
