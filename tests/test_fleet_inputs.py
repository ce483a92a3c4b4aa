"""The device's own four inputs."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.signals import ALARMING
from cmmd.fleet.inputs import INPUTS, REMOTE_INHIBITED, merge, states
from cmmd.wire.messages import ChangeParams, ReqDataChange

KEYS = ("AccessAlarm", "FireAlarm", "AlarmInput", "InhbitRemote")


def change(**flags: int | None) -> ReqDataChange:
    return ReqDataChange(params=ChangeParams(), hostid="A", **flags)


class InputsTests(SynchronousTestCase):
    def test_nothing_is_known_at_first(self) -> None:
        self.assertEqual(merge(0, change()), 0)
        self.assertEqual(
            states(0), {"access_alarm": None, "fire_alarm": None, "alarm_input": None, "remote_inhibited": None}
        )

    def test_as_the_store_keeps_them(self) -> None:
        self.assertEqual(merge(0, change(AccessAlarm=0, FireAlarm=1)), 0b0011_0010)
        self.assertEqual(merge(0b0011_0010, change(FireAlarm=0, InhbitRemote=1)), 0b1011_1000)
        self.assertTrue(REMOTE_INHIBITED.state(0b1011_1000))

    @given(st.lists(st.lists(st.sampled_from((None, 0, 1)), min_size=4, max_size=4)))
    def test_each_is_what_was_said_last(self, messages: list[list[int | None]]) -> None:
        inputs, expected = 0, dict.fromkeys(KEYS)
        for flags in messages:
            said = dict(zip(KEYS, flags, strict=True))
            inputs = merge(inputs, change(**said))
            expected |= {key: flag for key, flag in said.items() if flag is not None}
            self.assertIn(inputs, range(256))
        self.assertEqual([one.state(inputs) for one in INPUTS], list(expected.values()))
        self.assertEqual([one.position for one in INPUTS], [0, 1, 2, 3])

    def test_severities(self) -> None:
        self.assertEqual(
            {one.name: one.severity for one in INPUTS if one.severity in ALARMING},
            {"access_alarm": "warning", "fire_alarm": "alarm", "alarm_input": "alarm"},
        )
        self.assertEqual(REMOTE_INHIBITED.severity, "inhibit")
