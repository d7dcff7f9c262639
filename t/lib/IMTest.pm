# IMTest -- what the suites in t/ share: handshakes, frames, tokens, and the
# http{} lines of a block.  Core Perl only; works under the real Test::Nginx
# and under the stand-in beside it.
#
# A suite that needs no Logic runs without a stack: it uses the key that this
# file makes and an etcd address where nobody listens.  A suite that needs the
# real im-logic calls need_stack(): it is skipped unless TEST_NGINX_IM_ETCD and
# TEST_NGINX_IM_KEY name a running stack (tools/stack start t --no-nginx).
#
# No suite waits for discovery: a worker holds the requests of its first
# milliseconds back until etcd has answered, and a WebSocket login is tried
# again until Logic has.

package IMTest;

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use Exporter qw(import);
use File::Spec ();
use MIME::Base64 qw(encode_base64);

our @EXPORT = qw(
    need_stack http_config frame server_frame text close_frame handshake
    upgrade token bearer unique json_string certificates
);

# 127.0.0.1:9 is "discard": refused at once, on any machine.
$ENV{TEST_NGINX_IM_NOBODY} = '127.0.0.1:9';

# Where im_api.conf is.
$ENV{TEST_NGINX_IM_CONF} //= File::Spec->rel2abs('conf');

my $Stack = defined $ENV{TEST_NGINX_IM_ETCD} && defined $ENV{TEST_NGINX_IM_KEY};

if (!defined $ENV{TEST_NGINX_IM_KEY}) {
    my $dir = $ENV{TMPDIR} // '/tmp';
    my $path = "$dir/im-test-$$.key";

    open my $out, '>', $path or die "cannot write $path: $!";
    chmod 0600, $path;
    print $out "only-for-tests-0123456789abcdefghijklmnop\n";
    close $out;

    $ENV{TEST_NGINX_IM_KEY} = $path;

    my $owner = $$;
    END { unlink $path if defined $path && $$ == $owner }
}

# A folder with im.pem and im.key, and others that are wrong in some way.
sub certificates {
    require File::Temp;

    my $dir = File::Temp::tempdir('im-pem-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    my $ec = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2';

    system(qq{exec 2>"$dir/log" && cd "$dir" && chmod 755 . &&
        openssl req -x509 $ec -subj /CN=im -keyout im.key -out im.pem &&
        openssl req -x509 $ec -subj /CN=o -keyout other.key -out other.pem &&
        openssl pkey -in im.key -aes128 -passout pass:secret -out asks.key &&
        head -n 3 im.pem > cut.pem}) == 0
        or die "openssl cannot make certificates\n";

    $ENV{TEST_NGINX_IM_PEM} = $dir;
}

my $Key = do {
    open my $in, '<', $ENV{TEST_NGINX_IM_KEY}
        or die "cannot read $ENV{TEST_NGINX_IM_KEY}: $!";
    local $/;
    my $key = <$in>;
    $key =~ s/\s+\z//;
    $key;
};

my $Unique = sprintf '%x%x', $$, time;


sub need_stack {
    return if $Stack;

    require Test::More;
    Test::More::plan(skip_all => 'needs TEST_NGINX_IM_ETCD and '
                                 . 'TEST_NGINX_IM_KEY of a running stack');
}

# Lines for --- http_config; with the stack's etcd or with none that answers.
sub http_config {
    my $etcd = $Stack ? '$TEST_NGINX_IM_ETCD' : '$TEST_NGINX_IM_NOBODY';

    return "im_etcd $etcd;\nim_jwt_key_file \$TEST_NGINX_IM_KEY;\n";
}

# A name that no earlier run has registered.
sub unique {
    my $name = shift;

    return "$name.$Unique";
}


# --- frames (RFC 6455 section 5.2)

# A client's frame.  Options: fin, rsv, mask (0: unmasked), length (announced).
sub frame {
    my ($opcode, $payload, %o) = @_;
    my $first = (($o{fin} // 1) << 7) | (($o{rsv} // 0) << 4) | $opcode;
    my $length = $o{length} // length $payload;
    my $masked = $o{mask} // 1;
    my $mask = "\x11\x22\x33\x44";

    return header($first, $length, $masked ? 0x80 : 0)
           . ($masked ? $mask . xor_mask($payload, $mask) : $payload);
}

# What the server sends.
sub server_frame {
    my ($opcode, $payload) = @_;

    return header(0x80 | $opcode, length $payload, 0) . $payload;
}

sub header {
    my ($first, $length, $bit) = @_;

    return pack 'CC', $first, $bit | $length if $length < 126;
    return pack 'CCn', $first, $bit | 126, $length if $length < 65536;
    return pack 'CCQ>', $first, $bit | 127, $length;
}

sub xor_mask {
    my ($payload, $mask) = @_;
    my $pad = $mask x (length($payload) / 4 + 1);

    return $payload ^ substr $pad, 0, length $payload;
}

sub text { return frame(1, shift) }

sub close_frame {
    my ($code, $reason) = @_;

    return frame(8, pack('n', $code // 1000) . ($reason // ''));
}


# --- handshakes

# The sample key of RFC 6455 section 1.3: accepted by
# s3pPLMBiTxaQ9kYGzzhZRbK+xOo=.
sub handshake {
    my ($uri, @more) = @_;

    return upgrade($uri // '/ws', 'Connection: Upgrade', 'Upgrade: websocket',
                   'Sec-WebSocket-Version: 13',
                   'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', @more);
}

# A GET with exactly these headers.
sub upgrade {
    my ($uri, @headers) = @_;

    return join "\r\n", "GET $uri HTTP/1.1", 'Host: localhost', @headers,
                        '', '';
}


# --- tokens (RFC 7519), HS256 with the key of the stack

# Options: claims to add or, with undef, to leave out; key, alg, typ and
# signature for forgeries.
sub token {
    my ($uid, %o) = @_;
    my $key = delete $o{key} // $Key;
    my $alg = delete $o{alg} // 'HS256';
    my $signature = delete $o{signature};
    my $now = time;

    my %claims = (sub => "$uid", sid => sid($uid), dev => 'test',
                  typ => 'access', iat => $now, exp => $now + 600, %o);
    my $signed = b64(object(typ => 'JWT', alg => $alg)) . '.'
                 . b64(object(map { $_ => $claims{$_} }
                              grep { defined $claims{$_} }
                              sort keys %claims));

    $signature //= hmac_sha256($signed, $key);

    return "$signed." . b64($signature);
}

sub bearer { return 'Authorization: Bearer ' . token(@_) }

# A session id looks like 16 random bytes in base64url.
sub sid {
    my $uid = shift;

    return substr b64(hmac_sha256("sid $uid", $Unique)), 0, 22;
}

sub b64 {
    my $s = encode_base64(shift, '');

    $s =~ tr{+/}{-_};
    $s =~ s/=+$//;
    return $s;
}

sub object {
    my @pairs = @_;
    my @members;

    while (my ($k, $v) = splice @pairs, 0, 2) {
        push @members, json_string($k) . ':'
                       . ($v =~ /^-?\d+$/ && $k ne 'sub' ? $v
                                                         : json_string($v));
    }

    return '{' . join(',', @members) . '}';
}

sub json_string {
    my $s = shift;

    $s =~ s/(["\\])/\\$1/g;
    return "\"$s\"";
}

1;
