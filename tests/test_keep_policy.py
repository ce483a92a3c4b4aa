"""``cmmd.keep_policy``: one rule for what is kept."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.keep_policy import Due, KeepPolicy

POLICY = KeepPolicy(60.0, 1.0)


class KeepPolicyTests(SynchronousTestCase):
    def test_the_first(self) -> None:
        for changed in (False, True):
            self.assertIs(POLICY.due(5, None, changed=changed), Due.FIRST)

    def test_the_interval(self) -> None:
        for since, due in ((0, Due.NOT_DUE), (60, Due.NOT_DUE), (60.001, Due.INTERVAL), (-0.001, Due.INTERVAL)):
            self.assertIs(POLICY.due(100 + since, 100, changed=False), due)
        self.assertIs(POLICY.due(110, 100, changed=False, interval=5), Due.INTERVAL)

    def test_changes(self) -> None:
        for since, due in (
            (0, Due.TOO_SOON),
            (0.999, Due.TOO_SOON),
            (1, Due.CHANGE),
            (500, Due.CHANGE),
            (-1, Due.CHANGE),
        ):
            self.assertIs(POLICY.due(100 + since, 100, changed=True), due)
            self.assertIs(POLICY.too_soon(100 + since, 100), due is Due.TOO_SOON)
        self.assertFalse(POLICY.too_soon(100, None))

    @given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=200))
    def test_what_flaps_does_not_fill_a_disk_and_no_change_is_lost(self, uploads: list[tuple[float, bool]]) -> None:
        """Kept are at most one a second, each change soon, and never an interval without one."""
        now, kept, owed = 0.0, list[float](), False
        for step, changed in uploads:
            now += step
            owed = owed or changed
            if POLICY.due(now, kept[-1] if kept else None, changed=owed) not in (Due.NOT_DUE, Due.TOO_SOON):
                self.assertTrue(not kept or now - kept[-1] >= POLICY.change_gap)
                kept.append(now)
                owed = False
            self.assertLessEqual(now - kept[-1], POLICY.change_gap if owed else POLICY.interval)
