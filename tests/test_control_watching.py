"""Watchers: gathered, bounded, one box at a time."""

import json

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.protocols.amp import MAX_VALUE_LENGTH
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control.watching import GATHER_S, MOST_COMMANDS, MOST_EVENTS, STALLED_S, Watcher
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.store.records import Command, Event
from tests.control_world import ControlWorld
from tests.world import HOSTID

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"


def event(number: int, hostid: str = HOSTID, text: str = "") -> Event:
    return Event(number=number, at=number, hostid=hostid, kind="online", details={"address": text})


def command(number: int, hostid: str = HOSTID, sent_at: int | None = None) -> Command:
    return Command(
        number=number,
        hostid=hostid,
        kind="reset",
        request="",
        requester="x",
        door="amp",
        uid="123456",
        accepted_at=1,
        sent_at=sent_at,
    )


class WatcherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.boxes: list[dict[str, object]] = []
        self.unanswered: list[Deferred[object]] = []
        self.given_up: list[str] = []
        self.watcher = self.new()

    def new(self, hostid: str | None = None) -> Watcher:
        return Watcher(send=self.send, give_up=self.given_up.append, clock=self.clock, hostid=hostid)

    def send(self, news: dict[str, object]) -> Deferred[object]:
        texts = {name: bytes(news[name]) for name in ("events", "commands")}  # type: ignore[call-overload]
        self.assertTrue(all(len(text) <= MAX_VALUE_LENGTH for text in texts.values()))
        self.boxes.append({**news, **{name: json.loads(text) for name, text in texts.items()}})
        self.unanswered.append(Deferred())
        return self.unanswered[-1]

    def numbers(self, box: int = -1, what: str = "events") -> list[int]:
        listed = self.boxes[box][what]
        assert isinstance(listed, list)
        return [one["number"] for one in listed]

    def answer(self) -> None:
        self.unanswered.pop(0).callback({})

    def record(self, hostid: str, upload: int) -> LiveRecord:
        control = ControlWorld()
        control.world.register(hostid)
        record = control.fleet.live[hostid]
        record.upload = upload
        return record

    def test_gathers(self) -> None:
        self.watcher.event(event(1))
        self.clock.advance(GATHER_S / 2)
        self.watcher.event(event(2))
        self.assertEqual(self.boxes, [])
        self.clock.advance(GATHER_S / 2)
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual(self.boxes[0]["missed"], 0)

    def test_one_box_at_a_time(self) -> None:
        self.watcher.event(event(1))
        self.clock.advance(GATHER_S)
        self.watcher.event(event(2))
        self.clock.advance(10)
        self.assertEqual(len(self.boxes), 1)
        self.answer()
        self.clock.advance(GATHER_S)
        self.assertEqual(self.numbers(), [2])
        self.answer()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slow_one_hears_what_it_has_missed(self) -> None:
        self.watcher.event(event(1))
        self.clock.advance(GATHER_S)
        for number in range(2, MOST_EVENTS + 12):
            self.watcher.event(event(number))
        self.answer()
        self.clock.advance(GATHER_S)
        self.assertEqual(self.boxes[-1]["missed"], 10)
        self.assertEqual(self.numbers()[0], 12)
        seen = self.numbers()
        while self.unanswered:
            self.answer()
            self.clock.advance(GATHER_S)
            if self.unanswered:
                self.assertEqual(self.boxes[-1]["missed"], 0)
                seen += self.numbers()
        self.assertEqual(seen, list(range(12, MOST_EVENTS + 12)))

    def test_long_events_go_into_several_boxes(self) -> None:
        for number in range(1, 4):
            self.watcher.event(event(number, text="x" * 40_000))
        seen = []
        for _ in range(3):
            self.clock.advance(GATHER_S)
            seen += self.numbers()
            self.answer()
        self.assertEqual(seen, [1, 2, 3])

    def test_uploads_once_a_device(self) -> None:
        for upload in (1, 2, 3):
            self.watcher.upload(self.record(HOSTID, upload))
        self.watcher.upload(self.record(OTHER, 9))
        self.clock.advance(GATHER_S)
        self.assertEqual(self.boxes[0]["live"], {HOSTID: 3, OTHER: 9})

    def test_uploads_of_many_devices_go_into_several_boxes(self) -> None:
        record = self.record(HOSTID, 1)
        hostids = [f"{number:024}" for number in range(3000)]
        for record.hostid in hostids:
            self.watcher.upload(record)
        seen: list[str] = []
        self.clock.advance(GATHER_S)
        while self.unanswered:
            live = self.boxes[-1]["live"]
            assert isinstance(live, dict)
            self.assertLess(len(json.dumps(live)), MAX_VALUE_LENGTH)
            seen += live
            self.answer()
            self.clock.advance(GATHER_S)
        self.assertEqual(seen, hostids)
        self.assertGreater(len(self.boxes), 1)

    def test_commands_as_they_are_now(self) -> None:
        for one in (command(1), command(2), command(1, sent_at=5)):
            self.watcher.command(one)
        self.clock.advance(GATHER_S)
        self.assertEqual(self.numbers(what="commands"), [2, 1])
        self.assertEqual(self.boxes[0]["missed"], 0)

    def test_commands_are_bounded(self) -> None:
        for number in range(MOST_COMMANDS + 3):
            self.watcher.command(command(number))
        self.clock.advance(GATHER_S)
        self.assertEqual((self.boxes[0]["missed"], self.numbers(what="commands")[0]), (3, 3))

    def test_of_one_device(self) -> None:
        watcher = self.new(OTHER)
        watcher.event(event(1))
        watcher.upload(self.record(HOSTID, 1))
        watcher.command(command(1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        watcher.event(event(2, OTHER))
        watcher.upload(self.record(OTHER, 7))
        watcher.command(command(3, OTHER))
        self.clock.advance(GATHER_S)
        self.assertEqual((self.numbers(), self.numbers(what="commands")), ([2], [3]))
        self.assertEqual(self.boxes[0]["live"], {OTHER: 7})

    def test_one_that_does_not_answer_is_given_up(self) -> None:
        told: list[str] = []
        self.watcher.follow(lambda: told.append("unsubscribed"))
        self.watcher.event(event(1))
        self.clock.advance(GATHER_S)
        self.clock.advance(STALLED_S - 1)
        self.assertEqual(self.given_up, [])
        self.clock.advance(1)
        self.assertEqual((len(self.given_up), told), (1, ["unsubscribed"]))
        self.answer()
        self.watcher.event(event(2))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_cannot_take_it_is_given_up(self) -> None:
        self.watcher.event(event(1))
        self.clock.advance(GATHER_S)
        self.unanswered[0].errback(ValueError())
        self.assertEqual(self.given_up, ["news cannot be taken: ValueError"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_while_unanswered(self) -> None:
        self.watcher.event(event(1))
        self.clock.advance(GATHER_S)
        self.watcher.stop()
        self.unanswered[0].errback(ConnectionDone())
        self.assertEqual((self.given_up, self.clock.getDelayedCalls()), ([], []))
