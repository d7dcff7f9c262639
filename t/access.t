# im_jwt among nginx's own access modules: each block asks a location that has
# im_jwt and one that has auth_basic instead, and what the site has configured
# around them must work for both alike (docs/nginx.md has the table).

BEGIN { push @INC, 't/lib' }
use Test::Nginx::Socket;
use IMTest;

our $Http = "im_jwt_key_file \$TEST_NGINX_IM_KEY;\n"
            . "log_format short 'done: \$request_method \$uri \$status';\n"
            . "access_log \$TEST_NGINX_SERVER_ROOT/logs/error.log short;\n";

our $Basic = 'auth_basic site; '
             . 'auth_basic_user_file $TEST_NGINX_SERVER_ROOT/html/users;';

our $Users = ">>> users\nme:{PLAIN}secret\n>>> page\nthe page\n"
             . ">>> inc-jwt\n<!--# include virtual='/plain-jwt' -->\n"
             . ">>> inc-basic\n<!--# include virtual='/plain-basic' -->\n";

# /NAME-jwt and /NAME-basic, with the same lines around GUARD.
sub pair {
    my ($name, $lines, $modifier) = @_;
    my $text = '';

    for (['jwt', 'im_jwt required;'], ['basic', $Basic]) {
        my ($kind, $guard) = @$_;
        my $here = $lines;

        $here =~ s/GUARD/$guard/g;
        $here =~ s/KIND/$kind/g;
        $text .= "location = /$name-$kind { $here }\n";
    }

    return $text;
}

our $Page = 'try_files /page =404;';

our $Config = pair('plain', "GUARD $Page")
    . pair('any-address', "satisfy any; allow 127.0.0.1; deny all; GUARD $Page")
    . pair('any-nobody', "satisfy any; deny all; GUARD $Page")
    . pair('all-nobody', "deny all; GUARD $Page")
    . pair('named', "error_page 401 = \@login; GUARD $Page")
    . pair('moved', "error_page 401 =302 http://localhost/login; GUARD $Page")
    . pair('inside', "error_page 401 =202 /login; GUARD $Page")
    . pair('own-page', "error_page 401 /login; GUARD $Page")
    . pair('file-page', "error_page 401 /page; GUARD $Page")
    . pair('other-page', "error_page 403 404 /login; GUARD $Page")
    . pair('loop', "error_page 401 /plain-KIND; GUARD $Page")
    . pair('guarded', "auth_request /yes; GUARD $Page")
    . pair('refused', "auth_request /no; GUARD $Page")
    . pair('asks', "auth_request /plain-KIND; $Page")
    . pair('except', "proxy_pass http://127.0.0.1:\$server_port/page; "
                     . "limit_except GET { GUARD }")
    . pair('to', "try_files /none /plain-KIND;")
    . pair('rewritten', "rewrite ^ /plain-KIND last;")
    . pair('includes', "ssi on; ssi_types *; default_type text/html; "
                       . "try_files /inc-KIND =404;")
    . pair('slow', "auth_delay 20ms; GUARD $Page")
    . pair('backend', 'GUARD proxy_pass '
                      . 'http://127.0.0.1:$server_port/says401;')
    . <<"_EOC_";
    location = /login { return 200 "log in here\\n"; }
    location \@login { return 200 "log in here\\n"; }
    location = /yes { return 204; }
    location = /no { return 403; }
    location = /page { }
    location = /says401 { error_page 401 /mine; return 401; }
    location = /mine { internal; return 401 "mine\\n"; }
    location = /optional { satisfy any; deny all; im_jwt optional; $Page }
    location = /both { satisfy any; im_jwt required; $Basic $Page }
    location = /first { im_jwt required; $Basic deny all; $Page }
    location = /three { satisfy any; im_jwt required; $Basic
                        auth_request /yes; $Page }
_EOC_

# What both are asked: without credentials, or each with good ones.
sub both {
    my ($name, $method) = @_;

    $method //= 'GET';
    return ["$method /$name-jwt", "$method /$name-basic"];
}

our $Good = [bearer(41), 'Authorization: Basic bWU6c2VjcmV0'];
our $Bad = ['Authorization: Bearer a.b.c', 'Authorization: Basic bWU6eA=='];

our $Problem = '^\{"type":"urn:im:error:unauthorized",.*"status":401,'
               . '"code":"unauthorized".*\}$';
our $Html = '<h1>401 Authorization Required</h1>';

# Assertions: each request has a status, a body, WWW-Authenticate and the log.
plan tests => repeat_each() * (blocks() * 8);

no_long_string();
log_level('info');
run_tests();

__DATA__

=== TEST 1: without credentials
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('plain')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 2: with good ones
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('plain')
--- more_headers eval: $::Good
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 3: with bad ones
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('plain')
--- more_headers eval: $::Bad
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 4: HEAD has the headers of GET, and no body
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('plain', 'HEAD')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
['^$', '^$']
--- no_error_log
[alert]



=== TEST 5: satisfy any: an address that is allowed is enough
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('any-address')
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 6: satisfy any: even with bad credentials
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('any-address')
--- more_headers eval: $::Bad
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 7: satisfy any: credentials are enough
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('any-nobody')
--- more_headers eval: $::Good
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 8: satisfy any: neither
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('any-nobody')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 9: satisfy all: an address that is denied is denied
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('all-nobody')
--- more_headers eval: $::Good
--- error_code eval: [403, 403]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['403 Forbidden', '403 Forbidden']
--- no_error_log
[alert]



=== TEST 10: error_page 401 = @name
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('named')
--- error_code eval: [200, 200]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
['^log in here$', '^log in here$']
--- no_error_log
[alert]



=== TEST 11: error_page 401 =302 URL
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('moved')
--- error_code eval: [302, 302]
--- response_headers eval
['WWW-Authenticate: Bearer
Location: http://localhost/login', 'WWW-Authenticate: Basic realm="site"
Location: http://localhost/login']
--- response_body_like eval
['302 Found', '302 Found']
--- no_error_log
[alert]



=== TEST 12: error_page 401 =202 /uri
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('inside')
--- error_code eval: [202, 202]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
['^log in here$', '^log in here$']
--- no_error_log
[alert]



=== TEST 13: error_page 401 /uri
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('own-page')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
['^log in here$', '^log in here$']
--- no_error_log
[alert]



=== TEST 14: an error_page of other statuses
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('other-page')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 15: an error_page that is guarded itself
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('loop')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site", Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 16: auth_request beside it: both pass
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('guarded')
--- more_headers eval: $::Good
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 17: auth_request beside it: it refuses
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('refused')
--- more_headers eval: $::Good
--- error_code eval: [403, 403]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['403 Forbidden', '403 Forbidden']
--- no_error_log
[alert]



=== TEST 18: auth_request beside it: no credentials
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('guarded')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 19: as the target of auth_request it is not asked: no access phase
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('asks')
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 20: limit_except: another method
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('except', 'POST')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 21: limit_except: the method itself
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('except')
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 22: an internal redirect to it is checked
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('to')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 23: a rewrite to it is checked
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('rewritten')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 24: a subrequest to it is not
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('includes')
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 25: auth_delay
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('slow')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
[$::Problem, $::Html]
--- no_error_log
[alert]



=== TEST 26: what a backend answers is the backend's
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('backend')
--- more_headers eval: $::Good
--- error_code eval: [401, 401]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^mine$', '^mine$']
--- no_error_log
[alert]



=== TEST 27: optional satisfies nobody without a token
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ['GET /optional', 'GET /optional']
--- more_headers eval: ['X-None: 1', ::bearer(41)]
--- error_code eval: [403, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['403 Forbidden', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 28: both in one location, satisfy any: either is enough
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ['GET /both', 'GET /both']
--- more_headers eval: $::Good
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]



=== TEST 29: both in one location, satisfy any: the client is told of both
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ['GET /both', 'HEAD /both']
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer, Basic realm="site"', 'WWW-Authenticate: Bearer, Basic realm="site"']
--- response_body_like eval
[$::Problem, '^$']
--- no_error_log
[alert]



=== TEST 30: it is asked before the others
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ['GET /first', 'GET /first']
--- more_headers eval: ['X-None: 1', ::bearer(41)]
--- error_code eval: [401, 403]
--- response_headers eval
['WWW-Authenticate: Bearer', '! WWW-Authenticate']
--- response_body_like eval
[$::Problem, '403 Forbidden']
--- no_error_log
[alert]



=== TEST 31: a later module lets pass what two refused
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ['GET /three', 'HEAD /three']
--- error_code eval: [200, 200]
--- response_headers eval
['! WWW-Authenticate', '! WWW-Authenticate']
--- response_body_like eval
['^the page\s*$', '^$']
--- no_error_log
[alert]



=== TEST 32: a body that nobody reads is discarded, and the connection goes on
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- raw_request eval
"POST /plain-jwt HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabcdef"
. "GET /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body_like: "code":"unauthorized"
--- error_log
done: POST /plain-jwt 401
done: GET /login 200
--- no_error_log
[alert]



=== TEST 33: the site's page is a file that nobody guards
--- http_config eval: $::Http
--- config eval: $::Config
--- user_files eval: $::Users
--- request eval: ::both('file-page')
--- error_code eval: [401, 401]
--- response_headers eval
['WWW-Authenticate: Bearer', 'WWW-Authenticate: Basic realm="site"']
--- response_body_like eval
['^the page\s*$', '^the page\s*$']
--- no_error_log
[alert]
