# `im_health;` says how a worker is, as the daemons' probes do of themselves.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

plan tests => repeat_each() * (blocks() * 3 + 2);

# An etcd where nobody listens, with the stack or without it.
our $Nobody = "im_etcd 127.0.0.1:9;\n"
              . "im_jwt_key_file $ENV{TEST_NGINX_IM_KEY};\n";

our $Config = 'location = /live { im_health live; }
    location = /ready { im_health ready; }
    location = /short { im_health; }
    location = /ws { im_ws; }';

no_long_string();
run_tests();

__DATA__

=== TEST 1: a worker without etcd is not ready, and names what is missing
--- http_config eval: $::Nobody
--- config eval: $::Config
--- request
GET /ready
--- error_code: 503
--- response_headers
Content-Type: application/json
Cache-Control: no-store
--- response_body_like
^\{"ready":false,"instance":"[^"]+","missing":\[\{"name":"etcd","since_s":0,"error":"[^"]+"\},\{"name":"registration","since_s":0,"error":"[^"]+"\},\{"name":"logic","since_s":0,"error":"no instance is known"\}\]\}$



=== TEST 2: ready is what is asked by default
--- http_config eval: $::Nobody
--- config eval: $::Config
--- request
GET /short
--- error_code: 503
--- response_body_like: ^\{"ready":false,.*"name":"etcd"
--- no_error_log
[error]



=== TEST 3: it lives all the same
--- http_config eval: $::Nobody
--- config eval: $::Config
--- request
GET /live
--- error_code: 200
--- response_body_like: ^\{"ready":false,"instance":".*"name":"etcd"
--- no_error_log
[error]



=== TEST 4: a worker that has no im_etcd
--- config
    location = /ready { im_health; }
--- request
GET /ready
--- error_code: 503
--- response_body
{"ready":false,"instance":"","missing":[{"name":"worker","since_s":0,"error":"im_etcd is not given"}]}
--- no_error_log
[error]



=== TEST 5: HEAD is answered, too
--- http_config eval: $::Nobody
--- config eval: $::Config
--- request
HEAD /live
--- error_code: 200
--- response_body:
--- no_error_log
[error]



=== TEST 6: nothing else
--- http_config eval: $::Nobody
--- config eval: $::Config
--- request
POST /live
--- error_code: 405
--- response_headers
Allow: GET, HEAD
--- response_body_like: "code":"method_not_allowed"
--- no_error_log
[error]
