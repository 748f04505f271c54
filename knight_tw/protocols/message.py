"""One request on its way in: bytes to head and body, with strict framing. No I/O.

Heads and chunked bodies go through llhttp in its strict mode; a body with a
`Content-Length` is cut out here, which is exact and copies nothing. llhttp is given one
message at a time: strict framing means that a head, and a chunked body, end at their
first empty line after CRLF, so the boundary is known before llhttp sees what lies
behind it. A new parser for each message costs less than a microsecond; it is let go as
soon as it has done its work, because it and its message hold each other, and garbage of
that kind stops the process for milliseconds when it is collected.

What llhttp lets through though two readers could disagree about it is refused here:
transfer codings other than `chunked`, a missing or second `Host`, fragments, HTTP
versions other than 1.0 and 1.1, and everything without a limit (RFC 9112).
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from knight_tw.errors import BodyUnreadable, InvalidRequest
from knight_tw.protocols.heads import MAX_HEAD, MAX_HEADERS

_CHUNKED = -1
"""`_left` of a body that ends by itself."""

_END = b"\r\n\r\n"
_FRAMING = frozenset(
    ("content-length", "expect", "host", "transfer-encoding", "x-forwarded-for")
)


class Message:
    """A request. Feed `take_head` until `headed`, then `take_body` until `complete`.

    Attributes:
        raw: The head as it came, as far as it came.
        headed: The head is complete; the following are set from then on.
        upgrade: The client wants another protocol on this connection.
        http11: HTTP/1.1, else HTTP/1.0.
        stays: The client would use the connection again.
        method: In capitals.
        fields: Headers in their order, names in lower case.
        path, query: Of the target, as sent.
        forwarded: Values of `X-Forwarded-For`.
        expects: The client waits for `100 Continue` before it sends the body.
        length: The body's declared length, None when it is chunked.
        size: Bytes of the body that have arrived.
        complete: Nothing of the message is missing.
    """

    # Defaults of the class: a message costs only what it uses.
    method = path = query = ""
    raw = b""
    headed = upgrade = stays = complete = expects = False
    http11 = True
    length: int | None = 0
    forwarded: tuple[str, ...] = ()
    size = 0
    _tail = _url = b""
    _left = _barren = 0

    def __init__(self) -> None:
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self.fields: list[tuple[str, str]] = []
        self._framing: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []

    def take_head(self, data: bytes) -> bytes:
        """Take bytes of the head; what lies behind it.

        Raises:
            InvalidRequest: the head is malformed, too long, or ambiguous.
        """
        parser = self._parser
        if parser is None:
            return b""
        # Nearly always the whole head comes at once.
        found = -1 if self._tail else data.find(_END)
        piece = data[: found + 4] if found >= 0 else _up_to_end(self._tail, data)
        try:
            parser.feed_data(piece)
        except HttpParserUpgrade:
            self.upgrade = True
        except HttpParserError as error:
            raise malformed(str(error)) from None
        self.raw = self.raw + piece if self.raw else piece
        if len(self.raw) > MAX_HEAD or len(self.fields) > MAX_HEADERS:
            raise malformed("the head is too long")
        if self.headed:
            self._judge(parser)
            if self._left != _CHUNKED:
                self._parser = None
        else:
            self._tail = self.raw[-3:]
        return data[len(piece) :]

    def take_body(self, data: bytes) -> bytes:
        """Take bytes of the body; what lies behind it.

        Raises:
            BodyUnreadable: a chunk is malformed.
        """
        left = self._left
        if left == _CHUNKED:
            return self._take_chunks(data)
        piece = data if len(data) <= left else data[:left]
        self._left = left - len(piece)
        self.complete = not self._left
        self.on_body(piece)
        return data[len(piece) :]

    def drop(self) -> None:
        """Nothing more of it will be read, and its body is not wanted."""
        self._parser = None
        self._chunks = []

    def body(self) -> bytes:
        """The body that has arrived; afterwards it is not held here any more."""
        chunks, self._chunks = self._chunks, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _take_chunks(self, data: bytes) -> bytes:
        piece = _up_to_end(self._tail, data)
        self._tail = piece[-3:] if len(piece) > 2 else (self._tail + piece)[-3:]
        # Chunk extensions and trailers have no limit in llhttp.
        self._barren += len(piece)
        if self._parser is None:
            return b""
        try:
            self._parser.feed_data(piece)
        except HttpParserError as error:
            raise BodyUnreadable(f"malformed chunked body: {error}") from None
        if self._barren > MAX_HEAD:
            raise BodyUnreadable("malformed chunked body: too much overhead")
        if self.complete:
            self._parser = None
        return data[len(piece) :]

    def _judge(self, parser: HttpRequestParser) -> None:
        """Set what the head says about the message's frame.

        llhttp has checked the syntax, and that there is at most one of
        `Content-Length` and `Transfer-Encoding`.
        """
        self.method = parser.get_method().decode("latin-1")
        version = parser.get_http_version()
        self.http11 = version == "1.1"
        if not self.http11 and version != "1.0":
            raise InvalidRequest(f"HTTP version {version} is not supported")
        hosts = 0
        for name, value in self._framing:
            if name == "host":
                hosts += 1
            elif name == "content-length":
                self.length = self._left = int(value)
            elif name == "x-forwarded-for":
                self.forwarded += (value,)
            elif name == "expect":
                self._expect(value)
            else:
                self._code(value)
        if hosts > 1 or (self.http11 and not hosts) or b"#" in self._url:
            raise malformed("no valid host and target")
        target = self._url.decode("latin-1")
        if not target.startswith("/"):
            target = _origin_form(target)
        self.path, _, self.query = target.partition("?")
        self.complete = not self._left
        # What llhttp still finds are trailers, which nobody reads.
        self._framing, self._tail = [], b""

    def _expect(self, value: str) -> None:
        if value.lower() != "100-continue":
            raise InvalidRequest("unknown expectation", status=417)
        self.expects = self.http11

    def _code(self, value: str) -> None:
        if not self.http11 or value.lower() != "chunked":
            raise malformed("unknown transfer coding")
        self.length, self._left = None, _CHUNKED

    # llhttp's side -----------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        if self.headed:
            return
        key = name.decode("latin-1").lower()
        field = (key, value.decode("latin-1").rstrip(" \t"))
        self.fields.append(field)
        if key in _FRAMING:
            self._framing.append(field)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self.headed = True
        if self._parser is not None:
            self.stays = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._chunks.append(data)
        self.size += len(data)
        self._barren = 0

    def on_message_complete(self) -> None:
        """A chunked body has ended (or there is none)."""
        self.complete = True


def _up_to_end(tail: bytes, data: bytes) -> bytes:
    """`data` up to and with its first empty line, or all of it.

    Args:
        tail: The last three bytes before `data`: the line may have begun there.
    """
    if tail:
        found = (tail + data).find(_END)
        end = found + 4 - len(tail)
    else:
        found = data.find(_END)
        end = found + 4
    return data if found < 0 or end == len(data) else data[:end]


def _origin_form(target: str) -> str:
    """Path and query of a request target; scheme and host of the absolute form go."""
    _, _, after = target.partition("://")
    return f"/{after.partition('/')[2]}" if after else target


def malformed(flaw: str) -> InvalidRequest:
    """The refusal of a request that cannot be read safely."""
    return InvalidRequest(f"malformed request: {flaw}")
