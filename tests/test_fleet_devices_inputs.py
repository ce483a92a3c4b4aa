"""The device's own four inputs: states, who reported them, and who can lower them."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.entries import ALARMING
from cmmd.fleet.devices.inputs import FRESH_S, INPUTS, REMOTE_INHIBITED, Origin, Reports, states
from cmmd.wire.messages import ChangeParams, ReqDataChange

KEYS = ("AccessAlarm", "FireAlarm", "AlarmInput", "InhbitRemote")
NAMES = tuple(one.name for one in INPUTS)
HOME = Origin("192.0.2.7", 1_000)
STRANGER = Origin("198.51.100.9", 2_000, trusted=False)


def change(**flags: int | None) -> ReqDataChange:
    return ReqDataChange(params=ChangeParams(), hostid="A", **flags)


class ReportsTests(SynchronousTestCase):
    def test_nothing_is_known_at_first(self) -> None:
        reports = Reports()
        self.assertFalse(change().reports_inputs)
        self.assertFalse(reports.take(change(), HOME, 5))
        self.assertEqual((reports.inputs, reports.by_name, reports.unsaved), (0, {}, False))
        self.assertEqual(
            states(0), {"access_alarm": None, "fire_alarm": None, "alarm_input": None, "remote_inhibited": None}
        )

    def test_as_the_store_keeps_them(self) -> None:
        reports = Reports()
        self.assertTrue(reports.take(change(AccessAlarm=0, FireAlarm=1), HOME, 5))
        self.assertEqual(reports.inputs, 0b0011_0010)
        self.assertTrue(reports.take(change(FireAlarm=0, InhbitRemote=1), HOME, 6))
        self.assertEqual(reports.inputs, 0b1011_1000)
        self.assertTrue(REMOTE_INHIBITED.state(reports.inputs))
        again = Reports(reports.to_text())
        self.assertEqual((again.inputs, again.by_name), (reports.inputs, reports.by_name))

    @given(st.lists(st.lists(st.sampled_from((None, 0, 1)), min_size=4, max_size=4)))
    def test_each_is_what_was_said_last(self, messages: list[list[int | None]]) -> None:
        reports, expected = Reports(), dict.fromkeys(KEYS)
        for flags in messages:
            said = dict(zip(KEYS, flags, strict=True))
            self.assertEqual(change(**said).reports_inputs, any(flag is not None for flag in flags))
            reports.take(change(**said), HOME, 5)
            expected |= {key: flag for key, flag in said.items() if flag is not None}
            self.assertIn(reports.inputs, range(256))
        self.assertEqual([one.state(reports.inputs) for one in INPUTS], list(expected.values()))
        self.assertEqual([one.position for one in INPUTS], [0, 1, 2, 3])
        self.assertEqual(Reports(reports.to_text()).by_name, reports.by_name)

    def test_who_said_it_and_when(self) -> None:
        reports = Reports()
        reports.take(change(InhbitRemote=1), STRANGER, 7_000)
        report = reports.by_name["remote_inhibited"]
        self.assertEqual((report.said_at, report.address, report.session_at), (7_000, "198.51.100.9", 2_000))
        self.assertFalse(reports.take(change(InhbitRemote=1), HOME, 9_000), "the state is the same")
        self.assertEqual(reports.by_name["remote_inhibited"].address, "192.0.2.7")
        self.assertFalse(reports.by_name["remote_inhibited"].stale(9_000 + int(FRESH_S * 1000)))
        self.assertTrue(reports.by_name["remote_inhibited"].stale(9_001 + int(FRESH_S * 1000)))

    @given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from((0, 1)), st.booleans())))
    def test_a_stranger_raises_and_never_lowers(self, said: list[tuple[str, int, bool]]) -> None:
        reports, active = Reports(), dict.fromkeys(KEYS, False)
        for key, flag, trusted in said:
            reports.take(change(**{key: flag}), HOME if trusted else STRANGER, 5)
            active[key] = bool(flag) or (active[key] and not trusted)
            self.assertEqual(
                {key: bool(one.state(reports.inputs)) for key, one in zip(KEYS, INPUTS, strict=True)}, active
            )

    def test_cleared(self) -> None:
        reports = Reports()
        reports.take(change(FireAlarm=1, InhbitRemote=1), HOME, 5)
        reports.clear(REMOTE_INHIBITED)
        self.assertEqual(list(reports.by_name), ["fire_alarm"])
        self.assertIsNone(REMOTE_INHIBITED.state(reports.inputs))
        self.assertIsNone(REMOTE_INHIBITED.state(Reports(reports.to_text()).inputs))

    def test_of_a_version_that_kept_no_reports(self) -> None:
        reports = Reports(last_inputs=0b1000_1000, last_at=77)
        self.assertEqual(list(reports.by_name), ["remote_inhibited"])
        report = reports.by_name["remote_inhibited"]
        self.assertEqual((report.active, report.said_at, report.address, report.session_at), (True, 77, "", None))

    def test_a_damaged_text_is_logged(self) -> None:
        self.assertEqual(Reports("{").by_name, {})
        self.assertEqual(Reports('{"fire_alarm": 1}').inputs, 0)

    def test_severities(self) -> None:
        self.assertEqual(
            {one.name: one.severity for one in INPUTS if one.severity in ALARMING},
            {"access_alarm": "warning", "fire_alarm": "alarm", "alarm_input": "alarm"},
        )
        self.assertEqual(REMOTE_INHIBITED.severity, "inhibit")
