"""Requests at a steady rate over kept-alive connections, and what each was answered."""

import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass

# The status of a request whose connection broke, or could not be made, before the answer was whole.
BROKEN = 0
PATIENCE_SECONDS = 30


class Unexpected(Exception):
    """Answers that have not come, or that no figure can be made of."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: which request it belongs to, whose it is, and times in seconds since the load began."""

    request: int
    port: int
    status: int
    sent: float
    ended: float


class Load:
    """Requests in turn, each on a free connection, at a rate that does not depend on the answers.

    `ports` has one entry for each connection; `requests` are whole requests as bytes. If no connection is free, requests
    are late, and their time counts from when they are sent.
    """

    def __init__(self, ports, requests, rate):
        self.ports, self.requests, self.rate = ports, requests, rate
        self.answers = []
        # It waits to the microsecond, where others round up to milliseconds.
        self._selector = selectors.SelectSelector()
        # Those that wait longest come first: all ports get as many requests, as long as none of them is slow.
        self._free = deque(_Connection(port) for port in ports)
        self._began = 0.0

    def run(self, seconds, on_answer=None):
        """Sends for so long, or until `on_answer` says that it is enough; returns all answers."""
        self._began = time.perf_counter()
        total, sent, under_way = int(self.rate * seconds), 0, 0
        while sent < total or under_way:
            now = self._now()
            if now > seconds + PATIENCE_SECONDS:
                raise Unexpected(f"{under_way} of {sent} answers have not come {PATIENCE_SECONDS} s after the end of the load")
            while sent < total and self._free and now >= sent / self.rate:
                under_way += self._send(sent % len(self.requests))
                sent += 1
                now = self._now()
            # It sleeps until then: what is measured may have the same core.
            pause = max(0.0, sent / self.rate - now) if sent < total and self._free else 1.0
            for key, _ in self._selector.select(pause):
                answer = self._receive(key.data)
                if answer is None:
                    continue
                under_way -= 1
                self.answers.append(answer)
                if on_answer and on_answer(answer):
                    total = sent
        for connection in self._free:
            self._disconnect(connection)
        self._selector.close()
        return self.answers

    def _now(self):
        return time.perf_counter() - self._began

    def _send(self, request):
        """Returns how many requests are under way after it more than before: one, unless nobody takes it."""
        connection = self._free.popleft()
        connection.request, connection.sent = request, self._now()
        try:
            if connection.socket is None:
                connection.connect()
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.socket.send(self.requests[request])
        except OSError:
            self._disconnect(connection)
            self.answers.append(Answer(request, connection.port, BROKEN, connection.sent, self._now()))
            self._free.append(connection)
            return 0
        connection.is_busy = True
        return 1

    def _receive(self, connection):
        """Returns the answer if it has ended."""
        status = connection.read()
        if status is None:
            return None
        if status == BROKEN:
            self._disconnect(connection)
        # A connection that nobody uses has been closed by the other side.
        if not connection.is_busy:
            return None
        connection.is_busy = False
        self._free.append(connection)
        return Answer(connection.request, connection.port, status, connection.sent, self._now())

    def _disconnect(self, connection):
        if connection.socket is not None and connection.socket.fileno() in self._selector.get_map():
            self._selector.unregister(connection.socket)
        connection.close()


class _Connection:
    def __init__(self, port):
        self.port = port
        self.socket = None
        self.is_busy = False
        self.request, self.sent = 0, 0.0
        self._read = b""

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self):
        """Returns the status of a whole answer, None if more of it is to come."""
        try:
            piece = self.socket.recv(1 << 16)
        except OSError:
            return BROKEN
        if not piece:
            return BROKEN
        self._read += piece
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not end:
            return None
        fields = head.lower()
        _, found, length = fields.partition(b"\r\ncontent-length:")
        if found:
            is_whole = len(body) >= int(length.partition(b"\r\n")[0])
        else:
            is_whole = body.endswith(b"0\r\n\r\n")
        if not is_whole:
            return None
        self._read = b""
        return int(head[9:12])

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket, self._read = None, b""


def request(path, user="bench"):
    """A whole request as bytes."""
    return f"GET {path} HTTP/1.1\r\nhost: bench.example\r\nx-user: {user}\r\n\r\n".encode()


def quantile(values, share):
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)]
