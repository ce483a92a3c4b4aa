"""Answers that are made and sent in slices."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from cmmd.web.http.streaming_body import LONGEST_S, SLICE_S, CooperativeScheduler, SlicedBody
from tests.transports import MemoryTransport


class Turns(Clock):
    """A clock that comes round as a reactor does: what a call has called later waits for the next turn."""

    def turn(self) -> None:
        for call in [one for one in self.calls if one.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class SlicedTests(SynchronousTestCase):
    """Over a connection in memory; the reactor comes round when a test says so."""

    def setUp(self) -> None:
        self.clock = Turns()
        self.time = 0.0
        self.ended = 0
        self.made = 0

    def pieces(self, count: int, takes_s: float = 0.0) -> Iterator[str]:
        for number in range(count):
            self.time += takes_s
            self.made += 1
            yield f"{number} "

    def ask(self, pieces: Iterator[str], *, compress: bool = False) -> None:
        """Ask for an answer that is made of these."""
        tests = self

        def ended() -> None:
            tests.ended += 1

        class Sliced(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> int:
                SlicedBody(
                    request,
                    pieces,
                    compress=compress,
                    monotonic=lambda: tests.time,
                    clock=tests.clock,
                    ended=ended,
                ).start()
                return NOT_DONE_YET

        self.transport = MemoryTransport()
        self.channel = cast("Any", Site(Sliced(), reactor=self.clock).buildProtocol(cast("Any", None)))
        self.transport.protocol = self.channel
        self.channel.makeConnection(cast("Any", self.transport))
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    @property
    def client(self) -> IPushProducer:
        """What the transport tells how fast the client is."""
        return cast("IPushProducer", self.transport.producer)

    def body(self) -> bytes:
        _, _, chunks = self.transport.value().partition(b"\r\n\r\n")
        body = b""
        while chunks:
            size, _, rest = chunks.partition(b"\r\n")
            body += rest[: int(size, 16)]
            chunks = rest[int(size, 16) + 2 :]
        return body

    def test_in_one_slice(self) -> None:
        self.ask(self.pieces(3))
        self.assertEqual(self.made, 0, "others have their turn first")
        self.clock.turn()
        self.assertEqual(self.body(), b"0 1 2 ")
        self.assertTrue(self.transport.value().endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.ended, 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1, "the connection waits for another request")

    def test_a_slice_a_turn(self) -> None:
        self.ask(self.pieces(9, SLICE_S / 2.5))
        for made in (3, 6, 9, 9):
            self.clock.turn()
            self.assertEqual(self.made, made)
        self.assertEqual(self.body(), b"0 1 2 3 4 5 6 7 8 ")
        self.assertEqual(self.ended, 1)

    def test_compressed(self) -> None:
        self.ask(self.pieces(500, SLICE_S / 100), compress=True)
        while not self.ended:
            self.clock.turn()
        self.assertEqual(zlib.decompress(self.body(), 31).split()[-1], b"499")

    def test_nothing_to_say_yet(self) -> None:
        self.ask(iter(["", "", "x"]))
        self.clock.turn()
        self.assertEqual(self.body(), b"x")

    def test_as_fast_as_the_client(self) -> None:
        self.ask(self.pieces(3, SLICE_S))
        self.clock.turn()
        self.client.pauseProducing()
        self.clock.turn()
        self.clock.turn()
        self.assertEqual(self.made, 1)
        self.client.resumeProducing()
        self.assertEqual(self.made, 1)
        while not self.ended:
            self.clock.turn()
        self.assertEqual(self.body(), b"0 1 2 ")

    def test_paused_while_it_writes(self) -> None:
        self.ask(self.pieces(3, SLICE_S))
        write = self.transport.writeSequence

        def write_and_pause(pieces: Iterable[bytes]) -> None:
            write(pieces)
            self.client.pauseProducing()

        self.patch(self.transport, "writeSequence", write_and_pause)
        self.clock.turn()
        self.clock.turn()
        self.assertEqual(self.made, 1)

    def test_the_client_goes_away(self) -> None:
        self.ask(self.pieces(9, SLICE_S))
        self.clock.turn()
        self.client.stopProducing()
        self.channel.connectionLost(Failure(ConnectionError()))
        self.clock.turn()
        self.assertEqual((self.made, self.ended), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_part_is_not_taken_for_the_whole(self) -> None:
        def broken() -> Iterator[str]:
            yield "x"
            raise ZeroDivisionError

        self.ask(broken())
        self.clock.turn()
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.ended, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_client_that_does_not_read(self) -> None:
        self.ask(self.pieces(9, SLICE_S))
        self.clock.turn()
        self.client.pauseProducing()
        self.clock.advance(LONGEST_S - 1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(1)
        self.assertEqual((self.transport.aborted, self.ended), (True, 1))


class SlowTurns(Clock):
    """A reactor of which each turn takes a second and runs what was due before it, and no more."""

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:  # noqa: A002
        return super().callLater(max(delay, 1.0), callable, *args, **kw)


class CooperativeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = SlowTurns()
        self.scheduler = CooperativeScheduler(self.clock)
        self.done: list[str] = []

    async def work(self, name: str, pieces: int, takes_s: float) -> None:
        for _ in range(pieces):
            await self.scheduler.turn()
            self.done.append(name)
            self.clock.rightNow += takes_s

    def begin(self, name: str, pieces: int, takes_s: float) -> None:
        Deferred.fromCoroutine(self.work(name, pieces, takes_s))

    def turn(self) -> list[str]:
        """One turn of the reactor; the pieces that were done in it."""
        self.done.clear()
        self.clock.advance(1.0)
        return list(self.done)

    def test_nothing_is_done_at_once(self) -> None:
        self.begin("a", 1, 0.0)
        self.assertEqual(self.done, [])
        self.assertEqual(self.turn(), ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_all_of_them_share_a_slice(self) -> None:
        for name in "abc":
            self.begin(name, 100, SLICE_S)
        turns = [self.turn() for _ in range(150)]
        self.assertLessEqual(max(map(len, turns)), 2)
        for name in "abc":
            self.assertGreater(sum(turn.count(name) for turn in turns), 60)

    def test_short_pieces_of_one_turn(self) -> None:
        self.begin("a", 1000, SLICE_S / 10)
        self.assertLessEqual(len(self.turn()), 12)
