"""``cmmd.backoff``: pauses between attempts."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from cmmd.backoff import Backoff
from tests.support import Longest


class BackoffTests(SynchronousTestCase):
    def test_steps_double_up_to_the_longest(self) -> None:
        backoff = Backoff(1.0, 5.0, Longest())
        self.assertEqual([backoff.next() for _ in range(5)], [1.0, 2.0, 4.0, 5.0, 5.0])
        backoff.reset()
        self.assertEqual(backoff.next(), 1.0)

    def test_each_wait_is_between_half_a_step_and_a_step(self) -> None:
        for seed in range(100):
            backoff = Backoff(1.0, 5.0, Random(seed))
            for step in (1.0, 2.0, 4.0, 5.0, 5.0):
                self.assertTrue(step / 2 <= backoff.next() <= step)

    def test_thousands_of_attempts(self) -> None:
        backoff = Backoff(1.0, 5.0, Longest())
        self.assertEqual([backoff.next() for _ in range(5000)][-1], 5.0)
