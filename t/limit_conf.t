# Limits that make no sense are refused by nginx -t, with the line and why.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

plan tests => repeat_each() * (blocks() * 2);

no_long_string();
run_tests();

__DATA__

=== TEST 1: a zone without a size
--- http_config
    im_limit_zone users key=user;
--- config
--- must_die
--- error_log eval
qr/im_limit_zone: "users" is not name:size in \S+nginx.conf:\d+/



=== TEST 2: a size that is none
--- http_config
    im_limit_zone users:lots key=user;
--- config
--- must_die
--- error_log eval
qr/im_limit_zone: "lots" is not a size in \S+nginx.conf:\d+/



=== TEST 3: a zone that is too small
--- http_config
    im_limit_zone users:8k key=user;
--- config
--- must_die
--- error_log eval
qr/im_limit_zone: zone "users" is too small: 32768 bytes at least in \S+:\d+/



=== TEST 4: a name that would not fit into a line of the log
--- http_config
    im_limit_zone "us ers:1m" key=user;
--- config
--- must_die
--- error_log
im_limit_zone: the name "us ers" is not 1 to 32 of a-z A-Z 0-9 . _ -



=== TEST 5: no name at all
--- http_config
    im_limit_zone :1m key=user;
--- config
--- must_die
--- error_log
im_limit_zone: the name "" is not 1 to 32 of



=== TEST 6: a key that nothing is counted by
--- http_config
    im_limit_zone users:1m key=password;
--- config
--- must_die
--- error_log eval
qr/im_limit_zone: "key=password" is not key=user, address, connection, room or session in \S+:\d+/



=== TEST 7: a zone without a key
--- http_config
    im_limit_zone users:1m;
--- config
--- must_die
--- error_log
invalid number of arguments in "im_limit_zone" directive



=== TEST 8: the same zone twice
--- http_config
    im_limit_zone users:1m key=user;
    im_limit_zone users:1m key=user;
--- config
--- must_die
--- error_log
im_limit_zone: there is a zone "users" already



=== TEST 9: a zone that another module has
--- http_config
    limit_req_zone $uri zone=users:1m rate=1r/s;
    im_limit_zone users:1m key=user;
--- config
--- must_die
--- error_log
the shared memory zone "users" is already declared for a different use



=== TEST 10: a limit of a zone that is not there
--- config
    im_limit zone=users rate=1r/s;
--- must_die
--- error_log eval
qr/im_limit: no im_limit_zone above has made zone "users" in \S+nginx.conf:\d+/



=== TEST 11: a limit without a rate
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users burst=5;
--- must_die
--- error_log eval
qr/"im_limit" directive needs zone= and rate= in \S+nginx.conf:\d+/



=== TEST 12: a rate of nothing
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=0r/s;
--- must_die
--- error_log eval
qr{im_limit: rate=0r/s is not 1 to 1000000 of r/s, r/m or r/h in \S+:\d+}



=== TEST 13: a rate without a unit
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=20;
--- must_die
--- error_log
im_limit: rate=20 is not 1 to 1000000 of r/s, r/m or r/h



=== TEST 14: a rate that nobody can count
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=99999999999999999999r/s;
--- must_die
--- error_log
im_limit: rate=99999999999999999999r/s is not 1 to 1000000



=== TEST 15: a negative burst
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s burst=-1;
--- must_die
--- error_log
im_limit: burst=-1 is not in 0-1000000



=== TEST 16: a delay above the burst
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=10r/s burst=5 delay=6;
--- must_die
--- error_log
im_limit: delay=6 is more than burst=5



=== TEST 17: nodelay and delay
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=10r/s burst=5 delay=6 nodelay;
--- must_die
--- error_log
"im_limit" directive has both nodelay and delay=



=== TEST 18: a delay of an hour
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/m burst=60;
--- must_die
--- error_log
im_limit: burst=60 at rate=1r/m delays up to 3600 s, 30 at most: give nodelay, delay= or a smaller burst



=== TEST 19: a method that im_api does not have
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s method=Read,Fly;
--- must_die
--- error_log
im_limit: method "Fly" is none that im_api can serve



=== TEST 20: a method for workers only
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s method=Redeem;
--- must_die
--- error_log
im_limit: method "Redeem" is none that im_api can serve



=== TEST 21: a frame of the server
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s frame=send,push;
--- must_die
--- error_log
im_limit: frame "push" is none that a client sends and that can be refused



=== TEST 22: nothing between two commas
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s frame=send,;
--- must_die
--- error_log
im_limit: frame "" is none that a client sends



=== TEST 23: methods and frames in one limit
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s method=Send frame=send;
--- must_die
--- error_log
"im_limit" directive has both method= and frame=: give a rule for each



=== TEST 24: a word that it does not know
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s burts=5;
--- must_die
--- error_log eval
qr/im_limit: "burts=5" is not zone=, rate=, burst=, delay=, nodelay, method=, frame= or dry_run in \S+:\d+/



=== TEST 25: the same word twice
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s rate=2r/s;
--- must_die
--- error_log
"im_limit" directive has rate= twice



=== TEST 26: the same limit twice
--- http_config
    im_limit_zone users:1m key=user;
--- config
    im_limit zone=users rate=1r/s frame=send;
    im_limit zone=users rate=60r/m frame=send;
--- must_die
--- error_log
"im_limit" directive is duplicate



=== TEST 27: more limits than a location may have
--- http_config
    im_limit_zone users:1m key=user;
--- config eval: join '', map { "im_limit zone=users rate=${_}r/s;\n" } 1 .. 17
--- must_die
--- error_log
im_limit: there are more than 16 here



=== TEST 28: a zone outside of http
--- config
    im_limit_zone users:1m key=user;
--- must_die
--- error_log
"im_limit_zone" directive is not allowed here



=== TEST 29: im_ws_window 0
--- config
    im_ws_window 0;
--- must_die
--- error_log
im_ws_window: "0" messages is not in 1-65536



=== TEST 30: im_ws_window many
--- config
    im_ws_window many;
--- must_die
--- error_log
im_ws_window: "many" messages is not in 1-65536



=== TEST 31: im_ws_window 65537
--- config
    im_ws_window 65537;
--- must_die
--- error_log
im_ws_window: "65537" messages is not in 1-65536



=== TEST 32: im_ws_window 256 1k
--- config
    im_ws_window 256 1k;
--- must_die
--- error_log
im_ws_window: size "1k" is not in 4k-64m



=== TEST 33: im_ws_window 256 65m
--- config
    im_ws_window 256 65m;
--- must_die
--- error_log
im_ws_window: size "65m" is not in 4k-64m



=== TEST 34: im_ws_window 1 and im_ws_window 2
--- config
    im_ws_window 1; im_ws_window 2;
--- must_die
--- error_log
"im_ws_window" directive is duplicate
