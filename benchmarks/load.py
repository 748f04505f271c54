"""A closed-loop client: every connection sends its next call when it has its answer.

One process, one epoll loop over plain sockets, keep-alive. The order is one JSON
argument, the outcome one JSON line:

    python -m benchmarks.load '{"port": 3000, "connections": 32, "seconds": 5, ...}'
"""

from __future__ import annotations

import json
import re
import resource
import select
import socket
import sys
import time
from array import array
from collections.abc import Sequence
from typing import Any

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
STAMP = re.compile(rb'"@(\d+)"')
CHUNKED_END = b"\r\n0\r\n\r\n"
READ = 1 << 18


class Connection:
    """One kept-alive connection and the call that is under way on it."""

    __slots__ = ("got", "out", "sent", "sock", "status", "tail", "wanted")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sent = 0
        self.out = memoryview(b"")
        self.got = b""
        self.wanted = -1
        self.status = b""
        self.tail = b""


class Load:
    """The loop; see `run` for what it measures."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.address = (order.get("host", "127.0.0.1"), int(order["port"]))
        self.request = request_bytes(order)
        self.stream = bool(order.get("stream"))
        self.seconds = float(order["seconds"])
        self.starts = start_times(int(order["connections"]), order.get("spread", 0.0))
        self.poll = select.epoll()
        self.open: dict[int, Connection] = {}
        self.took = array("q")
        self.late = array("q")
        self.events = 0
        self.failures = 0
        self.reason = ""

    def run(self) -> dict[str, Any]:
        """Call for `seconds`; answers that come after the end are not counted."""
        began = time.monotonic_ns()
        end = began + int(self.seconds * 1e9)
        while (now := time.monotonic_ns()) < end:
            while self.starts and began + self.starts[-1] <= now:
                self.starts.pop()
                self._connect()
            if not self.open and not self.starts:
                break
            wake = min(end, began + self.starts[-1]) if self.starts else end
            for number, mask in self.poll.poll(max(0, wake - now) / 1e9):
                self._serve(self.open[number], mask)
        seconds = (time.monotonic_ns() - began) / 1e9
        return {
            "seconds": seconds,
            "calls": len(self.took),
            "per_second": len(self.took) / seconds,
            "failures": self.failures,
            "reason": self.reason,
            "events": self.events,
            "events_per_second": self.events / seconds,
            "call_ms": percentiles(self.took),
            "late_ms": percentiles(self.late),
        }

    def _connect(self) -> None:
        try:
            sock = socket.create_connection(self.address, timeout=5)
        except OSError as error:
            self._failed(str(error))
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = Connection(sock)
        self.open[sock.fileno()] = connection
        self.poll.register(sock.fileno(), select.EPOLLIN)
        self._call(connection)

    def _call(self, connection: Connection) -> None:
        connection.sent = time.monotonic_ns()
        connection.got, connection.wanted, connection.tail = b"", -1, b""
        self._send(connection, memoryview(self.request))

    def _send(self, connection: Connection, data: memoryview) -> None:
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        waiting = bool(connection.out)
        connection.out = data[sent:]
        if bool(connection.out) != waiting:
            more = select.EPOLLOUT if connection.out else 0
            self.poll.modify(connection.sock.fileno(), select.EPOLLIN | more)

    def _serve(self, connection: Connection, mask: int) -> None:
        try:
            if mask & select.EPOLLOUT:
                self._send(connection, connection.out)
            if mask & ~select.EPOLLOUT:
                data = connection.sock.recv(READ)
                if not data:
                    raise ConnectionResetError("closed by the other side")
                self._arrived(connection, data)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(str(error))
            self._again(connection)

    def _arrived(self, connection: Connection, data: bytes) -> None:
        if self.stream and connection.wanted != -1:
            self._streamed(connection, data)
            return
        if connection.got:
            data = connection.got + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            connection.got = data
            return
        if not data.startswith(b"HTTP/1.1 200"):
            self._failed(data[:300].decode("latin-1"))
            self._again(connection)
            return
        if self.stream:
            connection.got, connection.wanted = b"", 0
            self._streamed(connection, data[end + 2 :])
            return
        found = LENGTH.search(data, 0, end)
        if found:
            complete = len(data) >= end + 4 + int(found[1])
        else:
            complete = data.endswith(CHUNKED_END)
        if complete:
            self._answered(connection)
        else:
            connection.got = data

    def _streamed(self, connection: Connection, data: bytes) -> None:
        now = time.monotonic_ns()
        data = connection.tail + data
        end = 0
        for found in STAMP.finditer(data):
            self.late.append(now - int(found[1]))
            end = found.end()
            self.events += 1
        if data.endswith(CHUNKED_END):
            self._answered(connection)
        else:
            # Behind the last stamp may stand half of the next, or half of the end.
            connection.tail = data[end:][-512:]

    def _answered(self, connection: Connection) -> None:
        self.took.append(time.monotonic_ns() - connection.sent)
        self._call(connection)

    def _failed(self, reason: str) -> None:
        self.failures += 1
        self.reason = self.reason or reason

    def _again(self, connection: Connection) -> None:
        self.poll.unregister(connection.sock.fileno())
        del self.open[connection.sock.fileno()]
        connection.sock.close()
        if self.failures < 100:
            self._connect()


def request_bytes(order: dict[str, Any]) -> bytes:
    """The one request that every call sends."""
    body: bytes = order["body"].encode()
    head = [
        f"POST {order.get('path', '/v1/chat/completions')} HTTP/1.1",
        f"Host: 127.0.0.1:{order['port']}",
        f"Authorization: Bearer {order.get('key', 'none')}",
        "Content-Type: application/json",
        "Accept: application/json",
        "User-Agent: knight-benchmark",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def start_times(connections: int, spread: float) -> list[int]:
    """When each connection begins, in nanoseconds, the first one last.

    Streams that all began at once would tick together and meet each other's events.
    """
    return [int(spread * 1e9 * n / connections) for n in reversed(range(connections))]


def percentiles(nanoseconds: Sequence[int]) -> dict[str, float]:
    """p50, p90, p99 and the largest, in milliseconds; empty without values."""
    if not nanoseconds:
        return {}
    ordered = sorted(nanoseconds)
    last = len(ordered) - 1
    marks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: ordered[round(last * at)] / 1e6 for name, at in marks.items()}


def main(words: list[str]) -> None:
    """Carry out the order and print the outcome."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(Load(json.loads(words[0])).run()))


if __name__ == "__main__":
    main(sys.argv[1:])
