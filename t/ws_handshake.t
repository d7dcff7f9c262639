# The door of the Connect tier: RFC 6455 section 4.2, origins, sub-protocols,
# tokens.  No stack is needed: no connection gets as far as a login.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

our $Config = <<'_EOC_';
    location = /ws { im_ws; }
    location = /origin {
        im_ws;
        im_ws_origin https://chat.example https://b.example;
    }
    location = /required { im_jwt required; im_ws; }
_EOC_

# What the server answers to our Close 1000.
our $Bye = server_frame(8, "\x03\xe8");

# Headers of a handshake that is refused: close lets the test end.
our @Hs = ('Connection: close, Upgrade', 'Upgrade: websocket',
           'Sec-WebSocket-Version: 13',
           'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');

sub without {
    my ($name, @more) = @_;
    return upgrade('/ws', (grep { !/^\Q$name\E:/i } @Hs), @more);
}

plan tests => repeat_each() * (blocks() * 4);

no_long_string();
run_tests();

__DATA__

=== TEST 1: a good handshake
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 2: it says that it upgrades, and to what
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::close_frame()
--- error_code: 101
--- response_headers
Upgrade: websocket
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 3: it names the instance
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/ws') . ::close_frame()
--- error_code: 101
--- response_headers_like
X-IM-Instance: [-.A-Za-z0-9]+-\d+-[0-9a-f]{8}
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 4: a plain GET is told to upgrade
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
GET /ws
--- error_code: 426
--- response_headers
Upgrade: websocket
--- response_body_like: "status":426,"code":"upgrade_required"
--- no_error_log
[alert]



=== TEST 5: an upgrade to something else
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::without('Upgrade', 'Upgrade: h2c')
--- error_code: 426
--- response_headers
Upgrade: websocket
--- response_body_like: "code":"upgrade_required"
--- no_error_log
[alert]



=== TEST 6: Upgrade without Connection: upgrade
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::without('Connection', 'Connection: close')
--- error_code: 426
--- response_headers
Upgrade: websocket
--- response_body_like: "code":"upgrade_required"
--- no_error_log
[alert]



=== TEST 7: lists, and names in any case
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', 'Connection: keep-alive ,  UPGRADE', 'Upgrade: h2c, WebSocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 8: another version
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::without('Sec-WebSocket-Version', 'Sec-WebSocket-Version: 8')
--- error_code: 426
--- response_headers
Sec-WebSocket-Version: 13
--- response_body_like: "code":"upgrade_required"
--- no_error_log
[alert]



=== TEST 9: no version
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::without('Sec-WebSocket-Version')
--- error_code: 426
--- response_headers
Sec-WebSocket-Version: 13
--- response_body_like: "code":"upgrade_required"
--- no_error_log
[alert]



=== TEST 10: no key
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::without('Sec-WebSocket-Key')
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request".*Sec-WebSocket-Key
--- no_error_log
[alert]



=== TEST 11: a key that is too short
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::without('Sec-WebSocket-Key', 'Sec-WebSocket-Key: c2hvcnQ=')
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request"
--- no_error_log
[alert]



=== TEST 12: a key that is not base64
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::without('Sec-WebSocket-Key', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2!jZQ==')
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request"
--- no_error_log
[alert]



=== TEST 13: a handshake is a GET
--- http_config eval: ::http_config()
--- config eval: $::Config
--- request
POST /ws
--- error_code: 405
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"method_not_allowed"
--- no_error_log
[alert]



=== TEST 14: a handshake is HTTP/1.1
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
my $hs = ::upgrade('/ws', @::Hs);
$hs =~ s{HTTP/1.1}{HTTP/1.0};
$hs
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request"
--- no_error_log
[alert]



=== TEST 15: a handshake has no body
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::upgrade('/ws', @::Hs, 'Content-Length: 2') . 'hi'
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request"
--- no_error_log
[alert]



=== TEST 16: the JSON sub-protocol
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws', 'Sec-WebSocket-Protocol: im.v1.json') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: im.v1.json
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 17: the protobuf sub-protocol
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws', 'Sec-WebSocket-Protocol: chat, im.v1.proto') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: im.v1.proto
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 18: a sub-protocol that we do not speak is not promised
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws', 'Sec-WebSocket-Protocol: chat') . ::close_frame()
--- error_code: 101
--- response_headers
! Sec-WebSocket-Protocol
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 19: extensions are not accepted
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws', 'Sec-WebSocket-Extensions: permessage-deflate')
. ::close_frame()
--- error_code: 101
--- response_headers
! Sec-WebSocket-Extensions
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 20: an origin on the list
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/origin', 'Origin: https://b.example') . ::close_frame()
--- error_code: 101
--- response_headers
Upgrade: websocket
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 21: an origin that is not on the list
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::upgrade('/origin', @::Hs, 'Origin: https://evil.example')
--- error_code: 403
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"forbidden"
--- no_error_log
[alert]



=== TEST 22: a client that is no browser sends no origin
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/origin') . ::close_frame()
--- error_code: 101
--- response_headers
Upgrade: websocket
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 23: a bad token in the header is refused before the upgrade
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::upgrade('/ws', @::Hs, ::bearer(7, key => 'x' x 40))
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 24: an expired token in the argument
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws?access_token=' . ::token(7, exp => time() - 10), @::Hs)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"token_expired"
--- no_error_log
[alert]



=== TEST 25: a forged token (alg none) in the argument
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws?access_token=' . ::token(7, alg => 'none', signature => ''), @::Hs)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 26: im_jwt required does not wait for an auth frame
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::upgrade('/required', @::Hs)
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- no_error_log
[alert]



=== TEST 27: an origin cannot forge a line of the log or act on a terminal
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::upgrade('/origin', @::Hs, "Origin: https://e\x1b[2J\xff.example")
--- error_code: 403
--- response_headers
Content-Type: application/problem+json
--- error_log
ws: origin "https://e\x1b[2J\xff.example" is not in im_ws_origin
--- no_error_log
[alert]



=== TEST 28: Connection on two lines is one list
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', 'Connection: keep-alive',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 29: Upgrade on two lines is one list
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', 'Connection: Upgrade',
    'Upgrade: h2c',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 30: empty members of a list mean nothing
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', 'Connection: ,, Upgrade ,',
    'Connection:',
    'Upgrade: , websocket,',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 31: a sub-protocol on a second line is offered, too
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', 'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: chat',
    'Sec-WebSocket-Protocol: im.v1.json') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: im.v1.json
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 32: protobuf goes before JSON, whatever the order
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', 'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: im.v1.json',
    'Sec-WebSocket-Protocol: , im.v1.proto') . ::close_frame()
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: im.v1.proto
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 33: a sub-protocol in capitals is another one
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', 'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: IM.V1.PROTO, Im.v1.json') . ::close_frame()
--- error_code: 101
--- response_headers
! Sec-WebSocket-Protocol
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 34: half of a name is not the name
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', 'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: im.v1, .proto, im.v1.proto2 im.v1.proto') . ::close_frame()
--- error_code: 101
--- response_headers
! Sec-WebSocket-Protocol
--- response_body eval: $::Bye
--- no_error_log
[alert]



=== TEST 35: two keys
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', @::Hs, 'Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==')
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request".*Sec-WebSocket-Key was given more than once
--- no_error_log
[alert]



=== TEST 36: the same key twice
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', @::Hs, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request".*Sec-WebSocket-Key was given more than once
--- no_error_log
[alert]



=== TEST 37: two versions
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', @::Hs, 'Sec-WebSocket-Version: 8')
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request".*Sec-WebSocket-Version was given more than once
--- no_error_log
[alert]



=== TEST 38: two origins, one of them on the list
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/origin', @::Hs, 'Origin: https://b.example',
    'Origin: https://evil.example')
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "code":"bad_request".*Origin was given more than once
--- no_error_log
[alert]



=== TEST 39: two tokens
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws', @::Hs, ::bearer(7), ::bearer(8))
--- error_code: 400
--- response_headers
! Sec-WebSocket-Accept
--- response_body_unlike: "auth_ok"
--- no_error_log
[alert]
