"""Alarms: raised, acknowledged, cleared; what is unknown stays; floods are bounded."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.definition import parse_definition
from cmmd.controllers.entries import ALARMING
from cmmd.controllers.profile import Profile
from cmmd.fleet.alarms.alarms import BURST, LONGEST_BY, PROFILE_CHANGED, REFILL_S, Alarms
from cmmd.fleet.devices.inputs import INPUTS
from cmmd.fleet.errors import NoSuchAlarm
from cmmd.fleet.events import Events
from cmmd.store.records import Alarm, Event
from tests.test_fleet_telemetry_genset_state import Known

EMERGENCY_STOP, LOW_FUEL = 8, 28
UNDERVOLTAGE_AT_REST = 74
ENGINE_REGISTER = 34
STANDBY, RUNNING = 0, 9
REMOTE_MODE = 3

FIRE_ON, FIRE_OFF = 0b0010_0010, 0b0010_0000
ALL_ON = 0xFF


class AlarmsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.catalog = load_catalog()
        self.profile = self.catalog.for_moduletype("HGM6120N")
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.kept: list[Alarm] = []
        self.told: list[Event] = []
        self.start()

    def start(self, open_alarms: tuple[Alarm, ...] = (), last_number: int = 0) -> None:
        """Anew, as after a restart."""
        self.events = Events(now=self.clock.seconds, clock=self.clock, keep=self.told.append, last_number=0)
        self.alarms = Alarms(
            events=self.events,
            keep=self.kept.append,
            now=self.clock.seconds,
            open_alarms=open_alarms,
            last_number=last_number,
        )

    def look(
        self,
        coils: dict[int, bool] | None = None,
        registers: dict[int, int] | None = None,
        *,
        hostid: str = "A",
        inputs: int = 0,
        profile: Profile | None = None,
    ) -> bool:
        return self.alarms.look(hostid, profile or self.profile, Known(coils or {}, registers or {}), inputs)

    def open(self, hostid: str | None = "A") -> list[str]:
        return [alarm.signal for alarm in self.alarms.open_alarms(hostid)]


class RaiseAndClearTests(AlarmsTestCase):
    def test_from_beginning_to_end(self) -> None:
        self.assertTrue(self.look({EMERGENCY_STOP: True, LOW_FUEL: False}))
        raised = Alarm(
            number=1,
            hostid="A",
            signal="emergency_stop_shutdown",
            title=self.profile.signal_by_name["emergency_stop_shutdown"].title,
            severity="shutdown",
            raised_at=1_700_000_000_000,
        )
        self.assertEqual(self.kept, [raised])
        self.assertEqual(self.alarms.open_alarms("A"), [raised])
        self.clock.advance(2.5)
        self.assertFalse(self.look({EMERGENCY_STOP: True}))
        self.assertTrue(self.look({EMERGENCY_STOP: False}))
        self.assertEqual(self.kept[1].cleared_at, 1_700_000_002_500)
        self.assertEqual(self.open(), [])
        self.assertFalse(self.look({EMERGENCY_STOP: False}))
        details = {"alarm": 1, "signal": raised.signal, "title": raised.title, "severity": "shutdown"}
        self.assertEqual(
            [(event.kind, event.hostid, event.details) for event in self.told],
            [("alarm_raised", "A", details), ("alarm_cleared", "A", {**details, "why": ""})],
        )

    def test_a_signal_that_comes_again_is_another_alarm(self) -> None:
        for state in (True, False, True):
            self.look({LOW_FUEL: state})
        self.assertEqual([alarm.number for alarm in self.kept], [1, 1, 2])
        self.assertEqual([alarm.number for alarm in self.alarms.open_alarms()], [2])

    def test_every_alarming_signal_and_no_other(self) -> None:
        self.look(dict.fromkeys(range(90), True), {ENGINE_REGISTER: RUNNING}, inputs=ALL_ON)
        expected = [(one.name, one.title, one.severity) for one in self.profile.definition.signals]
        expected += [(one.name, one.title, one.severity) for one in INPUTS]
        expected = [one for one in expected if one[2] in ALARMING]
        self.assertEqual([(alarm.signal, alarm.title, alarm.severity) for alarm in self.kept], expected)
        self.assertEqual(len(expected), 59 + 3)
        self.assertNotIn("remote_inhibited", self.open())

    def test_devices_are_apart(self) -> None:
        self.look({LOW_FUEL: True}, hostid="B")
        self.look({LOW_FUEL: True}, hostid="A")
        self.look({LOW_FUEL: False}, hostid="B")
        self.assertEqual((self.open("A"), self.open("B"), self.open("C")), (["low_fuel_warning"], [], []))

    def test_a_clock_that_goes_back(self) -> None:
        """An alarm never ends before it began."""
        self.look({LOW_FUEL: True})
        now = self.clock.seconds() - 60
        self.alarms._now = lambda: now
        self.alarms.acknowledge(1, "x")
        self.look({LOW_FUEL: False})
        self.assertEqual([alarm.acknowledged_at for alarm in self.kept[1:]], [1_700_000_000_000] * 2)
        self.assertEqual(self.kept[-1].cleared_at, 1_700_000_000_000)

    def test_a_subscriber_that_looks_itself(self) -> None:
        def look_too(event: Event) -> None:
            self.look(coils)

        self.events.subscribe(look_too)
        coils = {LOW_FUEL: True, EMERGENCY_STOP: True}
        self.look(coils)
        self.assertEqual([alarm.number for alarm in self.kept], [1, 2])
        coils = dict.fromkeys(coils, False)
        self.look(coils)
        self.assertEqual([alarm.number for alarm in self.kept], [1, 2, 1, 2])
        self.assertEqual(self.open(), [])


class UnknownTests(AlarmsTestCase):
    def test_raises_nothing_and_clears_nothing(self) -> None:
        self.assertFalse(self.look())
        self.look({LOW_FUEL: True})
        self.assertFalse(self.look())
        self.assertEqual(self.open(), ["low_fuel_warning"])

    def test_at_rest(self) -> None:
        """A generator that stands has no voltage: an alarm only where the engine should make some."""
        coils = {UNDERVOLTAGE_AT_REST: True}
        self.assertFalse(self.look(coils, {ENGINE_REGISTER: STANDBY}))
        self.assertFalse(self.look(coils))
        self.assertTrue(self.look(coils, {ENGINE_REGISTER: RUNNING}))
        self.assertFalse(self.look(coils), "the engine's state is not known: it stays")
        self.assertTrue(self.look(coils, {ENGINE_REGISTER: STANDBY}))
        self.assertEqual([event.kind for event in self.told], ["alarm_raised", "alarm_cleared"])

    def test_at_rest_the_coil_alone_clears(self) -> None:
        self.look({UNDERVOLTAGE_AT_REST: True}, {ENGINE_REGISTER: RUNNING})
        self.assertTrue(self.look({UNDERVOLTAGE_AT_REST: False}))


class InputsTests(AlarmsTestCase):
    def test_raised_and_cleared(self) -> None:
        self.assertTrue(self.look(inputs=FIRE_ON))
        self.assertFalse(self.look(inputs=0))
        self.assertEqual(self.open(), ["fire_alarm"])
        self.assertTrue(self.look(inputs=FIRE_OFF))
        self.assertEqual(self.open(), [])

    def test_whatever_the_controller(self) -> None:
        self.look(inputs=ALL_ON)
        self.assertFalse(self.look(inputs=ALL_ON, profile=self.catalog.for_moduletype("unheard of")))
        self.assertEqual(self.open(), ["access_alarm", "fire_alarm", "alarm_input"])

    def test_their_names_are_taken(self) -> None:
        profile = with_signals('fire_alarm = {title = "X", address = 0, severity = "warning"}')
        self.assertFalse(self.look({0: True}, profile=profile))
        self.assertTrue(self.look({0: False}, inputs=FIRE_ON, profile=profile))
        self.assertFalse(self.look({0: False}, inputs=FIRE_ON, profile=profile))


def with_signals(signals: str) -> Profile:
    definition = f"""
        title = "P"
        polls = [{{unit = 1, function = 1, address = 0, count = 8}}]
        [signals]
        {signals}
        """
    return Profile("p", parse_definition(definition))


class ProfileChangedTests(AlarmsTestCase):
    def test_what_it_does_not_have_is_cleared(self) -> None:
        self.look({LOW_FUEL: True, EMERGENCY_STOP: True}, inputs=FIRE_ON)
        profile = with_signals(
            'low_fuel_warning = {title = "Low fuel", address = 1, severity = "shutdown"}\n'
            'emergency_stop_shutdown = {title = "Button", address = 2, severity = "status"}'
        )
        self.assertTrue(self.look(profile=profile))
        self.assertEqual(self.open(), ["low_fuel_warning", "fire_alarm"])
        self.assertEqual(self.told[-1].details["why"], PROFILE_CHANGED)
        self.assertIsNotNone(self.kept[-1].cleared_at)


class AcknowledgeTests(AlarmsTestCase):
    def test_the_first_one_counts(self) -> None:
        self.look({LOW_FUEL: True})
        self.clock.advance(1)
        alarm = self.alarms.acknowledge(1, "anna")
        self.assertEqual((alarm.acknowledged_at, alarm.acknowledged_by), (1_700_000_001_000, "anna"))
        self.clock.advance(1)
        self.assertEqual(self.alarms.acknowledge(1, "bert"), alarm)
        self.assertEqual(self.alarms.open_alarms(), [alarm])
        self.assertEqual(self.kept[1:], [alarm])
        self.assertEqual(
            [(event.kind, event.details.get("by")) for event in self.told],
            [("alarm_raised", None), ("alarm_acknowledged", "anna")],
        )

    def test_it_stays_so_when_cleared(self) -> None:
        self.look({LOW_FUEL: True})
        self.alarms.acknowledge(1, "anna")
        self.look({LOW_FUEL: False})
        self.assertEqual(self.kept[-1].acknowledged_by, "anna")

    def test_none_and_cleared(self) -> None:
        self.look({LOW_FUEL: True})
        self.look({LOW_FUEL: False})
        for number in (0, 1, 2):
            self.assertRaises(NoSuchAlarm, self.alarms.acknowledge, number, "anna")

    @given(st.text(max_size=200))
    def test_any_name(self, by: str) -> None:
        self.start()
        self.look({LOW_FUEL: True})
        name = self.alarms.acknowledge(1, by).acknowledged_by
        assert name is not None
        self.assertTrue(name.isprintable())
        self.assertLessEqual(len(name), LONGEST_BY)
        name.encode()


class ListTests(AlarmsTestCase):
    def test_in_the_order_of_their_numbers(self) -> None:
        self.look({LOW_FUEL: True}, hostid="B")
        self.look({EMERGENCY_STOP: True}, hostid="A")
        self.look({LOW_FUEL: True, EMERGENCY_STOP: True}, hostid="A")
        self.alarms.acknowledge(1, "anna")
        self.assertEqual([alarm.number for alarm in self.alarms.open_alarms()], [1, 2, 3])
        self.assertEqual([alarm.number for alarm in self.alarms.open_alarms("A")], [2, 3])

    def test_counts(self) -> None:
        self.assertEqual(self.alarms.counts, {"alarm": 0, "warning": 0, "shutdown": 0})
        self.look({LOW_FUEL: True, EMERGENCY_STOP: True}, inputs=FIRE_ON)
        self.alarms.acknowledge(1, "anna")
        self.assertEqual(self.alarms.counts, {"alarm": 1, "warning": 1, "shutdown": 1})
        self.look({LOW_FUEL: False})
        self.assertEqual(self.alarms.counts, {"alarm": 1, "warning": 0, "shutdown": 1})


class RestartTests(AlarmsTestCase):
    def test_the_first_look_clears_what_is_off(self) -> None:
        self.look({LOW_FUEL: True, EMERGENCY_STOP: True}, inputs=FIRE_ON)
        before = tuple(self.alarms.open_alarms())
        self.kept.clear()
        self.start(before, last_number=17)
        self.assertEqual(self.alarms.open_alarms("A"), list(before))
        self.assertEqual(self.alarms.counts, {"alarm": 1, "warning": 1, "shutdown": 1})
        self.assertTrue(self.look({LOW_FUEL: False}))
        self.assertEqual(self.open(), ["emergency_stop_shutdown", "fire_alarm"])
        self.assertTrue(self.look({LOW_FUEL: True, EMERGENCY_STOP: True}))
        self.assertEqual(self.alarms.open_alarms()[-1].number, 18)


class FloodTests(AlarmsTestCase):
    def flap(self, count: int, seconds: float, last: bool) -> None:
        for number in range(count):
            self.look({LOW_FUEL: (number % 2 == 0) is not last})
            self.clock.advance(seconds / count)
        self.look({LOW_FUEL: last})

    def calm_down(self, state: bool) -> int:
        """Look again, unasked, until it is settled; how often."""
        looks = 0
        while self.alarms.unsettled("A"):
            self.clock.advance(1)
            self.look({LOW_FUEL: state})
            looks += 1
            self.assertLess(looks, 100)
        return looks

    def test_ten_thousand_flaps_in_a_second(self) -> None:
        self.flap(10_000, 1.0, last=False)
        self.assertLessEqual(len(self.kept), BURST + 1)
        self.assertEqual(len(self.told), len(self.kept))
        self.assertEqual(self.open(), ["low_fuel_warning"])
        self.assertTrue(self.alarms.unsettled("A"))
        self.assertFalse(self.alarms.unsettled("B"))
        self.assertLessEqual(self.calm_down(False), REFILL_S)
        self.assertEqual(self.open(), [])
        self.assertLessEqual(len(self.kept), BURST + 2)

    def test_it_ends_active(self) -> None:
        self.flap(1000, 1.0, last=True)
        self.assertEqual(self.open(), ["low_fuel_warning"])
        self.assertFalse(self.alarms.unsettled("A"))

    def test_a_day_of_flapping(self) -> None:
        self.flap(86_400, 86_400.0, last=False)
        self.assertLessEqual(len(self.kept), BURST + 2 * 86_400 / REFILL_S + 1)

    def test_raising_never_waits(self) -> None:
        """Every signal flaps; then a new one comes."""
        every = {address: True for address in range(90) if address != EMERGENCY_STOP}
        for number in range(50):
            self.look(every if number % 2 == 0 else dict.fromkeys(every, False))
        self.assertLess(len(self.kept), 2 * BURST + 60)
        self.assertTrue(self.look({EMERGENCY_STOP: True}))
        self.assertIn("emergency_stop_shutdown", self.open())

    def test_profiles_that_flap(self) -> None:
        other = with_signals('x = {title = "X", address = 0, severity = "warning"}')
        for _ in range(1000):
            self.look({LOW_FUEL: True})
            self.look({0: True}, profile=other)
        self.assertLessEqual(len(self.kept), 2 * BURST)
        self.assertTrue(self.alarms.unsettled("A"))
        self.assertEqual(sorted(self.open()), ["low_fuel_warning", "x"])

    def test_others_are_not_held_up(self) -> None:
        self.flap(1000, 0.0, last=False)
        self.look({LOW_FUEL: True}, hostid="B")
        self.assertTrue(self.look({LOW_FUEL: False}, hostid="B"))

    @given(
        st.lists(
            st.tuples(
                st.dictionaries(st.sampled_from((EMERGENCY_STOP, LOW_FUEL, REMOTE_MODE)), st.booleans()),
                st.sampled_from((0, FIRE_ON, FIRE_OFF)),
            )
        )
    )
    def test_any_uploads(self, uploads: list[tuple[dict[int, bool], int]]) -> None:
        """What is open is what was last known to be active; never two of one signal; the store has the same."""
        self.kept.clear()
        self.start()
        expected: dict[str, bool] = {}
        names = {EMERGENCY_STOP: "emergency_stop_shutdown", LOW_FUEL: "low_fuel_warning"}
        for coils, inputs in uploads:
            self.look(coils, inputs=inputs)
            expected |= {name: coils[address] for address, name in names.items() if address in coils}
            if inputs:
                expected["fire_alarm"] = inputs == FIRE_ON
            self.assertEqual(sorted(self.open()), sorted(name for name, active in expected.items() if active))
        stored = {alarm.number: alarm for alarm in self.kept}
        self.assertEqual([one for one in stored.values() if one.cleared_at is None], self.alarms.open_alarms())
        self.assertEqual(sum(self.alarms.counts.values()), len(self.alarms.open_alarms()))
