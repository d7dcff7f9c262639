# The API tier with the real Logic behind it.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

need_stack();

our $Config = <<'_EOC_';
    include $TEST_NGINX_IM_CONF/im_api.conf;
    location = /guarded {
        auth_request /v1/auth;
        proxy_pass http://127.0.0.1:$server_port/site;
    }
    location = /site { return 200 "old site\n"; }
_EOC_

our $Json = "Content-Type: application/json";
our $Alice = unique('alice');
our $Ghost = unique('ghost');

sub user {
    my ($uri, $name, $password) = @_;
    return "POST $uri\n{\"name\":\"$name\",\"password\":\"$password\"}";
}


plan tests => repeat_each() * (blocks() * 4);

no_shuffle();
no_long_string();
run_tests();

__DATA__

=== TEST 1: register
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: ::user('/v1/register', $::Alice, 'correct horse')
--- more_headers eval: $::Json
--- timeout: 15
--- error_code: 201
--- response_headers
Content-Type: application/json
--- response_body_like: ^\{"uid":"[1-9]\d*"\}$
--- no_error_log
[error]



=== TEST 2: the name is taken now
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: ::user('/v1/register', $::Alice, 'battery staple')
--- more_headers eval: $::Json
--- timeout: 15
--- error_code: 409
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"name_taken"
--- no_error_log
[error]



=== TEST 3: a name out of bounds states the bound
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: ::user('/v1/register', 'al', 'correct horse')
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_name".*3.*32
--- no_error_log
[error]



=== TEST 4: a password out of bounds states the bound
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: ::user('/v1/register', $::Ghost, 'short')
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_password".*8.*128
--- no_error_log
[error]



=== TEST 5: log in; tokens are not to be stored by anybody between
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: ::user('/v1/login', $::Alice, 'correct horse')
--- more_headers eval: $::Json
--- timeout: 15
--- response_headers
Cache-Control: no-store
--- response_body_like: ^\{"uid":"\d+","access_token":"[-\w]+\.[-\w]+\.[-\w]+","refresh_token":"[-\w]+","expires_in":\d+\}$
--- no_error_log
[error]



=== TEST 6: a wrong password
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: ::user('/v1/login', $::Alice, 'wrong horse')
--- more_headers eval: $::Json
--- timeout: 15
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"bad_credentials"
--- no_error_log
[error]



=== TEST 7: an unknown user gets the same answer
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: ::user('/v1/login', $::Ghost, 'wrong horse')
--- more_headers eval: $::Json
--- timeout: 15
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"bad_credentials"
--- no_error_log
[error]



=== TEST 8: a refresh token that we never gave
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
POST /v1/refresh
{"refresh_token":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
--- more_headers eval: $::Json
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "status":401
--- no_error_log
[error]



=== TEST 9: a user is found by the name in the path
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: "GET /v1/users/$::Alice"
--- more_headers eval: ::bearer(7000002)
--- response_headers
Content-Type: application/json
--- response_body_like eval: "^\\{\"uid\":\"\\d+\",\"name\":\"$::Alice\"\\}\$"
--- no_error_log
[error]



=== TEST 10: nobody of that name
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: "GET /v1/users/$::Ghost"
--- more_headers eval: ::bearer(7000002)
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"no_such_user"
--- no_error_log
[error]



=== TEST 11: the token of a live session is worth 204
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
GET /v1/auth
--- more_headers eval: ::bearer(7000002)
--- error_code: 204
--- response_headers
! Content-Type
--- response_body eval: ''
--- no_error_log
[error]



=== TEST 12: auth_request lets it pass to an existing site
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
GET /guarded
--- more_headers eval: ::bearer(7000002)
--- response_headers
! WWW-Authenticate
--- response_body
old site
--- no_error_log
[error]



=== TEST 13: auth_request of a POST leaves the body to the site
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
POST /guarded
a=1
--- more_headers eval
::bearer(7000002) . "\nContent-Type: application/x-www-form-urlencoded"
--- response_headers
! WWW-Authenticate
--- response_body
old site
--- no_error_log
[error]



=== TEST 14: a message for nobody
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
POST /v1/messages
{"to":"9000000001","cmid":"c1","body":{"text":"hello"}}
--- more_headers eval: ::bearer(7000002) . "\n$::Json"
--- timeout: 15
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"no_such_user"
--- no_error_log
[error]



=== TEST 15: an empty conversation
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
GET /v1/messages?with=7000003&limit=10
--- more_headers eval: ::bearer(7000002)
--- timeout: 15
--- response_headers
Content-Type: application/json
--- response_body_like: ^\{.*"more":false\}$
--- no_error_log
[error]



=== TEST 16: a limit out of bounds
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
GET /v1/messages?with=7000003&limit=100000
--- more_headers eval: ::bearer(7000002)
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*limit
--- no_error_log
[error]



=== TEST 17: logout
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
POST /v1/logout
--- more_headers eval: ::bearer(7000004)
--- error_code: 204
--- response_headers
! Content-Type
--- response_body eval: ''
--- no_error_log
[error]



=== TEST 18: the session that was left is worth nothing
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
GET /v1/auth
--- more_headers eval: ::bearer(7000004)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"session_revoked"
--- no_error_log
[error]



=== TEST 19: a list in a body is checked before Logic is asked
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
POST /v1/sync
{"cursors":[{"with":"7000003","seq":"0"},{"with":"7000001"}]}
--- more_headers eval: ::bearer(7000002) . "\n$::Json"
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"missing_field".*'seq'
--- no_error_log
[error]



=== TEST 20: nobody marks as read without saying what
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
POST /v1/read
{"with":"7000003"}
--- more_headers eval: ::bearer(7000002) . "\n$::Json"
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"missing_field".*'seq'
--- no_error_log
[error]



=== TEST 21: users are looked up by name, whoever exists
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request eval: "POST /v1/users:lookup\n{\"names\":[\"$::Alice\",\"$::Ghost\"]}"
--- more_headers eval: ::bearer(7000002) . "\n$::Json"
--- response_headers
Content-Type: application/json
--- response_body_like eval: "^\\{\"users\":\\[\\{\"uid\":\"\\d+\",\"name\":\"$::Alice\"\\}\\]\\}\$"
--- no_error_log
[error]



=== TEST 22: nobody is looked up by nothing
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
POST /v1/users:lookup
{}
--- more_headers eval: ::bearer(7000002) . "\n$::Json"
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field"
--- no_error_log
[error]
