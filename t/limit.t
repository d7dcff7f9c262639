# im_limit: who asks too often waits or is refused, and nobody else.  No Logic
# is needed: what passes is answered 503, because this nginx has no im_etcd.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

our $Http = <<'_EOC_';
    im_jwt_key_file $TEST_NGINX_IM_KEY;
    im_limit_zone both:1m key=user;
    im_limit_zone users:1m key=user;
    im_limit_zone addresses:1m key=address;
    im_limit_zone more_addresses:1m key=address;
    im_limit_zone rooms:1m key=room;
    im_limit_zone sessions:1m key=session;
    im_limit_zone dry:1m key=user;
    im_limit_zone slow:1m key=user;
    im_limit_zone asked:1m key=user;
_EOC_

our $Config = <<'_EOC_';
    add_header X-Limit $im_limit_status always;

    location = /user {
        im_limit zone=users rate=1r/m burst=1 nodelay;
        im_api POST Read;
        im_api GET Me;
    }
    location = /login {
        im_limit zone=addresses rate=1r/h method=Login;
        im_api Login;
    }
    location = /anybody {
        im_limit zone=users rate=1r/h;
        im_api Login;
    }
    location = /method {
        im_limit zone=users rate=2r/h method=Read,Sync;
        im_api POST Read;
        im_api GET Me;
    }
    location ~ ^/rooms/(?<room>[0-9]+)$ {
        im_limit zone=rooms rate=1r/h;
        im_api GET RoomGet;
    }
    location = /session {
        im_limit zone=sessions rate=1r/h;
        im_api GET Me;
    }
    location = /dry {
        im_limit zone=dry rate=1r/h dry_run;
        im_api GET Me;
    }
    location = /slow {
        im_limit zone=slow rate=30r/m burst=5 delay=1;
        im_api GET Me;
    }
    location = /asked {
        im_limit zone=asked rate=1r/h;
        im_api GET Auth;
    }
    location = /guarded {
        auth_request /asked;
    }
    location = /both {
        im_limit zone=both rate=3r/h burst=2 nodelay;
        im_limit zone=more_addresses rate=1r/h;
        im_api GET Me;
    }
    location = /first {
        im_limit zone=both rate=3r/h burst=2 nodelay;
        im_api GET Me;
    }
    location = /order {
        # longest possible delay; zones that are declared the other way round
        im_limit zone=users rate=2r/m burst=1 delay=0 method=Read;
        im_limit zone=users rate=2r/h method=Me;
        im_limit zone=more_addresses rate=2r/h method=Me;
        im_api GET Me;
    }
    location = /none {
        im_api GET Me;
    }
_EOC_

our $Login = "POST /login\n" . '{"name":"bob","password":"correct horse"}';
our $Read = '{"with":"7","seq":"1"}';
our $Json = 'Content-Type: application/json';

sub as { return ::bearer(shift) . "\n$::Json" }

sub limited {
    my $zone = shift;
    return qr/"status":429,"code":"rate_limited","retryable":true,
              "retry_after_ms":[1-9]\d*,
              "detail":"the\ limit\ \\"$zone\\"\ is\ reached"\}/x;
}

plan tests => 72;

no_shuffle();
no_long_string();
run_tests();

__DATA__

=== TEST 1: the burst passes, then 429 with the time to come back
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: [("GET /user") x 3]
--- more_headers eval: [(::as(1)) x 3]
--- error_code eval: [503, 503, 429]
--- response_headers_like eval
["X-Limit: PASSED", "X-Limit: PASSED",
 "X-Limit: REJECTED\nRetry-After: (?:60|[1-5]?[0-9])"]
--- response_body_like eval: ['unavailable', 'unavailable', ::limited('users')]



=== TEST 2: another user has a limit of its own
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /user
--- more_headers eval: ::as(2)
--- error_code: 503
--- response_headers
X-Limit: PASSED



=== TEST 3: log-ins by address: the first
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: $::Login
--- more_headers eval: $::Json
--- error_code: 503
--- response_headers
X-Limit: PASSED



=== TEST 4: the second is refused; the log names whom, and how many
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: $::Login
--- more_headers eval: $::Json
--- error_code: 429
--- response_body_like eval: ::limited('addresses')
--- error_log
im_limit: zone "addresses": 1 refused, the last one: Login of address 127.0.0.1



=== TEST 5: more refusals of that minute are counted, not logged
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: [($::Login) x 2]
--- more_headers eval: [($::Json) x 2]
--- error_code eval: [429, 429]
--- no_error_log
im_limit: zone "addresses":



=== TEST 6: a limit by user does not count who is none
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: [("POST /anybody\n{\"name\":\"b\",\"password\":\"12345678\"}") x 2]
--- more_headers eval: [($::Json) x 2]
--- error_code eval: [503, 503]
--- response_headers eval: ['! X-Limit', '! X-Limit']



=== TEST 7: method= limits these methods only
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: ["POST /method\n$::Read", "POST /method\n$::Read", "GET /method"]
--- more_headers eval: [(::as(3)) x 3]
--- error_code eval: [503, 429, 503]
--- response_headers eval: ['X-Limit: PASSED', 'X-Limit: REJECTED', '! X-Limit']



=== TEST 8: by room, whoever asks
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: ['GET /rooms/5', 'GET /rooms/5', 'GET /rooms/6']
--- more_headers eval: [::as(5), ::as(6), ::as(6)]
--- error_code eval: [503, 429, 503]



=== TEST 9: by session
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: [('GET /session') x 3]
--- more_headers eval: [::as(7), ::as(7), ::as(8)]
--- error_code eval: [503, 429, 503]
--- response_body_like eval: ['', ::limited('sessions'), '']



=== TEST 10: dry_run: the first
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /dry
--- more_headers eval: ::as(9)
--- error_code: 503
--- response_headers
X-Limit: PASSED



=== TEST 11: the second is not refused, but logged
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /dry
--- more_headers eval: ::as(9)
--- error_code: 503
--- response_headers
X-Limit: REJECTED_DRY_RUN
--- error_log
im_limit: zone "dry": 1 would have been refused, the last one: Me of user 9 (dry_run)



=== TEST 12: above the delay a request waits, and is answered
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: [('GET /slow') x 3]
--- more_headers eval: [(::as(10)) x 3]
--- error_code eval: [503, 503, 503]
--- response_headers eval: ['X-Limit: PASSED', 'X-Limit: PASSED', 'X-Limit: DELAYED']



=== TEST 13: the subrequest of an auth_request is left alone
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: [('GET /guarded') x 3]
--- more_headers eval: [(::as(11)) x 3]
--- error_code eval: [500, 500, 500]
--- response_headers eval: ['! X-Limit', '! X-Limit', '! X-Limit']



=== TEST 14: what one limit refuses is not counted by another one
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: ['GET /both', ('GET /both') x 5, ('GET /first') x 3]
--- more_headers eval: [(::as(12)) x 9]
--- error_code eval: [503, (429) x 5, 503, 503, 429]



=== TEST 15: a location without a limit
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /none
--- more_headers eval: ::as(1)
--- error_code: 503
--- response_headers
! X-Limit



=== TEST 16: zones are asked by name, in whatever order they were declared
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: [('GET /order') x 2]
--- more_headers eval: [(::as(13)) x 2]
--- error_code eval: [503, 429]
--- response_body_like eval: ['unavailable', ::limited('more_addresses')]
