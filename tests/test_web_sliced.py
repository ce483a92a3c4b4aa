"""Answers that are made and sent in slices."""

import zlib
from collections.abc import Iterator
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from cmmd.web.sliced import LONGEST_S, SLICE_S, SlicedBody


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class SlicedTests(SynchronousTestCase):
    """A pull producer, driven by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.time = 0.0
        self.ended = 0
        self.made = 0
        self.bodies: list[SlicedBody] = []

    def pieces(self, count: int, takes_s: float = 0.0) -> Iterator[str]:
        for number in range(count):
            self.time += takes_s
            self.made += 1
            yield f"{number} "

    def answer(
        self, pieces: Iterator[str], *, compress: bool = False, request: bytes = b"GET / HTTP/1.1\r\n\r\n"
    ) -> Any:
        """Have an answer made, its first slice not yet."""
        tests = self

        def ended() -> None:
            tests.ended += 1

        class Sliced(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> int:
                body = SlicedBody(
                    request,
                    pieces,
                    compress=compress,
                    monotonic=lambda: tests.time,
                    clock=tests.clock,
                    ended=ended,
                )
                tests.bodies.append(body)
                tests.patch(request, "registerProducer", lambda producer, streaming: None)
                tests.patch(request, "unregisterProducer", lambda: None)
                body.start()
                return NOT_DONE_YET

        self.transport = Transport()
        self.channel = cast("HTTPChannel", Site(Sliced(), reactor=self.clock).buildProtocol(cast("Any", None)))
        self.channel.makeConnection(cast("Any", self.transport))
        self.channel.dataReceived(request)
        return self.bodies[-1]

    def body(self) -> bytes:
        _, _, chunks = self.transport.value().partition(b"\r\n\r\n")
        body = b""
        while chunks:
            size, _, rest = chunks.partition(b"\r\n")
            body += rest[: int(size, 16)]
            chunks = rest[int(size, 16) + 2 :]
        return body

    def test_in_one_slice(self) -> None:
        self.answer(self.pieces(3)).resumeProducing()
        self.assertEqual(self.body(), b"0 1 2 ")
        self.assertTrue(self.transport.value().endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.ended, 1)
        self.bodies[0].resumeProducing()
        self.assertEqual(self.ended, 1)
        self.assertEqual(self.clock.getDelayedCalls()[1:], [], "but for the connection's own timeout")

    def test_a_slice_ends_when_its_time_is_over(self) -> None:
        body = self.answer(self.pieces(9, SLICE_S / 2.5))
        for made in (3, 6, 9, 9):
            body.resumeProducing()
            self.assertEqual(self.made, made)
        self.assertEqual(self.body(), b"0 1 2 3 4 5 6 7 8 ")
        self.assertEqual(self.ended, 1)

    def test_compressed(self) -> None:
        body = self.answer(self.pieces(500, SLICE_S / 100), compress=True)
        while not self.ended:
            body.resumeProducing()
        self.assertEqual(zlib.decompress(self.body(), 31).split()[-1], b"499")

    def test_nothing_to_say_yet(self) -> None:
        body = self.answer(iter(["", "", "x"]))
        body.resumeProducing()
        self.assertEqual(self.body(), b"x")

    def test_the_client_goes_away(self) -> None:
        body = self.answer(self.pieces(9, SLICE_S))
        body.resumeProducing()
        body.stopProducing()
        self.channel.connectionLost(Failure(ConnectionError()))
        body.resumeProducing()
        self.assertEqual((self.made, self.ended), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_part_is_not_taken_for_the_whole(self) -> None:
        def broken() -> Iterator[str]:
            yield "x"
            raise ZeroDivisionError

        body = self.answer(broken())
        body.resumeProducing()
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.ended, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_client_that_does_not_read(self) -> None:
        body = self.answer(self.pieces(9, SLICE_S))
        body.resumeProducing()
        self.clock.advance(LONGEST_S - 1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(1)
        self.assertEqual((self.transport.aborted, self.ended), (True, 1))
