# Test::Nginx::Request -- the requests of a block: made, sent in pieces, and
# their responses.  A part of the stand-in for Test::Nginx (Socket.pm).

package Test::Nginx::Request;

use strict;
use warnings;

use Exporter qw(import);
use IO::Select ();
use Test::More ();
use Test::Nginx::Server;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(timeout requests_of send_request parse_response);

my $Timeout = $ENV{TEST_NGINX_TIMEOUT} || 15;

sub timeout (@) { $Timeout = shift if @_; $Timeout }


# A list of requests, each a list of pieces to send.
sub requests_of ($) {
    my $block = shift;
    my $raw = $block->raw_request;
    my $requests = $block->request;
    my $more = $block->more_headers // '';

    if (defined $raw) {
        return [ref $raw ? $raw : [$raw]];
    }

    bail_out($block->name . " - neither request nor raw_request")
        unless defined $requests;

    $requests = [$requests] unless ref $requests;

    my $i = 0;
    return [map { [build_request($block, $_, ref $more ? $more->[$i++]
                                                       : $more)] } @$requests];
}

sub build_request ($$$) {
    my ($block, $text, $more) = @_;

    $text =~ s/^\s+//;

    my ($line, $body) = $text =~ /^([^\n]*)\n?(.*)$/s;
    my ($method, $uri, $version) = split ' ', $line;
    my @headers = grep { length && !/^\s*#/ } split /\n+/, $more;
    my $head = join '', map { "$_\r\n" } @headers;

    $uri //= '/';
    $version //= 'HTTP/1.1';

    $head = "Connection: close\r\n$head" if $head !~ /^Connection/mi;
    $head = "Host: localhost\r\n$head" if $head !~ /^Host:/mi;

    if ($body ne '' && $head !~ /^Transfer-Encoding: chunked/mi
        && $head !~ /^Content-Length:/m)
    {
        $body =~ s/^\s+|\s+$//g;
        $head .= "Content-Length: " . length($body) . "\r\n";
    }

    return "$method $uri $version\r\n$head\r\n$body";
}

# Sends the pieces, reads until the server closes.
sub send_request ($$) {
    my ($block, $pieces) = @_;
    my $limit = $block->timeout ? $block->timeout + 0 : $Timeout;
    my $sock = connect_nginx($limit);
    my ($resp, $end) = ('', time + $limit);
    my @left = @$pieces;

    if (!$sock) {
        Test::More::fail($block->name . " - cannot connect: $!");
        return '';
    }

    local $SIG{PIPE} = 'IGNORE';
    my $select = IO::Select->new($sock);

    while (@left) {
        my $piece = shift @left;

        $sock->blocking(0);
        while (length $piece) {
            my $n = syswrite $sock, $piece;
            if (defined $n) {
                substr($piece, 0, $n) = '';
            } elsif (!$!{EAGAIN}) {
                @left = ();            # the server has closed: read its words
                last;
            }

            # a server that answers early must not be blocked by us
            read_some($sock, $select, \$resp, 0.01) if length $piece;
            if (time > $end) {
                @left = ();
                last;
            }
        }

        if (@left) {
            between_pieces($block, scalar(@$pieces) - @left - 1, $sock,
                           $select, \$resp, $limit);
            $end = time + $limit;
        }
    }

    shutdown($sock, 1) if defined $block->shutdown;

    $end = time + $limit;

    while (time < $end) {
        my $n = read_some($sock, $select, \$resp, $end - time);
        return $resp if defined $n && $n <= 0;
        $end = time + $limit if $n;
    }

    Test::More::fail("ERROR: client socket timed out - " . $block->name)
        unless defined $block->abort;

    return $resp;
}

# After the piece of this number, and before the next one.
sub between_pieces ($$$$$$) {
    my ($block, $piece, $sock, $select, $resp, $limit) = @_;
    my $until = $block->raw_request_middle_until;
    my $end = time + $limit;

    if (!defined $until) {
        sleep($block->raw_request_middle_delay)
            if $block->raw_request_middle_delay;
        return;
    }

    my $like = ref $until eq 'ARRAY' ? $until->[$piece] : $until;

    while ($$resp !~ /$like/s) {
        my $n = read_some($sock, $select, $resp, $end - time);

        if (defined $n ? $n <= 0 : time > $end) {
            Test::More::diag($block->name . " - \"$like\" did not come before "
                 . "piece " . ($piece + 2));
            return;
        }
    }
}

# Bytes read; 0 or -1 at the end; undef when nothing came in time.
sub read_some ($$$$) {
    my ($sock, $select, $resp, $wait) = @_;

    return undef unless $select->can_read($wait > 0 ? $wait : 0);

    my $n = sysread $sock, $$resp, 65536, length $$resp;

    return $n if defined $n;
    return $!{EAGAIN} || $!{EINTR} ? undef : -1;
}

sub parse_response ($) {
    my $raw = shift;
    my %res = (code => '', head => '', headers => {}, body => '');

    return \%res unless $raw =~ /^HTTP\/\d\.\d (\d+)[^\n]*\r\n/;

    $res{code} = $1;

    my $at = index $raw, "\r\n\r\n";

    return \%res if $at < 0;

    $res{head} = substr $raw, 0, $at + 2;
    $res{body} = substr $raw, $at + 4;

    for (split /\r\n/, $res{head}) {
        push @{$res{headers}{lc $1}}, $2 if /^([^:\s]+):\s*(.*?)\s*$/;
    }

    return \%res if $res{code} == 101 || $res{code} == 304;

    my $len = $res{headers}{'content-length'};

    if (($res{headers}{'transfer-encoding'}[0] // '') eq 'chunked') {
        my ($rest, $body) = ($res{body}, '');

        while ($rest =~ s/^([0-9A-Fa-f]+)[^\r\n]*\r\n// && hex $1) {
            $body .= substr $rest, 0, hex $1;
            $rest = length $rest > hex $1 ? substr $rest, hex($1) + 2 : '';
        }
        $res{body} = $body;

    } elsif ($len && length $res{body} > $len->[0]) {
        $res{body} = substr $res{body}, 0, $len->[0];
    }

    return \%res;
}

1;
