# Rooms and presence by frame: what the worker itself decides.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

need_stack();

our $Config = <<'_EOC_';
    location = /ws { im_ws; im_ws_presence_subs 3; }
_EOC_

our $Bye = quotemeta server_frame(8, "\x03\xe8");

# After auth_ok: what is given, then our Close answered.
sub says {
    my $rest = shift;
    return qr/"max_message":65536\}$rest$::Bye\z/s;
}

sub refusal {
    my ($code, $id) = @_;
    return qr/\x81.(?:..)?\{"type":"error","code":"$code"[^}]*"id":"$id"\}/s;
}

sub me { return handshake('/ws', bearer(7000011)) }

plan tests => repeat_each() * (blocks() * 3);

no_long_string();
run_tests();

__DATA__

=== TEST 1: a room is required
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"join","id":"3"}') . ::close_frame()
--- error_code: 101
--- response_body eval: ::says(::refusal('missing_field', 3))
--- no_error_log
[error]



=== TEST 2: a room that is not there
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
[::me() . ::text('{"type":"join","id":"3","room":"1"}'), ::close_frame()]
--- raw_request_middle_delay: 1
--- raw_request_middle_until: "id":"3"
--- timeout: 15
--- error_code: 101
--- response_body eval: ::says(::refusal('no_such_room', 3))
--- no_error_log
[error]



=== TEST 3: a send is to a user or to a room
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"send","to":"1","room":"1","cmid":"c","body":1}')
. ::close_frame()
--- error_code: 101
--- response_body eval
::says(qr/\x81.(?:..)?\{"type":"error","code":"bad_field"[^}]*"cmid":"c"\}/s)
--- no_error_log
[error]



=== TEST 4: subscriptions to presence have a limit; it is for all or nobody
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
::me() . ::text('{"type":"presence_sub","id":"4","add":["1","2","3","4"]}')
. ::close_frame()
--- error_code: 101
--- response_body eval: ::says(::refusal('limit_reached', 4))
--- no_error_log
[error]



=== TEST 5: they are answered with the state of those who were added
--- http_config eval: ::http_config()
--- config eval: $::Config
--- raw_request eval
[::me() . ::text('{"type":"presence_sub","id":"5","add":["7000091"]}'),
 ::text('{"type":"presence_sub","id":"6","remove":["7000091"]}')
 . ::close_frame()]
--- raw_request_middle_delay: 1
--- raw_request_middle_until: "id":"5"
--- timeout: 15
--- error_code: 101
--- response_body eval
::says(qr/\x81.(?:..)?\{"type":"presence_res","id":"5","users":\[\{"uid":"7000091","online":false,"devices":\[\]\}\]\}(?:\x81.(?:..)?\{"type":"presence","users":\[\{"uid":"7000091","online":false,"devices":\[\]\}\]\})*\x81.\{"type":"presence_res","id":"6","users":\[\]\}/s)
--- no_error_log
[error]
