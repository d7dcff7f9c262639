# A configuration that cannot work is refused, with a sentence that says why.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

BEGIN { certificates() }

plan tests => repeat_each() * (blocks() * 2);

no_long_string();
run_tests();

__DATA__

=== TEST 1: im_api names a method that Logic does not have
--- config
    location = /t { im_api NoSuchThing; }
--- must_die
--- error_log
im_api names an unknown method: service im.Logic has no "NoSuchThing"



=== TEST 2: the name of a method is case-sensitive
--- config
    location = /t { im_api login; }
--- must_die
--- error_log
service im.Logic has no "login"



=== TEST 3: im_api cannot serve a stream
--- config
    location = /t { im_api Exchange; }
--- must_die
--- error_log
im_api cannot serve "Exchange": it is a stream, not a call



=== TEST 4: an HTTP method that im_api does not know
--- config
    location = /t { im_api BREW Login; }
--- must_die
--- error_log
im_api cannot serve HTTP method "BREW": it is one of GET, POST, PUT, PATCH, DELETE



=== TEST 5: the same HTTP method twice in a location
--- config
    location = /t { im_api POST Login; im_api Refresh; }
--- must_die
--- error_log
im_api is a duplicate: this location serves HTTP method "POST" already



=== TEST 6: im_api in a location that proxy_pass serves
--- config
    location = /t { proxy_pass http://127.0.0.1:1; im_api Login; }
--- must_die
--- error_log
"im_api" directive is in a location that another directive serves already



=== TEST 7: im_api outside of a location
--- config
    im_api Login;
--- must_die
--- error_log
"im_api" directive is not allowed here



=== TEST 8: im_api without a method
--- config
    location = /t { im_api; }
--- must_die
--- error_log
invalid number of arguments in "im_api" directive



=== TEST 9: im_api with too many words
--- config
    location = /t { im_api GET POST Login; }
--- must_die
--- error_log
invalid number of arguments in "im_api" directive



=== TEST 10: im_api_timeout 0
--- config
    location = /t { im_api Login; im_api_timeout 0; }
--- must_die
--- error_log
"im_api_timeout" directive must be above 0



=== TEST 11: im_api_timeout that is no time
--- config
    location = /t { im_api Login; im_api_timeout soon; }
--- must_die
--- error_log
"im_api_timeout" directive invalid value



=== TEST 12: im_api_max_body 0
--- config
    location = /t { im_api Login; im_api_max_body 0; }
--- must_die
--- error_log
"im_api_max_body" directive must be above 0



=== TEST 13: im_jwt with a word that it does not know
--- http_config
    im_jwt_key_file $TEST_NGINX_IM_KEY;
--- config
    location = /t { im_jwt sometimes; }
--- must_die
--- error_log
invalid value "sometimes"



=== TEST 14: im_jwt required without a key
--- config
    location = /t { im_jwt required; return 200; }
--- must_die
--- error_log
im_jwt needs im_jwt_key_file in http{}



=== TEST 15: a key file that is not there
--- http_config
    im_jwt_key_file $TEST_NGINX_SERVER_ROOT/no-such.key;
--- config
    location = /t { return 200; }
--- must_die
--- error_log
no-such.key



=== TEST 16: a key that is too short
--- http_config
    im_jwt_key_file $TEST_NGINX_SERVER_ROOT/html/short.key;
--- user_files
>>> short.key
too-short
--- config
    location = /t { return 200; }
--- must_die
--- error_log
im_jwt_key_file



=== TEST 17: im_etcd_lease out of bounds
--- http_config
    im_etcd 127.0.0.1:9;
    im_etcd_lease 1s;
--- config
    location = /t { return 200; }
--- must_die
--- error_log
im_etcd_lease: 1 s is not in 2-60 s



=== TEST 18: im_etcd_prefix without a slash
--- http_config
    im_etcd 127.0.0.1:9;
    im_etcd_prefix im;
--- config
    location = /t { return 200; }
--- must_die
--- error_log
im_etcd_prefix: "im" must begin with a slash



=== TEST 19: workers that nobody can reach
--- http_config
    im_etcd 127.0.0.1:9;
    im_rpc_listen 0.0.0.0;
--- config
    location = /t { return 200; }
--- must_die
--- error_log
im_rpc_listen 0.0.0.0 needs im_rpc_advertise



=== TEST 20: im_ws takes no arguments
--- config
    location = /ws { im_ws on; }
--- must_die
--- error_log
invalid number of arguments in "im_ws" directive



=== TEST 21: im_ws without etcd or key
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
im_ws needs im_etcd and im_jwt_key_file in http{}



=== TEST 22: im_ws_max_message out of bounds
--- http_config eval: ::http_config()
--- config
    location = /ws { im_ws; im_ws_max_message 100; }
--- must_die
--- error_log
im_ws_max_message: 100 is not in 256-1m



=== TEST 23: im_ws_send_queue out of bounds
--- http_config eval: ::http_config()
--- config
    location = /ws { im_ws; im_ws_send_queue 1k; }
--- must_die
--- error_log
im_ws_send_queue: 1024 is not in 4k-64m



=== TEST 24: im_ws_idle must be longer than im_ws_ping
--- http_config eval: ::http_config()
--- config
    location = /ws { im_ws; im_ws_ping 30s; im_ws_idle 30s; }
--- must_die
--- error_log
im_ws_ping must be 1s at least, and im_ws_idle longer



=== TEST 25: im_ws_auth_timeout out of bounds
--- http_config eval: ::http_config()
--- config
    location = /ws { im_ws; im_ws_auth_timeout 2m; }
--- must_die
--- error_log
is not in 100ms-60s



=== TEST 26: im_rpc_tls names a file that is not there
--- http_config eval: ::http_config() . "im_rpc_tls nosuch/ca.pem c.pem k.pem;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log eval
qr{im_rpc_tls: ".*nosuch/ca\.pem" cannot be read: No such file}



=== TEST 27: im_rpc_tls without a key
--- http_config eval: ::http_config() . "im_rpc_tls ca.pem cert.pem;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
invalid number of arguments in "im_rpc_tls" directive



=== TEST 28: im_etcd_tls given twice
--- http_config eval
::http_config() . "im_etcd_tls $ENV{TEST_NGINX_IM_PEM}/im.pem;" x 2
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
"im_etcd_tls" directive is duplicate



=== TEST 29: im_ws_rooms out of bounds
--- http_config eval: ::http_config()
--- config
    location = /ws { im_ws; im_ws_rooms 0; }
--- must_die
--- error_log
value must be between 1 and 60000



=== TEST 30: im_ws_presence_subs out of bounds
--- http_config eval: ::http_config()
--- config
    location = /ws { im_ws; im_ws_presence_subs 60001; }
--- must_die
--- error_log
value must be between 1 and 60000



=== TEST 31: im_ws_fanout_queue out of bounds
--- http_config eval: ::http_config() . "im_ws_fanout_queue 1k;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
im_ws_fanout_queue: 1024 is not in 256k-1g



=== TEST 32: im_rpc_tls names a file that is not PEM
--- http_config eval
::http_config() . "im_rpc_tls $ENV{TEST_NGINX_IM_CONF}/nginx.conf c.pem k.pem;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log eval
qr{im_rpc_tls: ".*nginx\.conf" is not PEM}



=== TEST 33: im_rpc_tls with the key of another certificate
--- http_config eval
my $d = $ENV{TEST_NGINX_IM_PEM};
::http_config() . "im_rpc_tls $d/im.pem $d/im.pem $d/other.key;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log eval
qr{im_rpc_tls: ".*other\.key" is not the key of ".*im\.pem"}



=== TEST 34: im_etcd_tls with a certificate that is cut
--- http_config eval
::http_config() . "im_etcd_tls $ENV{TEST_NGINX_IM_PEM}/cut.pem;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log eval
qr{im_etcd_tls: ".*cut\.pem" has a certificate that does not parse}



=== TEST 35: im_etcd_tls with a key that asks for a passphrase
--- http_config eval
my $d = $ENV{TEST_NGINX_IM_PEM};
::http_config() . "im_etcd_tls $d/im.pem $d/im.pem $d/asks.key;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log eval
qr{im_etcd_tls: ".*asks\.key" is encrypted}



=== TEST 36: im_rpc_listen is not an address
--- http_config eval: ::http_config() . "im_rpc_listen localhost;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
im_rpc_listen: "localhost" is not an IPv4 address or an [IPv6 address]



=== TEST 37: im_rpc_listen with a port
--- http_config eval: ::http_config() . "im_rpc_listen 127.0.0.1:99999;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
im_rpc_listen: "127.0.0.1:99999" is not an IPv4 address



=== TEST 38: im_rpc_listen with an IPv6 address that has no brackets
--- http_config eval: ::http_config() . "im_rpc_listen ::1;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
im_rpc_listen: "::1" is not an IPv4 address



=== TEST 39: im_rpc_listen names an address of another machine
--- http_config eval: ::http_config() . "im_rpc_listen 192.0.2.1;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
im_rpc_listen: "192.0.2.1" cannot be bound (99: Cannot assign requested address)



=== TEST 40: im_rpc_advertise with a port
--- http_config eval: ::http_config() . "im_rpc_advertise 127.0.0.1:80;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
im_rpc_advertise: "127.0.0.1:80" is not a host name



=== TEST 41: im_etcd_prefix that is too long
--- http_config eval: ::http_config() . "im_etcd_prefix /" . 'x' x 100 . ";"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log
and have 100 bytes at most



=== TEST 42: im_etcd is a URL
--- http_config
    im_etcd http://127.0.0.1:2379;
--- config
    location = /t { return 200; }
--- must_die
--- error_log
im_etcd: "http://127.0.0.1:2379": host:port is wanted, without a scheme



=== TEST 43: one of im_etcd has no port
--- http_config
    im_etcd 127.0.0.1:2379,127.0.0.2;
--- config
    location = /t { return 200; }
--- must_die
--- error_log
im_etcd: "127.0.0.2" has no port



=== TEST 44: im_health with a word that it does not know
--- config
    location = /t { im_health alive; }
--- must_die
--- error_log
im_health: "alive" is not "live" or "ready"



=== TEST 45: im_health in a location that im_api serves
--- config
    location = /t { im_api Login; im_health; }
--- must_die
--- error_log
"im_health" directive is in a location that another directive serves already



=== TEST 46: no endpoint, and an endpoint, are two locations
--- config
    location = /t { im_api Login; im_api_not_found; }
--- must_die
--- error_log
"im_api_not_found" directive is in a location that another directive serves already



=== TEST 47: the same the other way round
--- config
    location = /t { im_api_not_found; im_api Login; }
--- must_die
--- error_log
"im_api" directive is in a location that another directive serves already



=== TEST 48: im_rpc_tls with a certificate of another tier, or of none
--- http_config eval
my $d = $ENV{TEST_NGINX_IM_PEM};
::http_config() . "im_rpc_tls $d/im.pem $d/im.pem $d/im.key;"
--- config
    location = /ws { im_ws; }
--- must_die
--- error_log eval
qr{im_rpc_tls: ".*im\.pem" is not for "nginx\.im", it carries no DNS name}



=== TEST 49: im_ws in a location that another directive serves
--- config
    location = /ws { proxy_pass http://127.0.0.1:1; im_ws; }
--- must_die
--- error_log
"im_ws" directive is in a location that another directive serves already



=== TEST 50: the same the other way round
--- config
    location = /ws { im_ws; proxy_pass http://127.0.0.1:1; }
--- must_die
--- error_log
im_ws is in a location that another directive serves



=== TEST 51: im_api names a method that only workers may call
--- config
    location = /t { im_api Redeem; }
--- must_die
--- error_log
im_api cannot serve "Redeem": only workers of nginx may call it, for themselves
