"""Events: numbering, order, subscribers, limits; and the catalogue against the documentation and the source."""

import ast
import re

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet import events
from cmmd.fleet.counters import log_throttle
from cmmd.fleet.events import BURST, CATALOGUE, OVERALL_BURST, REFILL_S, Events, Kind
from cmmd.store.records import Event
from tests.support import REPOSITORY

"""Kinds whose cause is not built yet."""


class EventsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000.25)
        self.kept: list[Event] = []
        self.events = Events(now=self.clock.seconds, clock=self.clock, keep=self.kept.append, last_number=41)

    def ask(self, hostid: str = "A") -> None:
        self.events.emit(Kind.CLOCK_ASKED, hostid)

    def alarm(self, number: int = 1) -> None:
        self.events.emit(Kind.ALARM_RAISED, "A", alarm=number, signal="s", title="S", severity="warning")

    def alarms(self, told: list[Event]) -> list[object]:
        return [event.details["alarm"] for event in told]


class EmitTests(EventsTestCase):
    def test_numbered_dated_and_kept(self) -> None:
        self.events.emit(Kind.ONLINE, "A", address="192.0.2.1")
        self.clock.advance(1)
        self.events.emit(Kind.DEVICE_REGISTERED, "B", number=7, hostname="b", moduletype="", address="192.0.2.2")
        first, second = self.kept
        self.assertEqual(
            first,
            Event(
                number=42,
                at=1_700_000_000_250,
                hostid="A",
                kind="online",
                details={"address": "192.0.2.1", "suppressed": 0},
            ),
        )
        self.assertEqual((second.number, second.at, second.hostid), (43, 1_700_000_001_250, "B"))
        self.assertEqual(self.events.last_number, 43)
        self.assertIs(type(first.kind), str)

    def test_counted_by_kind(self) -> None:
        self.ask()
        for _ in range(BURST + 5):
            self.ask("B")
        self.assertEqual(self.events.counts[Kind.CLOCK_ASKED], 1 + BURST, "those that are told")
        self.assertEqual(self.events.counts[Kind.ONLINE], 0)

    def test_details_are_those_of_the_catalogue(self) -> None:
        for details in ({}, {"address": "x", "suppressed": 1}, {"addres": "x"}, {"address": "x", "port": 1}):
            with self.assertRaises(ValueError):
                self.events.emit(Kind.ONLINE, "A", **details)
        self.assertEqual(self.kept, [])
        self.assertEqual(self.events.last_number, 41)


class SubscriberTests(EventsTestCase):
    def test_all_in_order(self) -> None:
        told: list[tuple[str, int]] = []
        for name in "xyz":
            self.events.subscribe(lambda event, name=name: told.append((name, event.number)))  # type: ignore[misc]
        self.alarm()
        self.alarm()
        self.assertEqual(told, [(name, number) for number in (42, 43) for name in "xyz"])

    def test_unsubscribing(self) -> None:
        told: list[Event] = []
        unsubscribe = self.events.subscribe(told.append)
        again = self.events.subscribe(told.append)
        self.alarm(1)
        unsubscribe()
        unsubscribe()
        self.alarm(2)
        again()
        self.alarm(3)
        self.assertEqual(self.alarms(told), [1, 1, 2])
        self.assertEqual(self.alarms(self.kept), [1, 2, 3])

    def test_a_subscriber_that_emits(self) -> None:
        """Everybody, the store too, has the first event before anybody has the second."""
        order: list[tuple[str, object]] = []

        def answer(event: Event) -> None:
            order.append(("answering", event.details["alarm"]))
            if event.details["alarm"] == 1:
                self.alarm(2)
                self.alarm(3)
                order.append(("answered", 1))

        self.events.subscribe(answer)
        self.events.subscribe(lambda event: order.append(("behind", event.details["alarm"])))
        self.alarm(1)
        self.assertEqual(
            order,
            [
                ("answering", 1),
                ("answered", 1),
                ("behind", 1),
                ("answering", 2),
                ("behind", 2),
                ("answering", 3),
                ("behind", 3),
            ],
        )
        self.assertEqual([(event.number, event.details["alarm"]) for event in self.kept], [(42, 1), (43, 2), (44, 3)])

    def test_a_long_chain_is_no_recursion(self) -> None:
        def next_one(event: Event) -> None:
            if event.number < 5000:
                self.alarm(event.number)

        self.events.subscribe(next_one)
        self.alarm()
        self.assertEqual([event.number for event in self.kept], list(range(42, 5001)))

    def test_coming_and_going_while_being_told(self) -> None:
        told: list[Event] = []
        late: list[Event] = []

        def meddle(event: Event) -> None:
            unsubscribe_meddler()
            self.alarm(2)
            unsubscribe_told()
            self.events.subscribe(late.append)
            self.alarm(3)

        unsubscribe_meddler = self.events.subscribe(meddle)
        unsubscribe_told = self.events.subscribe(told.append)
        self.alarm(1)
        self.assertEqual(told, [])
        self.assertEqual(self.alarms(late), [3], "what had happened before it came is not for it")

    def test_one_that_raises_harms_nobody(self) -> None:
        calls: list[Event] = []
        told: list[Event] = []

        def broken(event: Event) -> None:
            calls.append(event)
            raise RuntimeError("broken")

        self.events.subscribe(broken)
        self.events.subscribe(told.append)
        self.alarm(1)
        self.alarm(2)
        self.assertEqual(self.alarms(told), [1, 2])
        self.assertEqual(self.alarms(calls), [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_its_log_is_bounded(self) -> None:
        """Also where every connection is a new subscriber."""

        def connect() -> None:
            def broken(event: Event) -> None:
                raise RuntimeError("broken")

            self.events.subscribe(broken)

        for number in range(50):
            connect()
            self.alarm(number)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), log_throttle.BURST)


class LimitTests(EventsTestCase):
    def suppressed(self) -> list[object]:
        return [event.details["suppressed"] for event in self.kept]

    def test_each_device(self) -> None:
        for _ in range(BURST + 7):
            self.ask()
        self.ask("B")
        self.clock.advance(REFILL_S)
        self.ask()
        self.ask()
        self.assertEqual(self.suppressed(), [0] * (BURST + 1) + [7])
        self.assertEqual([event.number for event in self.kept], list(range(42, 42 + BURST + 2)))

    def test_each_kind(self) -> None:
        for _ in range(BURST + 1):
            self.ask()
        self.events.emit(Kind.OFFLINE, "A", since=1)
        self.assertEqual(self.kept[-1].kind, "offline")

    def test_whom_it_is_about(self) -> None:
        for number in range(BURST + 3):
            self.events.emit(
                Kind.LOGIN_REFUSED, f"{number}", about="192.0.2.1", address="192.0.2.1", retcode="000004", reason="r"
            )
        self.assertEqual(len(self.kept), BURST)

    def test_alarms_are_not_limited(self) -> None:
        for number in range(1000):
            self.alarm(number)
        self.assertEqual(len(self.kept), 1000)

    def test_ever_new_devices_fill_no_disk(self) -> None:
        """A flood from everywhere: one a second is left of it, and the number of those left out is right."""
        self.patch(events, "MOST_REMEMBERED", 100)
        for number in range(OVERALL_BURST + 500):
            self.ask(f"{number}")
        self.assertEqual(len(self.kept), OVERALL_BURST)
        for number in range(300):
            self.clock.advance(0.1)
            self.ask(f"later {number}")
        self.assertApproximates(len(self.kept), OVERALL_BURST + 30, 1)
        self.clock.advance(10)
        self.ask("last")
        self.assertEqual(len(self.kept) + sum(self.suppressed()), OVERALL_BURST + 801)  # type: ignore[arg-type]
        limit = self.events._limits[Kind.CLOCK_ASKED]
        self.assertEqual(len(limit._shares), 100)

    def test_none_is_forgotten_between_the_two_limits(self) -> None:
        self.patch(events, "BURST", 1)
        self.patch(events, "OVERALL_BURST", 1)
        self.events = Events(now=self.clock.seconds, clock=self.clock, keep=self.kept.append, last_number=0)
        self.ask("A")
        self.ask("A")  # too often
        self.clock.advance(REFILL_S)
        self.ask("B")
        self.ask("A")  # not too often, but too many of all
        self.clock.advance(events.OVERALL_REFILL_S)
        self.ask("C")
        self.assertEqual([event.hostid for event in self.kept], ["A", "B", "C"])
        self.assertEqual(self.suppressed(), [0, 0, 2])

    def test_many_loud_devices_leave_the_first_event_of_any_other(self) -> None:
        """800 self-registered devices at full speed, for an hour: a quiet one is still heard."""
        for minute in range(21):
            for number in range(800):
                self.ask(f"loud {number}")
            self.clock.advance(60)
            if minute % 10 == 9:
                self.ask("quiet")
                self.assertEqual(self.kept[-1].hostid, "quiet")
        self.assertLess(len(self.kept), OVERALL_BURST + 21 * 60 + 3)

    def test_one_device_takes_nothing_from_all(self) -> None:
        self.patch(events, "OVERALL_BURST", BURST * 2 + 1)
        self.events = Events(now=self.clock.seconds, clock=self.clock, keep=self.kept.append, last_number=0)
        for _ in range(1000):
            self.ask("loud")
        self.ask("quiet")
        self.assertEqual([event.hostid for event in self.kept], ["loud"] * BURST + ["quiet"])


def documented() -> dict[str, set[str]]:
    """The kinds in docs/events.md, and the details of each."""
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$",
        (REPOSITORY / "docs" / "events.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return {kind: set(re.findall(r"`(\w+)`", details)) for kind, details in rows}


def emitted() -> set[str]:
    """The kinds that anything under cmmd names but their own module, by their names in the source."""
    own = REPOSITORY / "cmmd" / "fleet" / "events.py"
    return {
        node.attr
        for path in (REPOSITORY / "cmmd").rglob("*.py")
        if path != own
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Kind"
    }


class CatalogueTests(SynchronousTestCase):
    def test_every_kind_is_in_it(self) -> None:
        self.assertEqual(list(CATALOGUE), list(Kind))

    def test_it_is_what_is_documented(self) -> None:
        self.assertEqual(documented(), {kind.value: set(entry.keys) for kind, entry in CATALOGUE.items()})

    def test_the_limits_are_those_documented(self) -> None:
        text = " ".join((REPOSITORY / "docs" / "events.md").read_text(encoding="utf-8").split())
        self.assertIn(f" kind {BURST} events about one device", text)
        self.assertIn(f"all devices together {OVERALL_BURST:,} at once", text)
        self.assertEqual((REFILL_S, events.OVERALL_REFILL_S), (10, 1))

    def test_every_kind_is_emitted(self) -> None:
        names = {kind.name for kind in Kind}
        self.assertEqual(emitted() - names, set(), "named in the source, but no kinds")
        missing = names - emitted()
        self.assertEqual(missing, set(), "emitted nowhere")
