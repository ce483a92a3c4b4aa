"""The budget of starts: so many in a turn of the reactor, nobody forgotten, in order."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.commands.queue import FIRST, LAST, STARTS_A_TURN, SendRateLimit, Uids
from cmmd.fleet.errors import QueueFull


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


SEEDS = st.integers(0, 2**32)


class UidsTests(SynchronousTestCase):
    @given(SEEDS, st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=200))
    def test_no_two_in_flight_are_the_same(self, seed: int, steps: list[int | None]) -> None:
        """None takes one, a number gives one back."""
        uids = Uids(Random(seed))
        in_flight: list[str] = []
        for step in steps:
            if step is None:
                uid = uids.take()
                self.assertRegex(uid, r"\A[0-9]{6}\Z")
                self.assertNotIn(uid, in_flight)
                in_flight.append(uid)
            elif step < len(in_flight):
                uids.give_back(in_flight.pop(step))

    @given(SEEDS)
    def test_one_that_was_given_back_comes_again_late(self, seed: int) -> None:
        uids = Uids(Random(seed))
        first = uids.take()
        uids.give_back(first)
        self.assertNotIn(first, [uids.take() for _ in range(1000)])

    def test_every_one_once_around_the_end(self) -> None:
        uids = Uids(Random(1))
        taken = {uids.take() for _ in range(LAST - FIRST + 1)}
        self.assertEqual((min(taken), max(taken), len(taken)), (str(FIRST), str(LAST), LAST - FIRST + 1))
        self.assertRaises(QueueFull, uids.take)
        for uid in ("123456", "999999"):
            uids.give_back(uid)
        self.assertEqual({uids.take(), uids.take()}, {"123456", "999999"})
        self.assertRaises(QueueFull, uids.take)

    def test_two_daemons_begin_elsewhere(self) -> None:
        self.assertNotEqual(Uids(Random(1)).take(), Uids(Random(2)).take())

    def test_giving_back_what_is_not_in_flight(self) -> None:
        uids = Uids(Random(1))
        first = uids.take()
        uids.give_back("000000")
        uids.give_back(first)
        uids.give_back(first)
        self.assertNotEqual(uids.take(), first)
