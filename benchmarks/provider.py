"""A model provider that answers at once, or event by event at a given pace.

One process, one epoll loop over plain sockets: a call costs it a few microseconds, so
that it is not what is measured. It knows one answer. A prompt that holds
`bench/EVENTS/MICROSECONDS/` and `"stream":true` is answered with that many events that
far apart; each carries the moment it was sent (`@` and nanoseconds of the monotonic
clock, which all processes of a machine share), so that the reader knows how late it is.

    python -m benchmarks.provider PORT [TLS_PORT CERT KEY]
"""

from __future__ import annotations

import heapq
import re
import resource
import select
import socket
import ssl
import sys
import time
from collections import deque

ANSWER_BODY = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,'
    b'"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"The quick brown fox jumps over the lazy dog, as it always does.",'
    b'"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{'
    b'"prompt_tokens":21,"completion_tokens":16,"total_tokens":37,'
    b'"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{'
    b'"reasoning_tokens":0}},"service_tier":"default","system_fingerprint":"fp_b"}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(ANSWER_BODY), ANSWER_BODY)
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
EVENT = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":'
    b'1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":'
    b'"@%d"},"logprobs":null,"finish_reason":null}]}\n\n'
)
STREAM_END = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":'
    b'1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"delta":{},'
    b'"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":'
    b'1700000000,"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":21,'
    b'"completion_tokens":50,"total_tokens":71}}\n\ndata: [DONE]\n\n'
)

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ORDER = re.compile(rb"bench/(\d+)/(\d+)/")
NEAR_START = 2048
"""The order stands in this much of a body; long prompts are not searched."""

READ = 1 << 18
PENDING = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection:
    """One client: bytes in, whole requests out, answers written."""

    __slots__ = ("due", "gap", "left", "out", "parts", "sock", "wanted")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.parts: list[bytes] = []
        self.wanted = 0
        self.out = b""
        self.left = 0
        self.gap = 0
        self.due = 0

    def send(self, data: bytes) -> bool:
        """Write as much as the kernel takes; False when some is left in `out`."""
        if self.out:
            self.out += data
            return False
        try:
            sent = self.sock.send(data)
        except PENDING:
            sent = 0
        self.out = data[sent:]
        return not self.out


class Provider:
    """The loop that serves every connection."""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self.listeners: dict[int, tuple[socket.socket, ssl.SSLContext | None]] = {}
        self.open: dict[int, Connection] = {}
        self.paced: list[tuple[int, int]] = []
        self.unpaced: deque[Connection] = deque()

    def listen(self, port: int, context: ssl.SSLContext | None = None) -> None:
        """Accept connections on a loopback port."""
        sock = socket.create_server(("127.0.0.1", port), backlog=2048)
        sock.setblocking(False)
        self.listeners[sock.fileno()] = (sock, context)
        self.poll.register(sock.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Serve until the process is ended."""
        while True:
            for number, mask in self.poll.poll(self._pause()):
                if number in self.listeners:
                    self._accept(*self.listeners[number])
                elif number in self.open:
                    self._serve(self.open[number], mask)
            self._send_due()
            self._send_unpaced()

    def _pause(self) -> float:
        if self.unpaced:
            return 0
        if not self.paced:
            return -1
        return max(0, self.paced[0][0] - time.monotonic_ns()) / 1e9

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock.settimeout(5)
            try:
                sock = context.wrap_socket(sock, server_side=True)
            except OSError:
                sock.close()
                return
        sock.setblocking(False)
        self.open[sock.fileno()] = Connection(sock)
        self.poll.register(sock.fileno(), select.EPOLLIN)

    def _serve(self, connection: Connection, mask: int) -> None:
        try:
            if mask & select.EPOLLOUT:
                self._flush(connection)
            if mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(connection)
        except OSError:
            self._close(connection)

    def _read(self, connection: Connection) -> None:
        while True:
            try:
                data = connection.sock.recv(READ)
            except PENDING:
                return
            if not data:
                self._close(connection)
                return
            self._arrived(connection, data)
            if not isinstance(connection.sock, ssl.SSLSocket):
                return
            if not connection.sock.pending():
                return

    def _arrived(self, connection: Connection, data: bytes) -> None:
        if connection.wanted:
            connection.parts.append(data)
            connection.wanted -= len(data)
            if connection.wanted <= 0:
                whole = b"".join(connection.parts)
                self._answer(connection, whole[: len(whole) + connection.wanted])
            return
        if connection.parts:
            data = b"".join(connection.parts) + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            connection.parts = [data]
            return
        found = LENGTH.search(data, 0, end)
        missing = end + 4 + (int(found[1]) if found else 0) - len(data)
        if missing > 0:
            connection.parts, connection.wanted = [data], missing
        else:
            self._answer(connection, data)

    def _answer(self, connection: Connection, request: bytes) -> None:
        connection.parts, connection.wanted = [], 0
        order = ORDER.search(request, 0, NEAR_START)
        if order is None:
            self._write(connection, ANSWER)
            return
        connection.left, connection.gap = int(order[1]), int(order[2]) * 1000
        connection.due = time.monotonic_ns()
        self._write(connection, STREAM_HEAD)
        if connection.gap:
            self._later(connection)
        else:
            self.unpaced.append(connection)

    def _write(self, connection: Connection, data: bytes) -> bool:
        if connection.send(data):
            return True
        self._watch(connection, select.EPOLLIN | select.EPOLLOUT)
        return False

    def _flush(self, connection: Connection) -> None:
        data, connection.out = connection.out, b""
        if data and not connection.send(data):
            return
        self._watch(connection, select.EPOLLIN)
        if connection.left and not connection.gap:
            self.unpaced.append(connection)

    def _watch(self, connection: Connection, mask: int) -> None:
        self.poll.modify(connection.sock.fileno(), mask)

    def _later(self, connection: Connection) -> None:
        connection.due += connection.gap
        heapq.heappush(self.paced, (connection.due, connection.sock.fileno()))

    def _send_due(self) -> None:
        now = time.monotonic_ns()
        while self.paced and self.paced[0][0] <= now:
            due, number = heapq.heappop(self.paced)
            connection = self.open.get(number)
            if connection is not None and connection.due == due:
                self._event(connection)
                if connection.left:
                    self._later(connection)

    def _send_unpaced(self) -> None:
        for _ in range(len(self.unpaced)):
            connection = self.unpaced.popleft()
            if connection.sock.fileno() < 0:
                continue
            if self._event(connection) and connection.left:
                self.unpaced.append(connection)

    def _event(self, connection: Connection) -> bool:
        """Send the next event, the last one with the end; False when blocked."""
        connection.left -= 1
        data = chunk(EVENT % time.monotonic_ns())
        if not connection.left:
            data += chunk(STREAM_END) + b"0\r\n\r\n"
        try:
            return self._write(connection, data)
        except OSError:
            self._close(connection)
            return False

    def _close(self, connection: Connection) -> None:
        number = connection.sock.fileno()
        if self.open.pop(number, None) is not None:
            self.poll.unregister(number)
        connection.left = 0
        connection.sock.close()


def main(words: list[str]) -> None:
    """Serve on the ports that the command line names."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    provider = Provider()
    provider.listen(int(words[0]))
    if len(words) > 1:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(words[2], words[3])
        provider.listen(int(words[1]), context)
    print("ready", flush=True)
    provider.run()


if __name__ == "__main__":
    main(sys.argv[1:])
