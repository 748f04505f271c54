"""`protocols.message`: strict framing, whatever the bytes are cut into."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BodyUnreadable, InvalidRequest
from knight_tw.protocols.heads import MAX_HEAD
from knight_tw.protocols.message import Message

START = b"POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\n"


def read(data: bytes, cut: int = 0) -> tuple[Message, bytes]:
    """A message read from `data`, in pieces of `cut` bytes, and what is left."""
    message, rest = Message(), b""
    step = cut or len(data)
    for start in range(0, len(data), step):
        rest += data[start : start + step]
        while rest and not message.complete:
            take = message.take_body if message.headed else message.take_head
            rest = take(rest)
    return message, rest


class Heads(SynchronousTestCase):
    """What a head says."""

    def test_reads_the_line_and_the_headers(self) -> None:
        """Names are in lower case, values without blanks around them, in order."""
        message, rest = read(START + b"X-A:  1 \t\r\nAuthorization: b\r\n\r\n")
        self.assertEqual(message.method, "POST")
        self.assertEqual((message.path, message.query), ("/v1/x", "a=b"))
        self.assertEqual(
            message.fields, [("host", "h"), ("x-a", "1"), ("authorization", "b")]
        )
        self.assertTrue(message.complete and message.stays and message.http11)
        self.assertEqual(rest, b"")

    def test_keeps_bytes_beyond_ascii_in_values(self) -> None:
        """A value is Latin-1, so that it can be sent on as it came."""
        message, _ = read(START + b"X: \xe9\xff\r\n\r\n")
        self.assertEqual(message.fields[-1], ("x", "\xe9\xff"))

    def test_absolute_form(self) -> None:
        """Scheme and host of an absolute target are dropped."""
        message, _ = read(b"GET http://u@h:1/a/b?c HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual((message.path, message.query), ("/a/b", "c"))

    def test_asterisk_form(self) -> None:
        """`OPTIONS *` keeps its target."""
        message, _ = read(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual(message.path, "*")

    def test_empty_lines_before_the_request(self) -> None:
        """Empty lines before a request line are skipped (RFC 9112 section 2.2)."""
        for cut in (0, 1, 2, 3):
            message, _ = read(b"\r\n\r\n" + START + b"\r\n", cut)
            self.assertEqual(message.path, "/v1/x")

    def test_leaves_the_next_request(self) -> None:
        """Bytes behind the head belong to the next message."""
        message, rest = read(START + b"\r\nGET / HTTP/1.1\r\n")
        self.assertTrue(message.complete)
        self.assertEqual(rest, b"GET / HTTP/1.1\r\n")

    def test_versions(self) -> None:
        """HTTP/1.0 does not stay unless it says so."""
        old, _ = read(b"GET / HTTP/1.0\r\n\r\n")
        kept, _ = read(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        closed, _ = read(START + b"Connection: close\r\n\r\n")
        self.assertEqual([old.http11, kept.http11, closed.http11], [False, False, True])
        self.assertEqual([old.stays, kept.stays, closed.stays], [False, True, False])

    def test_upgrades_are_seen(self) -> None:
        """An upgrade, whatever to, is not for the fast lane."""
        for name in (b"websocket", b"h2c"):
            message, _ = read(
                START + b"Connection: Upgrade\r\nUpgrade: " + name + b"\r\n\r\n"
            )
            self.assertTrue(message.headed and message.upgrade)

    def test_expects(self) -> None:
        """`100-continue` counts for HTTP/1.1 only; any other expectation is refused."""
        new, _ = read(START + b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n")
        old, _ = read(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual([new.expects, old.expects], [True, False])
        with self.assertRaises(InvalidRequest) as caught:
            read(START + b"Expect: miracles\r\n\r\n")
        self.assertEqual(caught.exception.status, 417)

    def test_forwarded_addresses(self) -> None:
        """Every `X-Forwarded-For` is kept, in order."""
        message, _ = read(
            START + b"X-Forwarded-For: a, b\r\nX-Forwarded-For: c\r\n\r\n"
        )
        self.assertEqual(message.forwarded, ("a, b", "c"))


REFUSED = {
    "both lengths": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "both lengths, other order": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 3\r\n",
    "a list of lengths": b"Content-Length: 3, 3\r\n",
    "a signed length": b"Content-Length: +3\r\n",
    "a negative length": b"Content-Length: -3\r\n",
    "a hexadecimal length": b"Content-Length: 0x3\r\n",
    "no length": b"Content-Length: \r\n",
    "a huge length": b"Content-Length: 99999999999999999999999\r\n",
    "digits apart": b"Content-Length: 3 4\r\n",
    "gzip as transfer coding": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, gzip\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunked misspelt": b"Transfer-Encoding: xchunked\r\n",
    "an empty transfer coding": b"Transfer-Encoding:\r\n",
    "a vertical tab": b"Transfer-Encoding:\x0bchunked\r\n",
    "a blank before the colon": b"Transfer-Encoding : chunked\r\n",
    "a folded header": b"X: a\r\n b\r\n",
    "a folded length": b"Content-Length:\r\n 3\r\n",
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n",
    "a bare line feed": b"X: y\nZ: w\r\n",
    "a bare carriage return": b"X: y\rZ: w\r\n",
    "a NUL": b"X: y\0z\r\n",
    "a control character": b"X: y\x01z\r\n",
    "no name": b": z\r\n",
    "no colon": b"foo\r\n",
    "a name beyond ASCII": b"X\xe9: z\r\n",
    "a blank in a name": b"A B: c\r\n",
    "a second host": b"Host: i\r\n",
}
REFUSED_LINES = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "no version": b"GET /\r\nHost: h\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: h\n\n",
    "a small method": b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a leading blank": b" GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a blank at the end": b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    "a control character": b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target beyond ASCII": b"GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n",
    "chunks in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
}


class Refused(SynchronousTestCase):
    """What two readers could understand differently is not understood at all."""

    def test_headers(self) -> None:
        """Ambiguous or broken headers are refused, however they are cut."""
        for name, header in REFUSED.items():
            for cut in (0, 1, 7):
                with self.subTest(name, cut=cut), self.assertRaises(InvalidRequest):
                    read(START + header + b"\r\nabc", cut)

    def test_request_lines(self) -> None:
        """Broken request lines are refused, however they are cut."""
        for name, data in REFUSED_LINES.items():
            for cut in (0, 1, 7):
                with self.subTest(name, cut=cut), self.assertRaises(InvalidRequest):
                    read(data, cut)

    def test_a_long_head(self) -> None:
        """A head of more than 64 KiB is refused, complete or not."""
        line = b"X: " + b"y" * 1000 + b"\r\n"
        for end in (b"", b"\r\n"):
            with self.assertRaises(InvalidRequest):
                read(START + line * (MAX_HEAD // 1000 + 1) + end, 8192)

    def test_a_long_head_at_once(self) -> None:
        """Nor does it pass when it comes in one piece."""
        with self.assertRaises(InvalidRequest):
            read(START + b"X: " + b"y" * MAX_HEAD + b"\r\n\r\n")

    def test_many_headers(self) -> None:
        """A hundred headers pass, one more is refused."""
        message, _ = read(START + b"X: y\r\n" * 99 + b"\r\n")
        self.assertEqual(len(message.fields), 100)
        with self.assertRaises(InvalidRequest):
            read(START + b"X: y\r\n" * 100 + b"\r\n")


CHUNKED = START + b"Transfer-Encoding: Chunked\r\n\r\n"
REFUSED_CHUNKS = {
    "a signed size": b"+3\r\nabc\r\n0\r\n\r\n",
    "a prefixed size": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nabc\r\n0\r\n\r\n",
    "a blank behind the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a blank before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a huge size": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a bare line feed": b"3\nabc\r\n0\r\n\r\n",
    "a bare line feed behind an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "a bare line feed behind the data": b"3\r\nabc\n0\r\n\r\n",
    "no line end behind the data": b"3\r\nabc0\r\n\r\n",
    "more data than its size": b"2\r\nabc\r\n0\r\n\r\n",
    "a length as trailer": b"0\r\nContent-Length: 7\r\n\r\n",
    "a request instead of a trailer": b"0\r\nGET / HTTP/1.1\r\n\r\n",
}


class Bodies(SynchronousTestCase):
    """Where a body ends."""

    def test_of_a_known_length(self) -> None:
        """A body ends after its length; what follows is the next message."""
        message, rest = read(START + b"Content-Length: 3\r\n\r\nabcGET")
        self.assertEqual((message.body(), rest, message.length), (b"abc", b"GET", 3))

    def test_of_chunks(self) -> None:
        """Sizes, extensions and trailers are not part of the body."""
        for cut in range(60):
            message, rest = read(
                CHUNKED + b"3\r\nabc\r\n4;x=y\r\n\r\n\r\n\r\n0\r\nT: u\r\n\r\nGET", cut
            )
            self.assertTrue(message.complete)
            self.assertEqual((message.body(), rest), (b"abc\r\n\r\n", b"GET"))
            self.assertEqual(message.fields[-1][0], "transfer-encoding")

    def test_of_an_incomplete_body(self) -> None:
        """A message lacks its end until the last byte."""
        message, _ = read(CHUNKED + b"3\r\nabc\r\n0\r\n\r")
        self.assertFalse(message.complete)

    def test_broken_chunks(self) -> None:
        """A malformed chunk is refused, however it is cut."""
        for name, data in REFUSED_CHUNKS.items():
            for cut in (0, 1, 5):
                with self.subTest(name, cut=cut), self.assertRaises(BodyUnreadable):
                    read(CHUNKED + data, cut)

    def test_endless_extension(self) -> None:
        """A chunk extension that never ends is refused."""
        with self.assertRaises(BodyUnreadable):
            read(CHUNKED + b"3;" + b"x" * 2 * MAX_HEAD, 4096)

    def test_endless_trailer(self) -> None:
        """So is a trailer."""
        with self.assertRaises(BodyUnreadable):
            read(CHUNKED + b"0\r\nX: " + b"y" * 2 * MAX_HEAD, 4096)

    def test_many_small_chunks_pass(self) -> None:
        """Overhead that carries data is not limited."""
        message, _ = read(CHUNKED + b"1\r\nx\r\n" * MAX_HEAD + b"0\r\n\r\n", 8192)
        self.assertEqual(len(message.body()), MAX_HEAD)


TOKENS = st.text("abcXYZ-", min_size=1, max_size=8)
VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"),
    max_size=12,
)
BODIES = st.binary(max_size=40) | st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n", b"\r\n"])


def chunked(pieces: list[bytes]) -> bytes:
    """Some pieces as a chunked body."""
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join([*chunks, b"0\r\n\r\n"])


class AnyCut(SynchronousTestCase):
    """How bytes are cut says nothing."""

    @settings(max_examples=60, deadline=None)
    @given(
        headers=st.lists(st.tuples(TOKENS, VALUES), max_size=5),
        pieces=st.lists(BODIES, max_size=4),
        whole=st.booleans(),
        cuts=st.lists(st.integers(1, 50), min_size=1, max_size=20),
        behind=st.binary(max_size=10),
    )
    def test_gives_the_same_message(
        self,
        headers: list[tuple[str, str]],
        pieces: list[bytes],
        whole: bool,
        cuts: list[int],
        behind: bytes,
    ) -> None:
        """Any splitting of a request gives the same head, body and rest."""
        head = "".join(f"X{name}: {value}\r\n" for name, value in headers)
        body = b"".join(pieces)
        if whole:
            framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        else:
            framed = b"Transfer-Encoding: chunked\r\n\r\n" + chunked(pieces)
        data = START + head.encode("latin-1") + framed + behind
        message, rest, at = Message(), b"", 0
        while at < len(data):
            step = cuts[at % len(cuts)]
            rest += data[at : at + step]
            at += step
            while rest and not message.complete:
                take = message.take_body if message.headed else message.take_head
                rest = take(rest)
        self.assertTrue(message.complete)
        self.assertEqual((message.body(), rest), (body, behind))
        sent = [(f"x{name.lower()}", value.rstrip(" \t")) for name, value in headers]
        self.assertEqual(message.fields[1:-1], sent)
