"""The growing delay after wrong passwords."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices import password_check
from cmmd.fleet.devices.password_check import LONGEST_DELAY_S, Throttle, Throttled


class ThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.throttle = Throttle(self.clock)

    def attempt(self, hostid: str = "A", address: str = "192.0.2.1") -> Deferred[None]:
        return Deferred.fromCoroutine(self.throttle.admit(hostid, address))

    def test_first_attempts_are_free(self) -> None:
        self.successResultOf(self.attempt())

    def test_delay_grows_up_to_a_bound(self) -> None:
        waited = []
        for _ in range(8):
            self.throttle.failed("A", "192.0.2.1")
            attempt = self.attempt()
            before = self.clock.seconds()
            while not attempt.called:
                self.clock.advance(0.5)
            waited.append(self.clock.seconds() - before)
        self.assertEqual(waited, [1, 2, 4, 8, 16, LONGEST_DELAY_S, LONGEST_DELAY_S, LONGEST_DELAY_S])

    def test_time_that_has_passed_counts(self) -> None:
        self.throttle.failed("A", "192.0.2.1")
        self.clock.advance(1)
        self.successResultOf(self.attempt())

    def test_others_are_not_held_up(self) -> None:
        self.throttle.failed("A", "192.0.2.1")
        self.successResultOf(self.attempt("B", "192.0.2.1"))
        self.successResultOf(self.attempt("A", "192.0.2.2"))

    def test_one_attempt_is_held_and_no_more(self) -> None:
        self.throttle.failed("A", "192.0.2.1")
        held = self.attempt()
        self.failureResultOf(self.attempt(), Throttled)
        self.clock.advance(1)
        self.successResultOf(held)
        self.successResultOf(self.attempt())

    def test_held_attempts_are_bounded(self) -> None:
        self.patch(password_check, "MOST_HELD", 2)
        for hostid in "ABC":
            self.throttle.failed(hostid, "192.0.2.1")
        held = [self.attempt("A"), self.attempt("B")]
        self.failureResultOf(self.attempt("C"), Throttled)
        self.clock.advance(1)
        for one in held:
            self.successResultOf(one)

    def test_forgotten_after_a_while(self) -> None:
        for _ in range(5):
            self.throttle.failed("A", "192.0.2.1")
        self.clock.advance(password_check.FORGET_AFTER_S + 1)
        self.throttle.failed("A", "192.0.2.1")
        attempt = self.attempt()
        self.clock.advance(1)
        self.successResultOf(attempt)

    def test_memory_is_bounded(self) -> None:
        self.patch(password_check, "MOST_REMEMBERED", 100)
        for number in range(1000):
            self.throttle.failed(f"{number}", "192.0.2.1")
        self.assertEqual(len(self.throttle._failures), 100)
        self.successResultOf(self.attempt("0"))
        self.assertNoResult(self.attempt("999"))
        self.clock.advance(1)
