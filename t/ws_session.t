# After the login: frames of im.v1.json and im.v1.proto with the real Logic.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

need_stack();

our $Config = <<'_EOC_';
    location = /ws { im_ws; }
    location = /silent { im_ws; im_ws_ping 1s; im_ws_idle 2s; }
    location = /tight { im_ws; im_ws_send_queue 4k; }
_EOC_

our $Bye = quotemeta server_frame(8, "\x03\xe8");

# auth_ok of user 7000001, then what is given, then our Close answered.
sub opens {
    my $rest = shift;
    my $ok = '\{"type":"auth_ok","uid":"7000001","device":"test",'
             . '"time_ms":"\d+","ping_s":\d+,"max_message":65536\}';
    return qr/^\x81.(?:..)?$ok$rest$::Bye\z/s;
}

sub me { return handshake('/ws', bearer(7000001)) }

plan tests => repeat_each() * (blocks() * 3);

no_long_string();
run_tests();

__DATA__

=== TEST 1: a token in the header: auth_ok is the first frame
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::me() . ::close_frame()
--- error_code: 101
--- response_body eval: ::opens('')
--- no_error_log
[error]



=== TEST 2: a token in the argument
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws?access_token=' . ::token(7000001)) . ::close_frame()
--- error_code: 101
--- response_body eval: ::opens('')
--- no_error_log
[error]



=== TEST 3: a token in the first frame
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws') . ::text('{"type":"auth","token":"' . ::token(7000001) . '"}')
. ::close_frame()
--- error_code: 101
--- response_body eval: ::opens('')
--- no_error_log
[error]



=== TEST 4: ping and pong, with what came before the login answered after it
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::me() . ::text('{"type":"ping","id":"12"}') . ::close_frame()
--- error_code: 101
--- response_body eval: ::opens('\x81.\{"type":"pong","id":"12"\}')
--- no_error_log
[error]



=== TEST 5: an unknown type is answered, not punished
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"dance"}') . ::text('{"type":"ping","id":"1"}')
. ::close_frame()
--- error_code: 101
--- response_body eval
::opens('\x81.(?:..)?\{"type":"error","code":"unknown_type"[^}]*\}\x81.\{"type":"pong","id":"1"\}')
--- no_error_log
[error]



=== TEST 6: bad JSON is answered, not punished
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"send",') . ::text('{"type":"ping","id":"1"}')
. ::close_frame()
--- error_code: 101
--- response_body eval
::opens('\x81.(?:..)?\{"type":"error","code":"bad_json"[^}]*\}\x81.\{"type":"pong","id":"1"\}')
--- no_error_log
[error]



=== TEST 7: a send without a recipient names its cmid
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"send","cmid":"c1","body":"hi"}') . ::close_frame()
--- error_code: 101
--- response_body eval
::opens('\x81.(?:..)?\{"type":"error","code":"missing_field"[^}]*"cmid":"c1"[^}]*\}')
--- no_error_log
[error]



=== TEST 8: a second auth
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"auth","token":"' . ::token(7000001) . '"}')
. ::close_frame()
--- error_code: 101
--- response_body eval
::opens('\x81.(?:..)?\{"type":"error","code":"bad_request"[^}]*\}')
--- no_error_log
[error]



=== TEST 9: a send to a user who does not exist
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
[::me() . ::text('{"type":"send","to":"9000000001","cmid":"c2","body":"hi"}'),
 ::close_frame()]
--- raw_request_middle_delay: 1
--- raw_request_middle_until: "cmid":"c2"
--- timeout: 15
--- error_code: 101
--- response_body eval
::opens('\x81.(?:..)?\{"type":"error","code":"no_such_user"[^}]*"cmid":"c2"[^}]*\}')
--- no_error_log
[error]



=== TEST 10: the same schema in protobuf
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/ws', 'Sec-WebSocket-Protocol: im.v1.proto', ::bearer(7000001))
. ::frame(2, "\x1a\x02\x08\x05") . ::close_frame()
--- error_code: 101
--- response_body eval
qr/^\x82.\x12.\x08\xc1\x9f\xab\x03\x12\x04test.*\x82\x04\x22\x02\x08\x05$::Bye\z/s
--- no_error_log
[error]



=== TEST 11: silence is answered by a ping, then the connection ends with 4003
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval: ::handshake('/silent', ::bearer(7000001))
--- timeout: 15
--- error_code: 101
--- response_body_like: auth_ok.*\x89\x00.*\x88.\x0f\xa3
--- error_log
closing 4003



=== TEST 12: a question is answered with its id
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
[::me() . ::text('{"type":"history","with":"7000002","limit":5,"id":"77"}'),
 ::close_frame()]
--- raw_request_middle_delay: 1
--- raw_request_middle_until: "id":"77"
--- timeout: 15
--- error_code: 101
--- response_body eval
::opens('\x81.\{"type":"history_res","messages":\[\],"more":false,"id":"77"\}')
--- no_error_log
[error]



=== TEST 13: the same question in protobuf
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
[::handshake('/ws', 'Sec-WebSocket-Protocol: im.v1.proto', ::bearer(7000001))
 . ::frame(2, "\x6a\x04\x08\x02\x30\x05"), ::close_frame()]
--- raw_request_middle_delay: 1
--- raw_request_middle_until eval: qr/\x72\x04\x10\x00\x18\x05/
--- timeout: 15
--- error_code: 101
--- response_body eval
qr/^\x82.\x12.\x08\xc1\x9f\xab\x03\x12\x04test.*\x82\x06\x72\x04\x10\x00\x18\x05$::Bye\z/s
--- no_error_log
[error]



=== TEST 14: what Logic refuses is an error with the question's id
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
[::me() . ::text('{"type":"history","with":"7000002","limit":5000,"id":77}'),
 ::close_frame()]
--- raw_request_middle_delay: 1
--- raw_request_middle_until: "id":"77"
--- timeout: 15
--- error_code: 101
--- response_body eval
::opens('\x81.(?:..)?\{"type":"error","code":"bad_field","message":"[^"]*limit[^"]*","id":"77"\}')
--- no_error_log
[error]



=== TEST 15: what is wrong with a question is said before Logic is asked
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"read","with":"7000002","id":"8"}')
. ::text('{"type":"sync","cursors":7,"id":"9"}') . ::close_frame()
--- error_code: 101
--- response_body eval
::opens('\x81.(?:..)?\{"type":"error","code":"missing_field"[^}]*"id":"8"\}\x81.(?:..)?\{"type":"error","code":"bad_field"[^}]*"id":"9"\}')
--- no_error_log
[error]



=== TEST 16: four questions may be under way, the fifth is to come again
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
[::me() . join('', map { ::text(qq({"type":"history","with":2,"id":"$_"})) } 1 .. 5),
 ::text('{"type":"history","with":2,"id":"6"}'), ::close_frame()]
--- raw_request_middle_delay: 1
--- raw_request_middle_until eval: [qr/(?:history_res.*){4}/s, qr/"id":"6"/]
--- timeout: 15
--- error_code: 101
--- response_body eval
my $answer = '(?:\x81.\{"type":"history_res","messages":\[\],"more":false,"id":"[1-4]"\})';
::opens('\x81.(?:..)?\{"type":"error","code":"busy"[^}]*"retryable":true,"retry_after_ms":1000,"id":"5"\}'
        . "$answer\{4\}"
        . '\x81.\{"type":"history_res","messages":\[\],"more":false,"id":"6"\}')
--- no_error_log
[error]



=== TEST 17: answers that are not read may use twice im_ws_send_queue
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/tight', ::bearer(7000001)) . ::text('{"type":"ping"}') x 300
. ::close_frame()
--- error_code: 101
--- response_body eval
qr/\{"type":"auth_ok"[^}]*\}(?:\x81.\{"type":"pong"\}){300}$::Bye\z/s
--- no_error_log
closing 4002



=== TEST 18: a burst that the socket takes is no slow reader
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::handshake('/tight', ::bearer(7000001)) . ::text('{"type":"ping"}') x 3000
. ::close_frame()
--- error_code: 101
--- response_body eval
qr/\{"type":"auth_ok"[^}]*\}(?:\x81.\{"type":"pong"\}){3000}$::Bye\z/s
--- no_error_log
closing 4002



=== TEST 19: a number that common parsers cannot read is refused, by its place
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"send","body":[1e400],"to":"1","cmid":"n"}')
. ::close_frame()
--- error_code: 101
--- response_body eval
::opens('\x81.(?:..)?\{"type":"error","code":"bad_field","message":"the number at byte 23 is beyond[^"]*","cmid":"n"\}')
--- no_error_log
[error]
