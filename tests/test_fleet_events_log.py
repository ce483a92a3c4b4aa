"""Events in the log."""

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.events import CATALOGUE, EventLog, Kind
from cmmd.store.records import Detail, Event


class EventLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.eventlog = EventLog(self.clock, lambda _: "Genset 1")
        captured = capturedLogs()
        self._events = captured.__enter__()
        self.addCleanup(captured.__exit__, None, None, None)

    @property
    def logged(self) -> list[str]:
        return [formatEvent(event) for event in self._events if event["log_namespace"] == "cmmd.fleet.events"]

    def tell(self, kind: str, **details: Detail) -> None:
        self.eventlog(Event(number=1, at=0, hostid="A", kind=kind, details=details))

    def test_lines(self) -> None:
        self.tell("alarm_raised", alarm=1, signal="fire_alarm", title="Fire", severity="alarm")
        self.tell("breaker_changed", breaker="mains", closed=False, suppressed=0)
        self.tell("breaker_changed", breaker="generator", closed=True, suppressed=0)
        self.tell("clock_asked", suppressed=0)
        self.assertEqual(
            self.logged,
            [
                "alarm: A (Genset 1): Fire (alarm)",
                "mains breaker: A (Genset 1): open",
                "generator breaker: A (Genset 1): closed",
            ],
        )

    def test_every_line_finds_its_details(self) -> None:
        for kind in Kind:
            self.tell(kind.value, **dict.fromkeys(CATALOGUE[kind].keys))
        self.assertEqual(len(self.logged), 16)

    def test_a_title_is_no_format(self) -> None:
        self.tell("alarm_raised", alarm=1, signal="x", title="{hostid} {nothing}", severity="alarm")
        self.assertEqual(self.logged, ["alarm: A (Genset 1): {hostid} {nothing} (alarm)"])

    def test_no_more_than_a_disk_bears(self) -> None:
        for _ in range(1000):
            self.tell("mains_lost", suppressed=0)
        self.assertEqual(len(self.logged), 20)
        self.clock.advance(10)
        self.tell("mains_lost", suppressed=0)
        self.assertEqual(self.logged[-1], "mains lost: A (Genset 1) (980 more not logged)")

    def test_other_events_take_no_line_from_alarms(self) -> None:
        for number in range(1000):
            self.eventlog(
                Event(number=number + 1, at=0, hostid=str(number), kind="mains_lost", details={"suppressed": 0})
            )
        self.tell("alarm_raised", alarm=1, signal="fire_alarm", title="Fire", severity="alarm")
        self.assertEqual(self.logged[-1], "alarm: A (Genset 1): Fire (alarm)")
