# No token in a log: whatever becomes of a request whose URL carries one,
# neither the access log (here with all variables that could show it, and
# written into error.log, where the next line looks) nor the error log at "info"
# has it.

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

# SECRET is no token of ours: only the place where it is used makes it one.
# A token that was signed with our key is one everywhere.
our $Token = token(41);
our ($Signature) = $Token =~ /([^.]+)\z/;

sub http {
    return http_config() . <<'_EOC_';
    log_format all 'done: $request|$request_uri|$args|$query_string|'
                   '$arg_access_token|$arg_ticket|$saved|$status|$im_user_id';
    access_log $TEST_NGINX_SERVER_ROOT/logs/error.log all;
    limit_req_zone $server_name zone=one:1m rate=1r/m;
    limit_conn_zone $server_name zone=two:1m;
    map $host $saved { default none; }
    large_client_header_buffers 2 2k;
    lingering_close off;             # else the line comes after our FIN
_EOC_
}

our $Config = <<'_EOC_';
    location = /ws { im_ws; }
    location /prefix { im_ws; }
    location ~ ^/regex { im_ws; }
    location = /origin { im_ws; im_ws_origin https://chat.example; }
    location = /limited { limit_req zone=one; im_ws; }
    location = /denied { deny all; im_ws; }
    location = /guarded { auth_request /no; im_ws; }
    location = /required { im_jwt required; im_ws; }
    location = /except { im_ws; limit_except GET { deny all; } }
    location = /no { return 403; }
    location = /rewritten { rewrite ^ /ws last; }
    location = /appended { rewrite ^ /ws?a=1 last; }
    location = /renamed { rewrite ^ /ws?access_token=$arg_token? last; }
    location = /fixed { rewrite ^ /ws?access_token=of-the-configuration? last; }
    location = /tried { try_files /none /ws?$args; }
    location = /moved { error_page 418 = /ws?$args; return 418; }
    location = /early { rewrite_log on; set $saved $args; rewrite ^ /early2; }
    location = /early2 { try_files /none /ws?$args; }
    location = /returned { return 403; }
    location = /app { return 200 "app: $args\n"; }
    location = /backend {
        proxy_pass http://127.0.0.1:$server_port/app$is_args$args;
    }
    location = /poll { im_jwt required; im_ws;
                       if ($arg_poll) { proxy_pass http://127.0.0.1:1; } }
    location = /post { im_jwt required; im_ws; limit_except GET {
                       im_jwt required; proxy_pass http://127.0.0.1:1; } }
    location = /dropped { rewrite ^ /required? last; }
_EOC_

# A request that is no handshake, or one with the headers given.
sub get {
    my ($uri, @headers) = @_;
    return upgrade($uri, 'Connection: close', @headers);
}

our @Hs = ('Connection: close, Upgrade', 'Upgrade: websocket',
           'Sec-WebSocket-Version: 13',
           'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');

plan tests => repeat_each() * (blocks() * 4 + 2);

no_long_string();
log_level('info');
run_tests();

__DATA__

=== TEST 1: no upgrade
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 2: a location with a prefix
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/prefix/x?access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/prefix\/x\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 3: a location with a regular expression
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/regex?access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/regex\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 4: another version
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws?access_token=SECRET-0123456789abcdef', map { s/13/8/r } @::Hs)
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 5: HTTP/1.0
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
my $s = ::get('/ws?access_token=SECRET-0123456789abcdef'); $s =~ s/1\.1/1.0/; $s
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 6: HTTP/1.0 without any header
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
"GET /ws?access_token=SECRET-0123456789abcdef HTTP/1.0\r\n\r\n"
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 7: an origin that is refused
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::upgrade('/origin?access_token=SECRET-0123456789abcdef', @::Hs, 'Origin: https://evil.example')
--- error_code: 403
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/origin\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 8: a bad token
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::upgrade('/ws?access_token=SECRET-0123456789abcdef', @::Hs)
--- error_code: 401
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 9: another method
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
my $s = ::get('/ws?access_token=SECRET-0123456789abcdef'); $s =~ s/GET/POST/; $s
--- error_code: 405
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: POST \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 10: a method that limit_except denies
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
my $s = ::get('/except?access_token=SECRET-0123456789abcdef'); $s =~ s/GET/POST/; $s
--- error_code: 403
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: POST \/except\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 11: the argument and a header
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=SECRET-0123456789abcdef', ::bearer(41))
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 12: the argument twice
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=SECRET-0123456789abcdef&x=y&access_token=SECRET2')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/\?access_token=\*{23}&x=y&access_token=\*{7} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 13: an empty one first
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=&access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/\?access_token=&access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 14: access%5ftoken
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access%5ftoken=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/\?access%5ftoken=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 15: %41CCESS_TOKEN in capitals
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?%41CCESS_TOKEN=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/\?%41CCESS_TOKEN=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 16: an absolute address
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('http://localhost/ws?access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/GET http:\/\/localhost\/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 17: a fragment behind it
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=SECRET-0123456789abcdef#x')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/\?access_token=\*{23}/]
--- no_error_log eval: ['SECRET']



=== TEST 18: limit_req refuses the second one
--- http_config eval: ::http()
--- config eval: $::Config
--- request eval: [('GET /limited?access_token=SECRET-0123456789abcdef') x 2]
--- error_code eval: [426, 503]
--- response_body_like eval: [qr/upgrade_required/, qr/503/]
--- error_log eval: [qr/done: GET \/limited\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 19: deny
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/denied?access_token=SECRET-0123456789abcdef')
--- error_code: 403
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/denied\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 20: auth_request refuses it
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/guarded?access_token=SECRET-0123456789abcdef')
--- error_code: 403
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/guarded\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 21: im_jwt refuses it
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/required?access_token=SECRET-0123456789abcdef')
--- error_code: 401
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/required\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 22: a rewrite keeps the arguments
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/rewritten?access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/rewritten\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 23: a rewrite appends them
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/appended?access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/\/appended\?access_token=\*{23}\|a=1&access_token=\*{23}\|/]
--- no_error_log eval: ['SECRET']



=== TEST 24: a rewrite gives it its name
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/renamed?token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/GET \/renamed\?token=\*{23} HTTP.*\|access_token=\*{23}\|/]
--- no_error_log eval: ['SECRET']



=== TEST 25: a rewrite with an argument of its own
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/fixed')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/GET \/fixed HTTP.*\|access_token=\*{20}\|/]
--- no_error_log eval: ['of-the-configuration']



=== TEST 26: try_files
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/tried?access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/tried\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 27: error_page
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/moved?access_token=SECRET-0123456789abcdef')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/moved\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 28: a token of ours, in variables and lines before its location is known
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/early?access_token=' . $::Token)
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/\/early\?access_token=\*{100,} HTTP.*\|access_token=\*{100,}\|426/]
--- no_error_log eval: [$::Signature]



=== TEST 29: a malformed header before the phases
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=SECRET-0123456789abcdef', "bad\0header: 1")
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 30: a header that is too large
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=SECRET-0123456789abcdef', 'X: ' . 'x' x 3000)
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 31: a header that is ignored, but logged
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=SECRET-0123456789abcdef', 'bad_header@: 1')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/client sent invalid header line.*access_token=\*{23}/]
--- no_error_log eval: ['SECRET']



=== TEST 32: two Host headers
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?access_token=SECRET-0123456789abcdef', 'Host: other')
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 33: a malformed protocol
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
"GET /ws?access_token=SECRET-0123456789abcdef HTTX/1.1\r\n\r\n"
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23}/]
--- no_error_log eval: ['SECRET']



=== TEST 34: a blank in it
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
"GET /ws?access_token=SEC SECRET HTTP/1.1\r\nHost: x\r\n\r\n"
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*+/]
--- no_error_log eval: ['SECRET']



=== TEST 35: a request line that is too long
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
"GET /ws?access_token=SECRET-0123456789abcdef&x=" . 'x' x 5000 . " HTTP/1.1\r\n\r\n"
--- error_code: 414
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23}&x/]
--- no_error_log eval: ['SECRET']



=== TEST 36: a client that goes away in the middle
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
"GET /ws?access_token=SECRET-0123456789abcdef HTTP/1.1\r\nHost: x\r\nX"
--- error_code: 
--- response_body_like eval: qr/./
--- shutdown: 1
--- ignore_response
--- error_log eval: [qr/done: GET \/ws\?access_token=\*{23} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 37: a token of ours, refused by another location
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/returned?access_token=' . $::Token)
--- error_code: 403
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/returned\?access_token=\*{100,} HTTP/]
--- no_error_log eval: [$::Signature]



=== TEST 38: a token of ours, for another application
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/backend?access_token=' . $::Token)
--- error_code: 200
--- response_body_like eval: qr/^app: access_token=\*{100,}$/
--- error_log eval: [qr/done: GET \/backend\?access_token=\*{100,} HTTP/]
--- no_error_log eval: [$::Signature]



=== TEST 39: a token of ours, its dots encoded
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/app?access_token=' . $::Token =~ s/\./%2e/gr)
--- error_code: 200
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/app\?access_token=\*{100,} HTTP/]
--- no_error_log eval: [$::Signature]



=== TEST 40: a token of ours, behind one that is not
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/app?access_token=x&access_token=' . $::Token)
--- error_code: 200
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/app\?access_token=\*&access_token=\*{100,} HTTP/]
--- no_error_log eval: [$::Signature]



=== TEST 41: a token of another application reaches it
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/app?access_token=another.application.s')
--- error_code: 200
--- response_body_like eval: qr/^app: access_token=another\.application\.s$/
--- error_log eval: [qr/GET \/app\?access_token=another\.application\.s HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 42: so does a ticket
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/app?ticket=another-application-s')
--- error_code: 200
--- response_body_like eval: qr/^app: ticket=another-application-s$/
--- error_log eval: [qr/GET \/app\?ticket=another-application-s HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 43: a ticket of ours
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?ticket=SECRET-ticket-of-22-ch')
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?ticket=\*{22} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 44: arguments that a rewrite drops are not used
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/dropped?access_token=' . $::Token)
--- error_code: 401
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/dropped\?access_token=\*{100,} HTTP/]
--- no_error_log eval: [$::Signature]



=== TEST 45: a good token in the argument is used
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/required?access_token=' . $::Token)
--- error_code: 426
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/required\?access_token=\*{100,} HTTP/]
--- no_error_log eval: [$::Signature]



=== TEST 46: a ticket while nobody knows whose it is
--- http_config eval: ::http() =~ s/(?<=im_etcd )\S+;/\$TEST_NGINX_IM_NOBODY;/r
--- config eval: $::Config
--- raw_request eval: ::upgrade('/ws?ticket=SECRET-ticket-of-22-ch', @::Hs)
--- error_code: 503
--- response_body_like: "code":"unavailable"
--- error_log eval: [qr/done: GET \/ws\?ticket=\*{22} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 47: a variable that is read before the location is known decides nothing
--- http_config eval: ::http()
--- config
    im_jwt optional;
    set $who "user=$im_user_id";
    location = /required { im_jwt required; im_ws; }
--- raw_request eval: ::get('/required?access_token=' . $::Token)
--- error_code: 426
--- response_body_like: "code":"upgrade_required"
--- error_log eval: [qr/done: GET \/required\?access_token=\*{100,} HTTP.*\|426\|41/]
--- no_error_log eval: [$::Signature]



=== TEST 48: a ticket before the phases
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?ticket=SECRET-ticket-of-22-ch', 'X: ' . 'x' x 3000)
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/client sent too long header.*ticket=\*{22}/]
--- no_error_log eval: ['SECRET']



=== TEST 49: a ticket with two Host headers
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/ws?ticket=SECRET-ticket-of-22-ch', 'Host: other')
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/duplicate host header.*ticket=\*{22}/]
--- no_error_log eval: ['SECRET']



=== TEST 50: a token of nobody at a prefix, before the phases
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/prefix?access_token=SECRET-0123456789abcdef', 'Host: other')
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/duplicate host header.*access_token=\*{23}/]
--- no_error_log eval: ['SECRET']



=== TEST 51: a ticket, refused early and answered by an error page
--- http_config eval: ::http()
--- config eval
$::Config . "error_page 400 494 /why; location = /why { return 200 'why'; }"
--- raw_request eval
::get('/ws?ticket=SECRET-ticket-of-22-ch', 'Host: other')
--- error_code: 400
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?ticket=\*{22} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 52: a ticket, answered by the server before any location
--- http_config eval: ::http()
--- config eval
$::Config . "if (\$http_x_closed) { return 503; }"
--- raw_request eval
::get('/ws?ticket=SECRET-ticket-of-22-ch', 'X-Closed: 1')
--- error_code: 503
--- response_body_like eval: qr/./
--- error_log eval: [qr/done: GET \/ws\?ticket=\*{22} HTTP/]
--- no_error_log eval: ['SECRET']



=== TEST 53: a logged header in front of Host takes nothing from another application
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
"GET /app?access_token=another-application-s HTTP/1.1\r\nbad_header: 1\r\n"
. "Host: x\r\nConnection: close\r\n\r\n"
--- error_code: 200
--- response_body_like eval: qr/^app: access_token=another-application-s$/
--- error_log eval: [qr/client sent invalid header line.*access_token=\*{21}/]
--- no_error_log eval: ['SECRET']



=== TEST 54: a ticket opens only what im_ws serves, which redeems it
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/poll?poll=1&ticket=none-of-ours')
--- error_code: 401
--- response_body_like eval: qr/"code":"unauthorized"/
--- error_log eval: [qr/done: GET \/poll/]
--- no_error_log eval: ['upstream']



=== TEST 55: so in limit_except
--- http_config eval: ::http()
--- config eval: $::Config
--- raw_request eval
::get('/post?ticket=none-of-ours') =~ s/^GET/POST/r
--- error_code: 401
--- response_body_like eval: qr/"code":"unauthorized"/
--- error_log eval: [qr/done: POST \/post/]
--- no_error_log eval: ['upstream']
