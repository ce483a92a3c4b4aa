"""The budget of starts: so many in a turn of the reactor, nobody forgotten, in order."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.commands.queue import STARTS_A_TURN, SendRateLimit


class StartsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.started: list[str] = []
        self.gone: set[str] = set()
        self.starts = SendRateLimit(self.clock, self.ask)

    def ask(self, hostid: str) -> None:
        if hostid not in self.gone and self.starts.take(hostid):
            self.started.append(hostid)

    def test_so_many_a_turn_in_order(self) -> None:
        hostids = [str(number) for number in range(2 * STARTS_A_TURN + 1)]
        for hostid in hostids:
            self.ask(hostid)
        self.assertEqual(self.started, hostids[:STARTS_A_TURN])
        self.clock.advance(0)  # as many turns as it takes
        self.assertEqual(self.started, hostids)

    def test_a_new_turn_has_the_whole_budget(self) -> None:
        self.ask("early")
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([self.starts.take("late") for _ in range(STARTS_A_TURN + 1)], [True] * STARTS_A_TURN + [False])

    def test_those_that_want_nothing_any_more_hold_nobody_up(self) -> None:
        hostids = [str(number) for number in range(3 * STARTS_A_TURN)]
        for hostid in hostids:
            self.ask(hostid)
        self.gone = set(hostids[STARTS_A_TURN : 2 * STARTS_A_TURN])
        self.clock.advance(0)
        self.assertEqual(self.started, hostids[:STARTS_A_TURN] + hostids[2 * STARTS_A_TURN :])

    def test_the_end(self) -> None:
        for number in range(STARTS_A_TURN + 1):
            self.ask(str(number))
        self.starts.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.starts.stop()
