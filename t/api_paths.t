# The endpoints among the locations of a site: whatever the site has, they are
# reached, and what is no endpoint is a refusal that a program can read.  No
# stack is needed: a request that gets as far as Logic ends in 503.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

# What a site has for its files, in front of us and behind us.
our $Files = <<'_EOC_';
    location ~* \.(png|js|css)$ { return 200 "a file of the site\n"; }
    location ~ ^/v1/rooms { return 200 "the site's rooms\n"; }
_EOC_

our $Ours = <<'_EOC_';
    include $TEST_NGINX_IM_CONF/im_api.conf;
_EOC_

our $Rest = <<'_EOC_';
    location ^~ /v1/ { im_api_not_found; }
_EOC_

# A site that has a /v1/ of its own.
our $Theirs = <<'_EOC_';
    location /v1/ { return 200 "the site's API\n"; }
    location /v1/users/login { return 200 "the site's log-in\n"; }
_EOC_

our $Json = "Content-Type: application/json";

plan tests => repeat_each() * (blocks() * 4);

no_long_string();
run_tests();

__DATA__

=== TEST 1: a user named like a file is found, behind the site's files
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours
--- request
GET /v1/users/photo.png
--- more_headers eval: ::bearer(7)
--- error_code_like: ^(503|404)$
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"(unavailable|no_such_user)"
--- no_error_log
[alert]



=== TEST 2: a user named like a file is found, in front of the site's files
--- http_config eval: ::http_config()
--- config eval: $::Ours . $::Files
--- request
GET /v1/users/app.js
--- more_headers eval: ::bearer(7)
--- error_code_like: ^(503|404)$
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"(unavailable|no_such_user)"
--- no_error_log
[alert]



=== TEST 3: such a user is nobody's business without a token
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours
--- request
GET /v1/users/photo.png
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 4: a name with escaped characters is one name
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours
--- request
GET /v1/users/pho%74o%2Epng
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 5: a room is reached though the site has a pattern for it
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours
--- request
GET /v1/rooms/7
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 6: a member of a room, too
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours
--- request
DELETE /v1/rooms/7/members/8
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 7: the files of the site are served as before
--- http_config eval: ::http_config()
--- config eval: $::Ours . $::Rest . $::Files
--- request
GET /users/photo.png
--- error_code: 200
--- response_headers
! X-Nothing
--- response_body
a file of the site
--- no_error_log
[alert]



=== TEST 8: no endpoint among the users
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours
--- request
GET /v1/users/bob/photo.png
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":404,"code":"not_found"
--- no_error_log
[alert]



=== TEST 9: no endpoint among the rooms
--- http_config eval: ::http_config()
--- config eval: $::Ours
--- request
GET /v1/rooms/seven
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":404,"code":"not_found"
--- no_error_log
[alert]



=== TEST 10: no endpoint among the blocks
--- http_config eval: ::http_config()
--- config eval: $::Ours
--- request
DELETE /v1/blocks/bob
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":404,"code":"not_found"
--- no_error_log
[alert]



=== TEST 11: no endpoint at all
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
GET /v1/unknown.png
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":404,"code":"not_found"
--- no_error_log
[alert]



=== TEST 12: a slash too many is no endpoint
--- http_config eval: ::http_config()
--- config eval: $::Ours . $::Rest
--- request
POST /v1/login/
{"name":"alice","password":"correct horse"}
--- more_headers eval: $::Json
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"not_found"
--- no_error_log
[alert]



=== TEST 13: a large body to no endpoint
--- http_config eval: ::http_config()
--- config
location ^~ /v1/ { im_api_not_found; client_max_body_size 1k; }
--- request eval: "POST /v1/nothing\n" . 'x' x 3000
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"not_found"
--- no_error_log
[alert]



=== TEST 14: HEAD of no endpoint
--- http_config eval: ::http_config()
--- config eval: $::Ours . $::Rest
--- request
HEAD /v1/nothing
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body:
--- no_error_log
[alert]



=== TEST 15: a page of the site for 404 is not for programs
--- http_config eval: ::http_config()
--- config eval
$::Ours . $::Rest . 'error_page 404 /404.html;
location = /404.html { return 200 "<p>not here\n"; }'
--- request
GET /v1/nothing
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"not_found"
--- no_error_log
[alert]



=== TEST 16: another method of an endpoint is 405, not 404
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
DELETE /v1/users/photo.png
--- more_headers eval: ::bearer(7)
--- error_code: 405
--- response_headers
Allow: HEAD, GET
--- response_body_like: "code":"method_not_allowed"
--- no_error_log
[alert]



=== TEST 17: a method that nobody knows
--- http_config eval: ::http_config()
--- config eval: $::Ours . $::Rest
--- request
PUT /v1/login
--- error_code: 405
--- response_headers
Allow: POST
--- response_body_like: "code":"method_not_allowed"
--- no_error_log
[alert]



=== TEST 18: a site with a /v1/ of its own keeps it
--- http_config eval: ::http_config()
--- config eval: $::Theirs . $::Ours
--- request
GET /v1/orders
--- error_code: 200
--- response_headers
! X-Nothing
--- response_body
the site's API
--- no_error_log
[alert]



=== TEST 19: and the endpoints are beside it
--- http_config eval: ::http_config()
--- config eval: $::Theirs . $::Ours
--- request
GET /v1/conversations
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 20: a longer prefix of the site wins
--- http_config eval: ::http_config()
--- config eval: $::Theirs . $::Ours
--- request
GET /v1/users/login
--- error_code: 200
--- response_headers
! X-Nothing
--- response_body
the site's log-in
--- no_error_log
[alert]



=== TEST 21: limit_except leaves the answer as it is
--- http_config eval: ::http_config()
--- config
location ^~ /v1/ { im_api_not_found; limit_except GET { allow all; } }
--- request
POST /v1/nothing
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"not_found"
--- no_error_log
[alert]



=== TEST 22: a colon in a path of ours
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
POST /v1/users:lookup
{"uids":["7"]}
--- more_headers eval: ::bearer(7) . "\n$::Json"
--- error_code_like: ^(503|200)$
--- response_headers
! X-Nothing
--- response_body_like: ("code":"unavailable"|\{"users":\[)
--- no_error_log
[alert]



=== TEST 23: a colon in a path may be escaped
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
POST /v1/users%3Alookup
{"uids":["7"]}
--- more_headers eval: ::bearer(7) . "\n$::Json"
--- error_code_like: ^(503|200)$
--- response_headers
! X-Nothing
--- response_body_like: ("code":"unavailable"|\{"users":\[)
--- no_error_log
[alert]



=== TEST 24: users are looked up with a token only
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
POST /v1/users:lookup
{"uids":["7"]}
--- more_headers eval: $::Json
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 25: another method of a path with a colon is 405
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
GET /v1/users:lookup?uids=7
--- more_headers eval: ::bearer(7)
--- error_code: 405
--- response_headers
Allow: POST
--- response_body_like: "code":"method_not_allowed"
--- no_error_log
[alert]



=== TEST 26: no other endpoint with a colon
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
POST /v1/users:forget
{}
--- more_headers eval: ::bearer(7) . "\n$::Json"
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":404,"code":"not_found"
--- no_error_log
[alert]



=== TEST 27: who one is asks for a token
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
GET /v1/me
--- more_headers eval: "X-Nothing: 1"
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 28: another method of who one is is 405
--- http_config eval: ::http_config()
--- config eval: $::Files . $::Ours . $::Rest
--- request
DELETE /v1/me
--- more_headers eval: ::bearer(7)
--- error_code: 405
--- response_headers
Allow: HEAD, GET
--- response_body_like: "code":"method_not_allowed"
--- no_error_log
[alert]



=== TEST 29: a path with a colon beside a site with a /v1/ of its own
--- http_config eval: ::http_config()
--- config eval: $::Theirs . $::Ours
--- request
POST /v1/users:lookup
{"uids":["7"]}
--- more_headers eval: $::Json
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]
