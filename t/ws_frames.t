# Frames of RFC 6455 section 5, good and bad, before the login: no stack is
# needed.  What a login makes possible is in ws_session.t.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

our $Config = "    location = /ws { im_ws; }\n";

our $Bye = server_frame(8, "\x03\xe8");

# A Close of the server with this code, and any reason.
sub closes {
    my $code = quotemeta pack 'n', shift;
    return qr/^\x88[\x02-\x7d]$code[\x20-\x7e]*\z/s;
}

# A refusal: an error frame with this code, then a Close.
sub refuses {
    my ($code, $close) = @_;
    my $bytes = quotemeta pack 'n', $close;
    my $error = '\{"type":"error","code":"' . $code . '".*\}';
    return qr/^\x81..?.?$error\x88[\x02-\x7d]$bytes/s;
}

plan tests => repeat_each() * (blocks() * 3);

no_long_string();
run_tests();

__DATA__

=== TEST 1: Close is answered with its own code
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::close_frame(3000, 'done')
--- error_code: 101
--- response_body eval: ::server_frame(8, pack('n', 3000))
--- no_error_log
[alert]



=== TEST 2: a Close without a code is answered without one
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(8, '')
--- error_code: 101
--- response_body eval: ::server_frame(8, '')
--- no_error_log
[alert]



=== TEST 3: Ping is answered with its payload
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(9, "hi\x00\xff") . ::close_frame()
--- error_code: 101
--- response_body eval: ::server_frame(10, "hi\x00\xff") . $::Bye
--- no_error_log
[alert]



=== TEST 4: a Ping of 125 bytes, and many of them
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws') . ::frame(9, 'x' x 125) x 50 . ::close_frame()
--- error_code: 101
--- response_body eval: ::server_frame(10, 'x' x 125) x 50 . $::Bye
--- no_error_log
[alert]



=== TEST 5: an unasked Pong is ignored
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(10, 'hm') . ::close_frame()
--- error_code: 101
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 6: a frame in pieces
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
my $f = ::frame(9, 'slowly');
[::handshake('/ws'), (map { substr $f, $_, 1 } 0 .. length($f) - 1),
 ::close_frame()]
--- raw_request_middle_delay: 0.02
--- error_code: 101
--- response_body eval: ::server_frame(10, 'slowly') . $::Bye
--- no_error_log
[alert]



=== TEST 7: what follows a Close does not count
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws') . ::close_frame() . ::frame(9, 'late') . "\x00" x 50
--- error_code: 101
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 8: an unmasked frame
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(1, '{}', mask => 0)
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 9: a reserved bit
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(1, '{}', rsv => 4)
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 10: a reserved data opcode
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(3, '{}')
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 11: a reserved control opcode
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(11, '{}')
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 12: a fragmented control frame
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(9, 'x', fin => 0)
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 13: a control frame over 125 bytes
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(9, 'x' x 126)
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 14: a continuation of nothing
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(0, '{}')
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 15: a message inside a message
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws') . ::frame(1, '{"type":', fin => 0) . ::frame(1, '{}')
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 16: text that is not UTF-8
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::text("{\"type\":\"\xc0\xaf\"}")
--- error_code: 101
--- response_body eval: ::closes(1007)
--- no_error_log
[alert]



=== TEST 17: a lone half of a surrogate pair in UTF-8
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::text("\xed\xa0\x80")
--- error_code: 101
--- response_body eval: ::closes(1007)
--- no_error_log
[alert]



=== TEST 18: binary in the text sub-protocol
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(2, "\x01\x02")
--- error_code: 101
--- response_body eval: ::closes(1003)
--- no_error_log
[alert]



=== TEST 19: text in the binary sub-protocol
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws', 'Sec-WebSocket-Protocol: im.v1.proto') . ::text('{}')
--- error_code: 101
--- response_body eval: ::closes(1003)
--- no_error_log
[alert]



=== TEST 20: a Close with one byte
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::frame(8, "\x03")
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 21: a Close with a code that nobody may send
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::close_frame(1005)
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 22: a Close whose reason is not UTF-8
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::close_frame(1000, "\xff")
--- error_code: 101
--- response_body eval: ::closes(1007)
--- no_error_log
[alert]



=== TEST 23: a length in more bytes than it needs
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws') . "\x81\xfe\x00\x02\x00\x00\x00\x00{}"
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 24: a length with its highest bit set
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws') . "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"
--- error_code: 101
--- response_body eval: ::closes(1002)
--- no_error_log
[alert]



=== TEST 25: the first frame must be auth
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::text('{"type":"ping","id":"1"}')
--- error_code: 101
--- response_body eval: ::closes(4100)
--- no_error_log
[alert]



=== TEST 26: a first frame that is not JSON
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::text('hello')
--- error_code: 101
--- response_body eval: ::refuses('bad_json', 4100)
--- no_error_log
[alert]



=== TEST 27: a bad token in the auth frame
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws')
. ::text('{"type":"auth","token":"' . ::token(7, key => 'x' x 40) . '"}')
--- error_code: 101
--- response_body eval: ::refuses('unauthorized', 4100)
--- no_error_log
[alert]



=== TEST 28: an expired token in the auth frame
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws')
. ::text('{"type":"auth","token":"' . ::token(7, exp => time() - 10) . '"}')
--- error_code: 101
--- response_body eval: ::refuses('token_expired', 4100)
--- no_error_log
[alert]



=== TEST 29: fragments make one message, pings between them are answered
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws') . ::frame(1, '{"type":"au', fin => 0) . ::frame(9, 'p')
. ::frame(0, 'th","tok', fin => 0) . ::frame(0, '', fin => 0)
. ::frame(0, 'en":"x"}')
--- error_code: 101
--- response_body eval
my $pong = quotemeta ::server_frame(10, 'p');
qr/^$pong\x81..?.?\{"type":"error","code":"unauthorized".*\x88/s
--- no_error_log
[alert]



=== TEST 30: a character cut by fragments is whole again
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws') . ::frame(1, "{\"type\":\"auth\",\"token\":\"\xc3", fin => 0)
. ::frame(0, "\xa4\"}")
--- error_code: 101
--- response_body eval: ::refuses('unauthorized', 4100)
--- no_error_log
[alert]



=== TEST 31: binary garbage in the protobuf sub-protocol
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws', 'Sec-WebSocket-Protocol: im.v1.proto')
. ::frame(2, "\xff\xff\xff\xff")
--- error_code: 101
--- response_body_like: ^\x82.*\x88.\x10\x04
--- no_error_log
[alert]
