# im_jwt: a token is checked before anything else serves, in any location.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

our $Http = "im_jwt_key_file \$TEST_NGINX_IM_KEY;\n";

our $Config = <<'_EOC_';
    location = /required {
        im_jwt required;
        proxy_set_header X-Who "$im_user_id $im_device $im_session";
        proxy_pass http://127.0.0.1:$server_port/who;
    }
    location = /optional {
        im_jwt optional;
        proxy_set_header X-Who "user=$im_user_id";
        proxy_pass http://127.0.0.1:$server_port/who;
    }
    location = /off {
        proxy_set_header X-Who "user=$im_user_id";
        proxy_pass http://127.0.0.1:$server_port/who;
    }
    location = /who { return 200 "$http_x_who\n"; }
    location = /auth { im_jwt required; im_api GET Auth; }
    location = /guarded {
        auth_request /auth;
        proxy_pass http://127.0.0.1:$server_port/who;
    }
_EOC_

plan tests => repeat_each() * (blocks() * 4);

no_long_string();
run_tests();

__DATA__

=== TEST 1: required, and no token
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "status":401,"code":"unauthorized"
--- no_error_log
[error]



=== TEST 2: required, and a good token: its claims are variables
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer(41, sid => 'A' x 22, dev => 'phone')
--- response_headers
! WWW-Authenticate
--- response_body eval: "41 phone " . 'A' x 22 . "\n"
--- no_error_log
[error]



=== TEST 3: the scheme's name has no case
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: 'Authorization: bEARER ' . ::token(41)
--- response_headers
! WWW-Authenticate
--- response_body_like: ^41 test
--- no_error_log
[error]



=== TEST 4: an expired token says so
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer(41, exp => time() - 10)
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"token_expired"
--- no_error_log
[error]



=== TEST 5: a token signed with another key
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer(41, key => 'x' x 40)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 6: alg none, with an empty signature
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer(41, alg => 'none', signature => '')
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 7: an algorithm that is not ours, with our signature
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer(41, alg => 'HS512')
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 8: a token that never expires is none of ours
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer(41, exp => undef)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 9: a token without a session
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer(41, sid => undef)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 10: a token for nobody
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer('alice')
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 11: a changed payload under a good signature
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval
my @mine = split /\./, ::token(41);
my @other = split /\./, ::token(42);
"Authorization: Bearer $mine[0].$other[1].$mine[2]"
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 12: not a token at all
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers
Authorization: Bearer ....
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 13: a token longer than 4096 bytes
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer(41, junk => 'x' x 4000)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 14: another scheme is no token
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers
Authorization: Basic YWxpY2U6c2VjcmV0
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 15: the argument access_token is for WebSocket locations only
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: 'GET /required?access_token=' . ::token(41)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 16: optional, and no token
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /optional
--- response_headers
! WWW-Authenticate
--- response_body
user=
--- no_error_log
[error]



=== TEST 17: optional, and a good token
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /optional
--- more_headers eval: ::bearer(41)
--- response_headers
! WWW-Authenticate
--- response_body
user=41
--- no_error_log
[error]



=== TEST 18: optional does not mean that a bad token passes
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /optional
--- more_headers eval: ::bearer(41, key => 'x' x 40)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 19: off, the default, does not look
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /off
--- more_headers eval: ::bearer(41)
--- response_headers
! WWW-Authenticate
--- response_body
user=
--- no_error_log
[error]



=== TEST 20: auth_request on the Auth endpoint refuses without a token
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /guarded
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: 401
--- no_error_log
[alert]



=== TEST 21: ids of 63 bits pass unharmed
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /required
--- more_headers eval: ::bearer('9223372036854775807')
--- response_headers
! WWW-Authenticate
--- response_body_like: ^9223372036854775807 test
--- no_error_log
[error]
