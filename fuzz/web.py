"""HTTP from strangers and from an administrator: whatever comes, no bug is logged and no status is 500.

A record is what is sent at once; ``$ADMIN`` and ``$VIEWER`` in it are tokens. Those that begin with a control byte:

- 01: time passes, by the byte behind it; 02: the client goes; 04: another client comes; 06: it reads no more, or again
"""

import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time

from cmmd.web.http.connections import BYTES_A_RECEIVE
from fuzz.harness import MOST_TURNS, RECORD, Escape, Peer, Steps, Target, WatchedLog, records, time_passes, turn
from fuzz.session import cheap_passwords
from fuzz.words import HOSTID
from tests.web_world import Client, WebWorld

__all__ = ["TARGET"]

MOST_VISITORS = 8
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")

_BODIES = (
    b"[" * 65_000,
    b'{"token":"' + b"\\u0041" * 10_000 + b'"}',
    b"{%s}" % b",".join(b'"k%d":%d' % (number, number) for number in range(3000)),
    b'{"hostid":"a","x":[' + b"1e9," * 16_000 + b"]",
)
_HEAD = b"%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer $ADMIN\r\n"
_JSON = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
LARGE_REQUESTS = (
    *(_HEAD % b"POST /api/v1/devices" + _JSON % len(body) + body for body in _BODIES),
    _HEAD % b"GET /metrics" + b"".join(b"X-%d: %s\r\n" % (number, b"v" * 120) for number in range(90)) + b"\r\n",
    _HEAD % (b"GET /api/v1/devices?" + b"&".join(b"p%d=%%41" % number for number in range(100))) + b"\r\n",
    _HEAD % b"POST /api/v1/session" + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1100,
)


class WebTarget(Target):
    """Takes a script of some connections of clients."""

    INPUTS = 100
    LONGEST = 96 * 1024
    LARGE = LARGE_REQUESTS
    WORDS = (
        *(RECORD, RECORD + b"\x01", RECORD + b"\x02", RECORD + b"\x04", RECORD + b"\x06", b"\r\n", b"\r\n\r\n"),
        *(b"GET ", b"POST ", b"PATCH ", b"PUT ", b"DELETE ", b"HEAD ", b"OPTIONS ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n"),
        *(
            b"/api/v1/",
            b"/metrics",
            b"/healthz",
            b"/api/v1/devices/" + HOSTID,
            b"/api/v1/session",
            b"?limit=",
            b"%2e%2e",
        ),
        *(b"Host: a\r\n", b"Authorization: Bearer $ADMIN\r\n", b"Authorization: Bearer $VIEWER\r\n", b"Cookie: "),
        *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Content-Type: application/json\r\n"),
        *(b"Content-Type: multipart/form-data; boundary=x\r\n", b"Content-Type: application/x-www-form-urlencoded\r\n"),
        *(
            b"Expect: 100-continue\r\n",
            b"Accept: ",
            b"Accept-Encoding: gzip\r\n",
            b"If-None-Match: ",
            b"Range: bytes=0-1\r\n",
        ),
        *(
            b"Idempotency-Key: ",
            b"X-CSRF-Token: ",
            b"Origin: http://a\r\n",
            b"Last-Event-ID: 1\r\n",
            b"X-Forwarded-For: ",
        ),
        *(b"Connection: close\r\n", b"Upgrade: h2c\r\n", b"\r\n0\r\n\r\n", b"1\r\nx\r\n", b"ffffffff\r\n", b"\xff"),
    )

    def __init__(self, steps: Steps, log: WatchedLog) -> None:
        super().__init__(steps, log)
        cheap_passwords()
        self._folder = TemporaryDirectory()
        self.world = WebWorld(Path(self._folder.name))
        self.world.online()
        self._clock = clock = self.world.clock
        began = thread_time()
        # Long work is cut by the time that it takes, which a clock has to show that stands still otherwise.
        clock.seconds = lambda: clock.rightNow + thread_time() - began  # type: ignore[method-assign]
        self._tokens = {
            b"$" + role.upper().encode(): self.world.tokens.add(role, role).encode() for role in ("admin", "viewer")
        }

    def run(self, script: bytes) -> None:
        for placeholder, token in self._tokens.items():
            script = script.replace(placeholder, token)
        visitors = [_Visitor(self)]
        for record in records(script):
            visitor = visitors[-1]
            match record[0]:
                case 1:
                    time_passes(self._clock, record)
                case 2:
                    visitor.go()
                case 4 if len(visitors) < MOST_VISITORS:
                    visitors.append(_Visitor(self))
                case 6:
                    visitor.read_or_not()
                case _:
                    visitor.peer.say(record)
            self._settle(visitors)
            self.log.check()
        for visitor in visitors:
            self._check(visitor.client)
            visitor.go()
        if len(self.world.web.site):
            raise Escape(f"{len(self.world.web.site)} connections are left behind")

    def close(self) -> None:
        self._folder.cleanup()

    def _settle(self, visitors: "Iterable[_Visitor]") -> None:
        for _ in range(MOST_TURNS):
            received = [visitor.peer.turn() for visitor in visitors]
            if not (self.steps(turn, self._clock) or any(received)):
                return

    def _check(self, client: Client) -> None:
        status = _STATUS.match(client.received)
        if client.received and (status is None or status[1] == b"500"):
            raise Escape(f"answered with {client.received[:200]!r}")


class _Visitor:
    """One connection of a client, as a script has it."""

    def __init__(self, target: WebTarget) -> None:
        self._steps = target.steps
        self.client = target.steps(Client, target.world)
        self.peer = Peer(target.steps, self.client.transport, BYTES_A_RECEIVE)
        self._reads = True

    def read_or_not(self) -> None:
        """Read no more, or again."""
        if self.client.transport.producer is not None and not self.client.transport.lost:
            self._reads = not self._reads
            self._steps(self.client.resume if self._reads else self.client.pause)

    def go(self) -> None:
        """End the connection."""
        self._steps(self.client.transport.lose)


TARGET = WebTarget
