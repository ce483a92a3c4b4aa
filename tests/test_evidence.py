"""How devices are read whose modules and firmware differ, through the whole server side."""

import json
from collections.abc import Mapping
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.evidence.counters import NEW_BASE
from cmmd.controllers.evidence.memory import recalled
from cmmd.fleet.errors import BadSetting
from cmmd.fleet.events import Kind
from cmmd.fleet.history.rereading import RETRY_S
from cmmd.fleet.telemetry.view import View, view_of
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Query
from tests.support import VECTORS
from tests.transports import SegmentTransport
from tests.uploads import AT_REST, HGM6120N_PLAN, STANDBY, change_upload, full_upload
from tests.world import HOSTID, World

CASES: list[dict[str, Any]] = json.loads((VECTORS / "evidence.json").read_text("utf-8"))["cases"]
TENTHS = {**STANDBY, 6: 500, 7: 231, 13: 501, 14: 42, 34: 9}


class EvidenceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(interval_s=1.0)
        self.world.register()

    def full(self, registers: Mapping[int, int], coils: frozenset[int] | set[int] = AT_REST, times: int = 1) -> None:
        for _ in range(times):
            self.world.clock.advance(3)
            self.world.fleet.uploads.full(full_upload(registers, coils), HGM6120N_PLAN, historic=False)
            self.world.write_batch()

    def set(self, **changes: object) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(HOSTID, "test", **changes)))

    def restart(self) -> None:
        self.successResultOf(self.world.fleet.save())
        self.world = World(store=self.world.store, start_s=self.world.clock.seconds() + 1, interval_s=1.0)

    @property
    def view(self) -> View:
        return view_of(self.world.fleet.live[HOSTID], self.world.clock.seconds(), online=True)

    def point(self, name: str) -> tuple[object, str]:
        point = next(one for one in self.view.points if one.name == name)
        return point.value, point.quality

    def choice(self, name: str) -> str | None:
        return next(one.choice for one in self.view.hypotheses if one.name == name)

    def told(self) -> list[str]:
        kinds = [event.kind for event in self.world.events]
        self.world.events.clear()
        return kinds

    def alarms(self) -> list[tuple[int, str, str]]:
        found = self.world.fleet.alarms.open_alarms(HOSTID)
        return [(one.number, one.signal, one.severity) for one in found]


class VectorTests(SynchronousTestCase):
    """Each of the vectors, as bytes from a device, is read as it is to be."""

    def test_each(self) -> None:
        for case in CASES:
            world = World()
            self.say(world.connect(), world, [case["login"]])
            uploads = case["uploads"] * case["times"]
            live = world.connect()
            self.say(live, world, [{"method": "LongCon", "hostid": HOSTID}, *uploads])
            self.assertEqual(len(live.segments), 1 + len(uploads), "all of it is answered")
            self.check(case, world)

    def say(self, device: SegmentTransport, world: World, messages: list[object]) -> None:
        for message in messages:
            device.deliver(json.dumps(message).encode())
            device.turns()
            world.clock.advance(3)
            device.turns()

    def check(self, case: dict[str, Any], world: World) -> None:
        expected, record = case["expected"], world.fleet.live[HOSTID]
        view = view_of(record, world.clock.seconds(), online=True)
        points = {point.name: point for point in view.points}
        for name, value in expected.get("points", {}).items():
            self.assertEqual((points[name].value, points[name].quality), (value, "good"), f"{case['name']}: {name}")
            self.assertEqual(record.profile.points(record.known)[name], value, name)
        for name, values in expected.get("readings", {}).items():
            found = (points[name].value, points[name].quality, [one.value for one in points[name].readings])
            self.assertEqual(found, (None, "undecided", values), f"{case['name']}: {name}")
            self.assertIsNone(record.profile.points(record.known)[name])
        for name, word in expected.get("words", {}).items():
            self.assertEqual(points[name].word, word, case["name"])
        decided = {one.name: one.choice for one in view.hypotheses if one.name in expected["decided"]}
        self.assertEqual(decided, expected["decided"], case["name"])
        alarms = [one.signal for one in world.fleet.alarms.open_alarms(HOSTID)]
        self.assertEqual(alarms, expected["alarms"], case["name"])


class ScaleTests(EvidenceTestCase):
    def test_undecided_until_three_uploads(self) -> None:
        for upload in range(3):
            self.full(TENTHS)
            decided = upload == 2
            self.assertEqual(self.point("current_l1"), (42, "good") if decided else (None, "undecided"))
            self.assertEqual(self.choice("scale"), "tenths" if decided else None)
        self.assertEqual(self.point("generator_frequency"), (50.1, "good"))

    def test_shown_with_all_readings(self) -> None:
        self.full(TENTHS)
        current = next(one for one in self.view.points if one.name == "current_l1")
        readings = [(one.value, one.when) for one in current.readings]
        self.assertEqual(readings, [(4.2, "scale=hundredths"), (42, "scale=tenths")])

    def test_cranking_says_nothing(self) -> None:
        """5 Hz in hundredths reads like 50 Hz in tenths, and mains that are not normal read like anything."""
        for state in (3, 4, 5, 6, 7, 10):
            self.full({**STANDBY, 6: 500, 13: 500, 34: state}, AT_REST - {65}, times=4)
        self.assertIsNone(self.choice("scale"))
        self.assertEqual(self.point("generator_frequency"), (None, "undecided"))

    def test_zero_is_zero(self) -> None:
        self.full({**STANDBY, 6: 0}, AT_REST - {65}, times=6)
        self.assertIsNone(self.choice("scale"))
        for name in ("mains_frequency", "generator_frequency", "current_l1"):
            self.assertEqual(self.point(name), (0, "good"))

    def test_the_first_decision_is_an_event(self) -> None:
        self.full(TENTHS, times=2)
        self.assertNotIn(Kind.READING_DECIDED, self.told())
        self.full(TENTHS)
        found = [event.details for event in self.world.events if event.kind == Kind.READING_DECIDED]
        scale = {"hypothesis": "scale", "choice": "tenths", "because": "register 6 = 500", "suppressed": 0}
        self.assertIn(scale, found)
        self.told()
        self.restart()
        self.full(TENTHS, times=3)
        self.assertNotIn(Kind.READING_DECIDED, self.told())

    def test_remembered_with_what_decided_it(self) -> None:
        self.full(TENTHS, times=3)
        self.full({**TENTHS, 6: 0, 13: 0, 34: 0}, AT_REST - {65}, times=4)
        self.restart()
        self.full({**TENTHS, 6: 0, 13: 0, 34: 0}, AT_REST - {65})
        self.assertEqual(self.point("current_l1"), (42, "good"))
        found = next(one for one in self.view.hypotheses if one.name == "scale")
        self.assertEqual(
            (found.choice, found.by, found.because, found.uploads), ("tenths", "uploads", "register 6 = 500", 5)
        )

    def test_a_contradiction_counts_at_once_and_opens_it_after_three(self) -> None:
        self.full(TENTHS, times=3)
        self.full({**TENTHS, 6: 5000, 13: 5010})
        self.assertEqual(self.point("current_l1"), (None, "undecided"))
        self.full(TENTHS)
        self.assertEqual(self.point("current_l1"), (42, "good"), "it was one odd upload")
        self.told()
        self.full({**TENTHS, 6: 5000, 13: 5010}, times=3)
        self.assertEqual(self.told(), [Kind.READING_REOPENED])
        self.assertEqual(self.choice("scale"), None)
        self.full({**TENTHS, 6: 5000, 13: 5010}, times=2)
        self.assertEqual(self.told(), [Kind.READING_DECIDED])
        self.assertEqual(self.point("current_l1"), (4.2, "good"))

    def test_what_contradicts_itself_again_and_again_does_not_flap(self) -> None:
        self.full(TENTHS, times=3)
        self.told()
        for _ in range(10):
            self.full({**TENTHS, 6: 5000, 13: 5010}, times=3)
            self.full(TENTHS, times=3)
        self.assertLessEqual(len(self.told()), 2)

    def test_an_admin_goes_before_all_evidence(self) -> None:
        self.set(read_as="scale=hundredths")
        self.full(TENTHS, times=8)
        self.assertEqual(self.point("current_l1"), (4.2, "good"))
        self.restart()
        self.full(TENTHS, times=8)
        found = next(one for one in self.view.hypotheses if one.name == "scale")
        self.assertEqual((found.choice, found.by), ("hundredths", "admin"))
        self.set(read_as=None)
        self.full(TENTHS, times=3)
        self.assertEqual(self.point("current_l1"), (42, "good"))

    def test_change_uploads_count_where_the_register_is_in_them(self) -> None:
        """A frequency from while it cranked stands there yet, when the state says that it runs."""
        self.set(read_as="byte_order=little")
        self.full({**STANDBY, 6: 0, 13: 500, 34: 3}, AT_REST - {65})
        for _ in range(4):
            self.world.fleet.uploads.change(change_upload({34: 8, 19: 300}), historic=False)
        self.assertIsNone(self.choice("scale"))
        for frequency in (5000, 5001, 4999):
            self.world.fleet.uploads.change(change_upload({13: frequency, 34: 9}), historic=False)
        self.assertEqual(self.choice("scale"), "hundredths")
        self.assertEqual(self.point("generator_frequency"), (49.99, "good"))


class CounterTests(EvidenceTestCase):
    def counter(self, high: int, low: int, times: int = 1) -> None:
        self.full({**STANDBY, 48: high, 49: low}, times=times)

    def test_a_low_word_over_9999_decides(self) -> None:
        self.counter(1, 2345)
        self.assertEqual(self.point("energy_generated"), (None, "undecided"))
        self.counter(1, 9999)
        self.counter(1, 10_000, times=3)
        self.assertEqual(self.choice("energy_generated"), None, "a jump of 7655 kWh in 3 s is no evidence")

    def test_a_counter_that_grows_over_9999(self) -> None:
        for low in (9998, 9999, 10_000, 10_001, 10_002):
            self.counter(0, low)
        self.assertEqual(
            (self.choice("energy_generated"), self.point("energy_generated")), ("binary", (10_002, "good"))
        )

    def test_a_roll_over_decides(self) -> None:
        for high, low in ((1, 9998), (1, 9999), (2, 0)):
            self.counter(high, low)
        self.assertEqual(
            (self.choice("energy_generated"), self.point("energy_generated")), ("decimal", (20_000, "good"))
        )

    def test_a_glitch_is_no_value(self) -> None:
        self.counter(0, 5000, times=2)
        for high, low in ((0xFFFF, 0xFFFF), (0, 0), (0, 9000), (3, 5000)):
            self.counter(high, low)
            self.assertIn(self.point("energy_generated")[1], ("implausible", "undecided"))
            self.assertIsNone(
                self.world.fleet.live[HOSTID].profile.points(self.world.fleet.live[HOSTID].known)["energy_generated"]
            )
            self.counter(0, 5001)
            self.assertEqual(self.point("energy_generated"), (5001, "good"))
        self.assertNotIn(Kind.COUNTER_REBASED, self.told())
        page = self.successResultOf(
            Deferred.fromCoroutine(self.world.fleet.history.page(Query(hostid=HOSTID, limit=100)))
        )
        kept = [one.points["energy_generated"] for one in page.readings]
        self.assertEqual({value for value in kept if value is not None}, {5000, 5001})

    def test_a_glitch_to_the_old_base(self) -> None:
        """While a new base is being found, a glitch that equals the old one is no return to that."""
        self.counter(0, 0, times=3)
        self.counter(6, 135, times=NEW_BASE - 2)
        self.counter(0, 0)
        self.assertEqual(self.point("energy_generated"), (0, "implausible"))
        self.counter(6, 135, times=NEW_BASE)
        self.assertEqual(self.point("energy_generated")[1], "undecided", "both readings of a new base")
        self.assertEqual(self.told().count(Kind.COUNTER_REBASED), 1)

    def test_a_long_glitch_ends(self) -> None:
        self.counter(0, 5000, times=3)
        self.counter(0, 0, times=NEW_BASE - 1)
        self.counter(0, 5000, times=2)
        self.assertEqual(self.point("energy_generated"), (5000, "implausible"))
        self.counter(0, 5000)
        self.assertEqual(self.point("energy_generated"), (5000, "good"))
        self.assertNotIn(Kind.COUNTER_REBASED, self.told())

    def test_a_glitch_to_the_old_base_of_another_controller(self) -> None:
        old = {**TENTHS, 46: 0, 47: 500, 48: 0, 49: 900, 43: 700}
        self.full(old, times=3)
        new = {**TENTHS, 46: 0, 47: 3, 48: 0, 49: 4, 43: 5}
        self.full(new)
        self.full({**new, 49: 900})
        self.assertEqual(self.point("energy_generated"), (900, "implausible"))
        self.full(old, times=2)
        self.assertEqual(self.point("energy_generated"), (900, "good"), "it was a glitch of all counters")
        self.assertNotIn(Kind.CONTROLLER_REPLACED, self.told())

    def test_a_fall_that_stays_is_a_new_base(self) -> None:
        self.counter(0, 5000, times=3)
        self.told()
        self.counter(0, 7, times=NEW_BASE - 1)
        self.assertEqual((self.point("energy_generated"), self.told()), ((7, "implausible"), []))
        self.counter(0, 7)
        self.assertEqual((self.point("energy_generated"), self.told()), ((7, "good"), [Kind.COUNTER_REBASED]))

    def test_another_controller(self) -> None:
        """Several counters at once: until that is certain, what firmware differs in is undecided, and then is open."""
        registers = {**TENTHS, 46: 0, 47: 500, 48: 0, 49: 900, 43: 700}
        self.full(registers, times=3)
        self.told()
        idle = {**TENTHS, 6: 0, 13: 0, 34: 0, 47: 3, 49: 4, 43: 5}
        self.full(idle, AT_REST - {65}, times=NEW_BASE - 1)
        self.assertEqual(self.point("current_l1"), (None, "undecided"))
        self.assertNotIn(Kind.CONTROLLER_REPLACED, self.told())
        self.full(idle, AT_REST - {65})
        told = self.told()
        self.assertEqual(told.count(Kind.COUNTER_REBASED), 3)
        self.assertIn(Kind.CONTROLLER_REPLACED, told)
        self.assertIsNone(self.choice("scale"))

    def test_time_may_have_passed(self) -> None:
        self.counter(0, 5000)
        self.world.clock.advance(3600)
        self.counter(0, 9000)
        self.assertEqual(self.point("energy_generated"), (9000, "good"))


class NameTests(EvidenceTestCase):
    def test_raised_at_once_and_renamed(self) -> None:
        self.full(dict(STANDBY), AT_REST | {54})
        number = self.alarms()[0][0]
        self.assertEqual(self.alarms(), [(number, "coil_54", "shutdown")], "the more severe of its severities")
        self.world.fleet.alarms.acknowledge(number, "Ann")
        self.told()
        self.full(dict(STANDBY), AT_REST | {54, 55}, times=3)
        named = {name: severity for _, name, severity in self.alarms()}
        self.assertEqual(
            named, {"generator_breaker_failure_warning": "warning", "mains_breaker_failure_warning": "warning"}
        )
        told = self.told()
        self.assertEqual(told.count(Kind.ALARM_RENAMED), 2)
        self.assertNotIn(Kind.ALARM_CLEARED, told)
        renamed = self.world.fleet.alarms.open_alarms(HOSTID)[0]
        self.assertEqual((renamed.number, renamed.acknowledged_by), (number, "Ann"))
        self.assertEqual(self.world.fleet.alarms.counts["shutdown"], 0)

    def test_over_a_restart(self) -> None:
        self.full(dict(STANDBY), AT_REST | {71})
        number = self.alarms()[0][0]
        self.restart()
        self.full(dict(STANDBY), AT_REST | {71}, times=3)
        self.assertEqual(self.alarms(), [(number, "low_oil_pressure_analog_shutdown", "shutdown")])
        self.restart()
        self.full(dict(STANDBY), AT_REST | {71})
        self.assertEqual(self.alarms(), [(number, "low_oil_pressure_analog_shutdown", "shutdown")])
        self.full(dict(STANDBY))
        self.assertEqual(self.alarms(), [])


class ImplausibleTests(EvidenceTestCase):
    def test_most_of_it_cannot_be(self) -> None:
        nonsense = dict.fromkeys(range(45), 61184)
        self.full(nonsense)
        self.assertEqual([name for _, name, _ in self.alarms()], ["values_implausible"])
        self.full(dict(STANDBY))
        self.assertEqual(self.alarms(), [])


class HistoryTests(EvidenceTestCase):
    def points(self, name: str) -> list[float | None]:
        page = self.successResultOf(
            Deferred.fromCoroutine(self.world.fleet.history.page(Query(hostid=HOSTID, limit=1000)))
        )
        return [one.points[name] for one in page.readings]

    def settle(self) -> None:
        for _ in range(40):
            self.world.clock.advance(0.2)

    def test_read_anew(self) -> None:
        idle = {**TENTHS, 6: 0, 13: 0, 34: 5}
        self.full(idle, AT_REST - {65}, times=5)
        self.assertEqual(self.points("current_l1"), [None] * 5)
        self.full(TENTHS, times=3)
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * 8)
        self.assertIsNone(self.world.registry.device(HOSTID).oldest_undecided_at)  # type: ignore[union-attr]

    def test_read_anew_after_a_restart(self) -> None:
        self.full({**TENTHS, 6: 0, 13: 0, 34: 5}, AT_REST - {65}, times=5)
        self.restart()
        self.full(TENTHS, times=3)
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * 8)

    def test_a_restart_before_it_is_done(self) -> None:
        self.full({**TENTHS, 6: 0, 13: 0, 34: 5}, AT_REST - {65}, times=5)
        self.full(TENTHS, times=3)
        self.restart()
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * 8)

    def test_while_the_store_is_away(self) -> None:
        self.full({**TENTHS, 6: 0, 13: 0, 34: 5}, AT_REST - {65}, times=5)
        with mock.patch.object(self.world.store, "redecode", lambda _: fail(StoreUnavailable("disk full"))):
            self.full(TENTHS, times=3)
            self.settle()
            self.assertEqual(self.points("current_l1")[0], None)
        self.world.clock.advance(RETRY_S)
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * 8)

    def test_change_uploads_too(self) -> None:
        for value in (230, 231, 232, 233):
            self.world.clock.advance(3)
            upload = change_upload({0: int.from_bytes(value.to_bytes(2, "little"), "big"), 24: 0x0D01})
            self.world.fleet.uploads.change(upload, historic=False)
            self.world.write_batch()
        self.settle()
        self.assertEqual(self.points("mains_voltage_l1_n"), [230, 231, 232, 233])

    def test_what_came_before_another_controller_stays_undecided(self) -> None:
        old = {**TENTHS, 6: 0, 13: 0, 34: 5, 14: 99, 47: 500, 49: 900}
        self.full(old, AT_REST - {65}, times=3)
        self.full({**TENTHS, 47: 3, 49: 4}, times=NEW_BASE + 3)
        self.settle()
        self.assertEqual(self.points("current_l1")[:3], [None] * 3)
        self.assertEqual(self.points("current_l1")[-1], 42)

    def test_memory_of_the_device(self) -> None:
        self.full(TENTHS, times=3)
        device = self.world.registry.device(HOSTID)
        assert device is not None
        self.assertEqual(recalled(device.evidence)["scale"].choice, "tenths")
        self.assertIsInstance(self.world.store, MemoryStore)


class PeopleTests(EvidenceTestCase):
    def test_inputs_keep_their_rules(self) -> None:
        """Whatever evidence re-reads: an inhibit that was once said counts, and so does the lock at the panel."""
        self.world.fleet.uploads.change(change_upload({0: 0x00E6}, {0: 0x10}, InhbitRemote=1), historic=False)
        for order in ("little", "big", "little"):
            for volts in range(231, 239):
                raw = int.from_bytes(volts.to_bytes(2, "little"), "little" if order == "little" else "big")
                self.world.fleet.uploads.change(change_upload({0: raw}), historic=False)
        self.full(TENTHS, AT_REST | {4}, times=3)
        self.full({**TENTHS, 6: 5000, 13: 5010}, AT_REST | {4}, times=6)
        self.restart()
        record = self.world.fleet.live[HOSTID]
        self.assertIs(view_of(record, 0.0, online=True).inputs["remote_inhibited"], True)
        self.assertIs(record.remote_locked, True)

    def test_settings_are_checked_against_the_profile(self) -> None:
        for value in ("scale", "scale=huge", "colour=red", "scale=tenths, scale=tenths", 3, "x" * 201):
            setting = Deferred.fromCoroutine(self.world.registry.set(HOSTID, "test", read_as=value))
            self.assertTrue(str(self.failureResultOf(setting, BadSetting).value).startswith("read_as: "))
        self.set(profile="hgm4000n")
        setting = Deferred.fromCoroutine(self.world.registry.set(HOSTID, "test", read_as="scale=tenths"))
        self.failureResultOf(setting, BadSetting)
        self.set(read_as="starts=decimal")

    def test_another_profile_begins_anew_but_for_the_byte_order(self) -> None:
        for volts in range(231, 235):
            self.world.fleet.uploads.change(change_upload({0: volts}), historic=False)
        self.full(TENTHS, times=3)
        self.assertEqual((self.choice("byte_order"), self.choice("scale")), ("little", "tenths"))
        self.set(profile="hgm6110n")
        self.assertEqual((self.choice("byte_order"), self.choice("scale")), ("little", None))

    def test_what_no_order_makes_plausible(self) -> None:
        nonsense = dict.fromkeys((0, 1, 2, 3, 21, 34), 61422)
        self.world.fleet.uploads.change(change_upload(nonsense), historic=False)
        self.assertEqual([name for _, name, _ in self.alarms()], ["values_implausible"])

    def test_a_wrong_order_that_is_set(self) -> None:
        self.set(read_as="byte_order=little")
        for volts in range(231, 235):
            swapped = int.from_bytes(volts.to_bytes(2, "little"), "big")
            registers = {**dict.fromkeys((0, 1, 2, 3), swapped), 24: 0x1601, 34: 0x0900}
            self.world.fleet.uploads.change(change_upload(registers), historic=False)
        self.assertEqual([name for _, name, _ in self.alarms()], ["values_implausible"])
        self.assertEqual(self.choice("byte_order"), "little", "what is set is not changed by evidence")
