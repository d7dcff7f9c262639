# The module loads, alone and beside what an nginx serves already.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

plan tests => repeat_each() * (blocks() * 3);

no_long_string();
run_tests();

__DATA__

=== TEST 1: a configuration without any directive of ours still serves
--- config
    location = /t { return 200 "old site\n"; }
--- request
GET /t
--- response_body
old site
--- no_error_log
[error]



=== TEST 2: static files and proxy_pass beside API and WebSocket locations
--- http_config eval: ::http_config()
--- config
    location = /old { return 200 "old site\n"; }
    location = /proxy { proxy_pass http://127.0.0.1:$server_port/old; }
    location = /v1/login { im_api Login; }
    location = /ws { im_ws; }
--- request
GET /proxy
--- response_body
old site
--- no_error_log
[alert]



=== TEST 3: endpoints that are not asked cost nothing without etcd
--- http_config
    im_jwt_key_file $TEST_NGINX_IM_KEY;
--- config
    location = /t { return 200 "ok\n"; }
    location = /v1/login { im_api Login; }
--- request
GET /t
--- response_body
ok
--- no_error_log
[error]



=== TEST 4: several HTTP methods share a location
--- http_config
    im_jwt_key_file $TEST_NGINX_IM_KEY;
--- config
    location = /v1/messages {
        im_jwt required;
        im_api GET History;
        im_api POST Send;
        im_api_timeout 3s;
        im_api_max_body 128k;
    }
    location = /t { return 200 "ok\n"; }
--- request
GET /t
--- response_body
ok
--- no_error_log
[error]



=== TEST 5: all endpoints, included by one line
--- http_config
    im_jwt_key_file $TEST_NGINX_IM_KEY;
--- config
    include $TEST_NGINX_IM_CONF/im_api.conf;
    location = /t { return 200 "ok\n"; }
--- request
GET /t
--- response_body
ok
--- no_error_log
[error]
