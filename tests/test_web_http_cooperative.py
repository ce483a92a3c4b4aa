"""``cmmd.web.http.cooperative``: long work takes turns."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.web.http.cooperative import SLICE_S, CooperativeScheduler


class Turns(Clock):
    """A reactor of which each turn takes a second and runs what was due before it, and no more."""

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:  # noqa: A002
        return super().callLater(max(delay, 1.0), callable, *args, **kw)


class CooperativeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Turns()
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
