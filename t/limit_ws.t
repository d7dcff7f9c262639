# im_limit before the log-in of a WebSocket connection: no stack is needed.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

our $Http = ::http_config() . <<'_EOC_';
    im_limit_zone addresses:1m key=address;
    im_limit_zone users:1m key=user;
    im_limit_zone dry:1m key=address;
_EOC_

our $Config = <<'_EOC_';
    im_ws_auth_timeout 300ms;

    location = /ws {
        im_limit zone=addresses rate=1r/h frame=auth;
        im_ws;
    }
    location = /users {
        im_limit zone=users rate=1r/h;
        im_ws;
    }
    location = /dry {
        im_limit zone=dry rate=1r/h frame=auth dry_run;
        im_ws;
    }
_EOC_

our $Auth = text('{"type":"auth","token":"a.b.c"}');

sub closes {
    my ($before, $code) = (shift, quotemeta pack 'n', shift);
    return qr/^$before\x88[\x02-\x7d]$code[\x20-\x7e]*\z/s;
}

our $Wrong = qr/\x81.{1,3}?\{"type":"error","code":"unauthorized"[^}]*\}/s;
our $Limited = qr/\x81.{1,3}?\{"type":"error","code":"rate_limited",
                  "message":"the\ limit\ \\"addresses\\"\ is\ reached",
                  "retryable":true,"retry_after_ms":\d+\}/sx;

plan tests => repeat_each() * (blocks() * 3);

no_shuffle();
no_long_string();
run_tests();

__DATA__

=== TEST 1: the first auth frame of an address is read
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . $::Auth
--- error_code: 101
--- response_body eval: ::closes($::Wrong, 4100)
--- no_error_log
im_limit:



=== TEST 2: the next one is refused, and the time to log in goes on
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . $::Auth
--- error_code: 101
--- response_body eval: ::closes($::Limited, 4100)
--- error_log
im_limit: zone "addresses": 1 refused, the last one: auth of address 127.0.0.1



=== TEST 3: before the log-in a connection has no user
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval: ::handshake('/users') . $::Auth
--- error_code: 101
--- response_body eval: ::closes($::Wrong, 4100)
--- no_error_log
im_limit:



=== TEST 4: dry_run, the first
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval: ::handshake('/dry') . $::Auth
--- error_code: 101
--- response_body eval: ::closes($::Wrong, 4100)
--- no_error_log
im_limit:



=== TEST 5: dry_run, the second: it is read, and logged
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval: ::handshake('/dry') . $::Auth
--- error_code: 101
--- response_body eval: ::closes($::Wrong, 4100)
--- error_log
im_limit: zone "dry": 1 would have been refused, the last one: auth of address 127.0.0.1 (dry_run)
