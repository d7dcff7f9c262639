# The API tier up to the call: what never reaches Logic.  No stack is needed:
# there is no etcd here, so a request that is well formed ends in 503.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

our $Http = "im_jwt_key_file \$TEST_NGINX_IM_KEY;\n";

our $Config = <<'_EOC_';
    location = /login { im_api Login; }
    location = /messages {
        im_jwt required;
        im_api GET History;
        im_api POST Send;
    }
    location = /open { im_api Send; }
    location = /small { im_api Login; im_api_max_body 64; }
    location ~ ^/user/(?<name>[^/]+)$ { im_jwt required; im_api GET FindUser; }
    location ~ ^/login/(?<name>[^/]+)$ { im_api Login; }
_EOC_

our $Json = "Content-Type: application/json";
our $Login = '{"name":"alice","password":"correct horse"}';

plan tests => repeat_each() * (blocks() * 4);

no_long_string();
run_tests();

__DATA__

=== TEST 1: an HTTP method that the location does not serve
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /login
--- error_code: 405
--- response_headers
Allow: POST
--- response_body_like: "status":405,"code":"method_not_allowed"
--- no_error_log
[error]



=== TEST 2: Allow names all methods
--- http_config eval: $::Http
--- config eval: $::Config
--- request
DELETE /messages
--- more_headers eval: ::bearer(7)
--- error_code: 405
--- response_headers
Allow: HEAD, GET, POST
--- response_body_like: "code":"method_not_allowed"
--- no_error_log
[error]



=== TEST 3: refusals are problem details, and not to be stored
--- http_config eval: $::Http
--- config eval: $::Config
--- request
PUT /login
--- error_code: 405
--- response_headers
Cache-Control: no-store
--- response_body_like: ^\{"type":"urn:im:error:method_not_allowed","title":"[^"]+","status":405,"code":"method_not_allowed","retryable":false,"detail":"[^"]+"\}$
--- no_error_log
[error]



=== TEST 4: a body that is not JSON by its type
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n$::Login"
--- more_headers
Content-Type: application/x-www-form-urlencoded
--- error_code: 415
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unsupported"
--- no_error_log
[error]



=== TEST 5: a body without a type
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n$::Login"
--- error_code: 415
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unsupported"
--- no_error_log
[error]



=== TEST 6: a type that only begins like ours
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n$::Login"
--- more_headers
Content-Type: application/jsonp
--- error_code: 415
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unsupported"
--- no_error_log
[error]



=== TEST 7: another charset
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n$::Login"
--- more_headers
Content-Type: application/json; charset=iso-8859-1
--- error_code: 415
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unsupported"
--- no_error_log
[error]



=== TEST 8: the charset may be said, in any case
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n$::Login"
--- more_headers
Content-Type: Application/JSON; Charset="UTF-8"
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "code":"unavailable","retryable":true,"retry_after_ms":1000,
--- no_error_log
[error]



=== TEST 9: a well-formed request, and no im_etcd
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n$::Login"
--- more_headers eval: $::Json
--- error_code: 503
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":503,"code":"unavailable"
--- error_log
this worker does not serve the messenger now



=== TEST 10: Content-Length over im_api_max_body
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /small\n" . '{"name":"' . 'x' x 100 . '"}'
--- more_headers eval: $::Json
--- error_code: 413
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"too_large".*larger than 64 bytes
--- no_error_log
[error]



=== TEST 11: a chunked body over im_api_max_body
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval
"POST /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n$::Json\r\n"
. "Transfer-Encoding: chunked\r\n\r\n"
. ("20\r\n" . 'x' x 32 . "\r\n") x 3 . "0\r\n\r\n"
--- error_code: 413
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"too_large"
--- no_error_log
[error]



=== TEST 12: a chunked body, in pieces and with a void chunk at its end
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval
["POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n$::Json\r\n"
 . "Transfer-Encoding: chunked\r\n\r\n10\r\n" . substr($::Login, 0, 16)
 . "\r\n",
 sprintf("%x\r\n", length($::Login) - 16) . substr($::Login, 16) . "\r\n",
 "0\r\n\r\n"]
--- raw_request_middle_delay: 0.05
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "code":"unavailable"
--- no_error_log
[error]



=== TEST 13: a body in pieces, with Content-Length
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval
["POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n$::Json\r\n"
 . "Content-Length: " . length($::Login) . "\r\n\r\n",
 substr($::Login, 0, 10), substr($::Login, 10)]
--- raw_request_middle_delay: 0.05
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "code":"unavailable"
--- no_error_log
[error]



=== TEST 14: a body larger than nginx's own buffer stays in memory
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval
"POST /login\n" . '{"name":"alice","password":"correct horse","x":"'
. 'x' x 60000 . '"}'
--- more_headers eval: $::Json
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "code":"unavailable"
--- no_error_log
temporary file



=== TEST 15: chunks that lie about their length
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval
"POST /login HTTP/1.1\r\nHost: localhost\r\n$::Json\r\n"
. "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request"
--- no_error_log
[alert]



=== TEST 16: malformed JSON
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login
{"name":"alice","password":}
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_json"
--- no_error_log
[error]



=== TEST 17: JSON that is not an object
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login
["alice"]
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_json"
--- no_error_log
[error]



=== TEST 18: a value of the wrong type
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login
{"name":7,"password":"correct horse"}
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*name
--- no_error_log
[error]



=== TEST 19: a key twice
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login
{"name":"alice","password":"correct horse","name":"bob"}
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*name
--- no_error_log
[error]



=== TEST 20: bytes that are not UTF-8
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n{\"name\":\"al\xffice\",\"password\":\"correct horse\"}"
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_json"
--- no_error_log
[error]



=== TEST 21: a field that is required and missing
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login
{"name":"alice"}
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"missing_field".*password
--- no_error_log
[error]



=== TEST 22: no body at all
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"missing_field"
--- no_error_log
[error]



=== TEST 23: what a client does not know of the schema is ignored
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login?trace=1
{"name":"alice","password":"correct horse","hint":{"a":[1,2,null]}}
--- more_headers eval: $::Json
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "code":"unavailable"
--- no_error_log
[error]



=== TEST 24: a field both in the query and in the body
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login?name=bob
{"name":"alice","password":"correct horse"}
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*name
--- no_error_log
[error]



=== TEST 25: a field twice in the query
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /messages?with=8&with=9
--- more_headers eval: ::bearer(7)
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*with
--- no_error_log
[error]



=== TEST 26: a field both in the path and in the query
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /user/bob?name=alice
--- more_headers eval: ::bearer(7)
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*name
--- no_error_log
[error]



=== TEST 27: the path fills a field, the body the rest
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /login/alice
{"password":"correct horse"}
--- more_headers eval: $::Json
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "code":"unavailable"
--- no_error_log
[error]



=== TEST 28: the query fills fields
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /messages?with=8&limit=10&before_seq=100
--- more_headers eval: ::bearer(7)
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "code":"unavailable"
--- no_error_log
[error]



=== TEST 29: a query argument that is no number
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /messages?with=bob
--- more_headers eval: ::bearer(7)
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*with
--- no_error_log
[error]



=== TEST 30: a method for known callers, in a location that asks for no token
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /open
{"to":"8","body":"hello"}
--- more_headers eval: $::Json
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 31: who calls cannot be said in the body
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /open
{"to":"8","body":"hello","caller":{"uid":"1","sid":"x","device":"y"}}
--- more_headers eval: $::Json
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[error]



=== TEST 32: HEAD is GET without the body
--- http_config eval: $::Http
--- config eval: $::Config
--- request
HEAD /messages?with=8
--- more_headers eval: ::bearer(7)
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body eval: ''
--- no_error_log
[error]



=== TEST 33: an escaped quote in a detail stays JSON
--- http_config eval: $::Http
--- config eval: $::Config
--- request
GET /messages?with=%22%5C%0A
--- more_headers eval: ::bearer(7)
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: ^\{("[a-z]+":("([^"\\]|\\.)*"|[0-9]+|true|false),?)+\}$
--- no_error_log
[error]



=== TEST 34: deep nesting is refused
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n{\"x\":" . '[' x 1000 . ']' x 1000 . '}'
--- more_headers eval: $::Json
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_json"
--- no_error_log
[error]



=== TEST 35: the connection lives on after a refusal with the body unread
--- http_config eval: $::Http
--- config eval: $::Config
--- raw_request eval
"POST /small HTTP/1.1\r\nHost: localhost\r\n$::Json\r\n"
. "Content-Length: 1000\r\n\r\n" . 'x' x 1000
. "GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
--- error_code: 413
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"too_large"
--- no_error_log
[error]



=== TEST 36: a body of two types
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /login\n$::Login"
--- more_headers
Content-Type: application/json
Content-Type: text/plain
--- error_code: 415
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unsupported"
--- no_error_log
[error]



=== TEST 37: a body with a number that common parsers cannot read
--- http_config eval: $::Http
--- config eval: $::Config
--- request
POST /messages
{"to":"7","body":{"n":1e400}}
--- more_headers eval: ::bearer(7) . "\n$::Json"
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*the number at byte 22 is beyond the range of a double
--- no_error_log
[error]



=== TEST 38: a body with a number of thousands of digits
--- http_config eval: $::Http
--- config eval: $::Config
--- request eval: "POST /messages\n{\"to\":\"7\",\"body\":" . ('9' x 5000) . '}'
--- more_headers eval: ::bearer(7) . "\n$::Json"
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_field".*the number at byte 17 is longer than 40 characters
--- no_error_log
[error]
