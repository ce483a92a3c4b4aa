"""One at a time for each device."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.keyed_lock import KeyedLock
from cmmd.fleet.errors import TooManyWaiting


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns = KeyedLock(2)
        self.running: list[str] = []

    def begin(self, hostid: str, name: str) -> tuple[Deferred[None], Deferred[None]]:
        """Work that ends when the second Deferred is fired."""
        finish: Deferred[None] = Deferred()

        async def work() -> None:
            async with self.turns.take(hostid):
                self.running.append(name)
                await finish
                self.running.remove(name)

        return Deferred.fromCoroutine(work()), finish

    def test_one_at_a_time_in_order_and_nothing_left(self) -> None:
        works = [self.begin("A", name) for name in ("first", "second", "third")]
        self.begin("B", "other")[1].callback(None)
        self.assertNotIn("B", self.turns)
        for name, (done, finish) in zip(("first", "second", "third"), works, strict=True):
            self.assertEqual(self.running, [name])
            self.assertIn("A", self.turns)
            finish.callback(None)
            self.successResultOf(done)
        self.assertNotIn("A", self.turns)

    def test_those_that_end_at_once(self) -> None:
        works = [self.begin("A", f"{number}") for number in range(3)]
        for _, finish in reversed(works):
            finish.callback(None)
        for done, _ in works:
            self.successResultOf(done)
        self.assertNotIn("A", self.turns)

    def test_too_many_waiting(self) -> None:
        works = [self.begin("A", f"{number}") for number in range(3)]
        self.failureResultOf(self.begin("A", "one more")[0], TooManyWaiting)
        for done, finish in works:
            finish.callback(None)
            self.successResultOf(done)
