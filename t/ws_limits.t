# Limits of a WebSocket connection, before the login: no stack is needed.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

our $Config = <<'_EOC_';
    location = /ws { im_ws; }
    location = /small { im_ws; im_ws_max_message 1k; }
    location = /hasty { im_ws; im_ws_auth_timeout 300ms; }
_EOC_

sub closes {
    my $code = quotemeta pack 'n', shift;
    return qr/^\x88[\x02-\x7d]$code[\x20-\x7e]*\z/s;
}

plan tests => repeat_each() * (blocks() * 3);

no_long_string();
run_tests();

__DATA__

=== TEST 1: a frame over im_ws_max_message
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/small') . ::text('x' x 2000)
--- error_code: 101
--- response_body eval: ::closes(1009)
--- error_log
frame 2000 > 1024, closing 1009



=== TEST 2: it is refused when it is announced, not when it is there
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/small') . ::frame(1, '', length => 1025)
--- error_code: 101
--- response_body eval: ::closes(1009)
--- error_log
frame 1025 > 1024, closing 1009



=== TEST 3: a frame of gigabytes
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(1, '', length => 1 << 40)
--- error_code: 101
--- response_body eval: ::closes(1009)
--- error_log
frame 1099511627776 > 65536, closing 1009



=== TEST 4: fragments that are too much together
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/small') . ::frame(1, 'x' x 600, fin => 0) . ::frame(0, 'x' x 600)
--- error_code: 101
--- response_body eval: ::closes(1009)
--- error_log
closing 1009



=== TEST 5: a message of exactly the limit is read
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/small') . ::text('x' x 1024)
--- error_code: 101
--- response_body_like: "code":"bad_json".*\x88.\x10\x04
--- no_error_log
closing 1009



=== TEST 6: the default is 64 KB
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::text('x' x 65537)
--- error_code: 101
--- response_body eval: ::closes(1009)
--- error_log
frame 65537 > 65536, closing 1009



=== TEST 7: nobody says who it is in im_ws_auth_timeout
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/hasty')
--- error_code: 101
--- response_body eval: ::closes(4100)
--- error_log
closing 4100 no auth frame in time



=== TEST 8: pings do not prolong that time
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
[::handshake('/hasty'), (::frame(9, '')) x 30]
--- raw_request_middle_delay: 0.04
--- error_code: 101
--- response_body eval
my $pong = quotemeta ::server_frame(10, '');
my $code = quotemeta pack 'n', 4100;
qr/^(?:$pong){0,29}\x88.$code/s
--- error_log
closing 4100 no auth frame in time



=== TEST 9: nor does half a frame
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/hasty') . substr(::text('x' x 200), 0, 100)
--- error_code: 101
--- response_body eval: ::closes(4100)
--- error_log
closing 4100 no auth frame in time
