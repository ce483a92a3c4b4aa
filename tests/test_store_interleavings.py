"""Many outages, each another one: whatever comes when, nothing acknowledged is lost, doubled or set back."""

import shutil
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from cmmd.store.interface import Snapshot, StoreUnavailable
from cmmd.store.outbox import handover, known
from cmmd.store.records import Alarm, Command, Device, Event, Numbers, Reading, Row
from cmmd.store.sqlite.rows import Key, key
from tests.shaky_store import AWAY, LOST, WELL, ShakyStore
from tests.spool_world import SpoolWorld, Start
from tests.test_store_contract import ALARM, COMMAND, EVENT, PLAIN, READING, UPLOAD

STEPS = 300
HOSTIDS = "ABC"


class Outages:
    """One random history: a daemon, its store, its files, and what it was told.

    :ivar attempts: what was written under each key, in order.
    :ivar newest: the place of the newest of them that was acknowledged.
    """

    def __init__(self, test: "InterleavingTests", random: Random) -> None:
        self.test = test
        self.random = random
        self.attempts: dict[Key, list[Row]] = defaultdict(list)
        self.newest: dict[Key, int] = {}
        self.numbers = Numbers()
        self.versions = 0
        self.on_the_way = 0

    # --- what may happen ---------------------------------------------------------------------------------------------

    def write(self) -> None:
        if self.on_the_way < 6:
            rows = [self.random.choice(self.MAKE)(self) for _ in range(self.random.choice((0, 1, 1, 2, 4)))]
            places = []
            for row in rows:
                places.append((key(row), len(self.attempts[key(row)])))
                self.attempts[key(row)].append(row)
            self.on_the_way += 1
            start = self.test.start
            start.store.write(rows).addBoth(self.settled, start, places)

    def settled(self, outcome: Failure | None, start: Start, places: list[tuple[Key, int]]) -> None:
        if start is not self.test.start:
            return  # nobody has lived to hear it
        self.on_the_way -= 1
        if outcome is not None:
            outcome.trap(StoreUnavailable)
            return
        for one, place in places:
            self.newest[one] = max(self.newest.get(one, 0), place)

    def number(self, kind: str) -> int:
        self.numbers = replace(self.numbers, **{kind: getattr(self.numbers, kind) + 1})
        return int(getattr(self.numbers, kind))

    def version(self) -> int:
        self.versions += 1
        return self.versions

    def a_reading(self) -> Row:
        return replace(READING, number=self.number("reading"), hostid=f"{self.version()}", at=self.random.randrange(9))

    def an_event(self) -> Row:
        return replace(EVENT, number=self.number("event"), kind=f"{self.version()}")

    def an_alarm(self) -> Row:
        there = self.random.randint(1, max(1, self.numbers.alarm))
        number = there if self.numbers.alarm and self.random.random() < 0.8 else self.number("alarm")
        before = self.attempts[Alarm, number]
        is_over = bool(before) and (before[-1].cleared_at is not None or self.random.random() < 0.2)  # type: ignore[union-attr]
        return replace(ALARM, number=number, title=f"{self.version()}", cleared_at=5 if is_over else None)

    def a_command(self) -> Row:
        there = self.random.randint(1, max(1, self.numbers.command))
        number = there if self.numbers.command and self.random.random() < 0.7 else self.number("command")
        before = self.attempts[Command, number]
        is_over = bool(before) and (before[-1].outcome is not None or self.random.random() < 0.3)  # type: ignore[union-attr]
        return replace(COMMAND, number=number, reply=f"{self.version()}", outcome="done" if is_over else None)

    def a_device(self) -> Row:
        place = self.random.randrange(len(HOSTIDS))
        return replace(PLAIN, number=place + 1, hostid=HOSTIDS[place], hostname=f"{self.version()}")

    def an_upload(self) -> Row:
        return replace(UPLOAD, hostid=self.random.choice(HOSTIDS), upload=self.version())

    MAKE: tuple[Callable[["Outages"], Row], ...] = (
        a_reading,
        a_reading,
        an_event,
        an_alarm,
        a_command,
        a_device,
        an_upload,
    )

    def answer(self) -> None:
        """The store carries out what it was asked first; or that gets lost on the way there or back."""
        shaky = self.test.shaky
        if shaky.held:
            state = shaky.state
            if state == WELL and self.random.random() < 0.1:
                shaky.state = self.random.choice((AWAY, LOST))
            shaky.let_go(1)
            shaky.state = state

    def turn(self) -> None:
        self.test.shaky.state = self.random.choice((WELL, WELL, WELL, AWAY, LOST))

    def work(self) -> None:
        """A thread of SQLite does something."""
        if len(self.test.threads):
            self.test.threads.step()

    def bound(self) -> None:
        """The spool takes nothing any more, or does again."""
        self.test.start.spool._most_mib = self.random.choice((0, 100, 100))

    def time(self) -> None:
        self.test.clock.advance(self.random.choice((0.0, 0.5, 5.0)))

    def crash(self) -> None:
        """The process is killed; what it has asked for last may be done all the same."""
        if self.random.random() < 0.5:
            self.work()
        if self.random.random() < 0.5:
            self.answer()
        self.test.die()
        self.start()

    def end(self) -> None:
        closed = self.test.start.store.close()
        for _ in range(1000):
            if closed.called:
                break
            self.work()
            self.answer()
        self.test.successResultOf(closed)
        self.test.assertEqual(self.test.clock.getDelayedCalls(), [])
        self.test.die()
        self.start()

    HAPPENS = ((write, 30), (answer, 90), (work, 120), (time, 30), (turn, 6), (bound, 1), (crash, 1), (end, 1))

    def start(self) -> None:
        """Until it succeeds: a store that was never known has to be there."""
        test = self.test
        self.on_the_way = 0
        test.threads.at_once = True
        if not test.known:
            test.shaky.state = WELL
        opened = test._open()
        if isinstance(test.failed_with(opened), StoreUnavailable):
            test.shaky.state = WELL
            opened = test._open()
        kept = test.successResultOf(opened)
        test.threads.at_once = False
        self.check_kept(kept)
        self.numbers = kept.numbers

    def check_kept(self, kept: Snapshot) -> None:
        """What a start is told is what was acknowledged last, or newer."""
        rows: tuple[Row, ...] = (*kept.devices, *kept.alarms, *kept.unfinished)
        there = {key(row): row for row in rows}
        for one, place in self.newest.items():
            kind, number = one
            if kind in (Device, Alarm, Command):
                possible = self.attempts[one][place:]
                if one in there:
                    self.test.assertIn(there[one], possible)
                else:
                    self.test.assertTrue(any(known._is_over(row) for row in possible), one)
            name = {Reading: "reading", Event: "event", Alarm: "alarm", Command: "command"}.get(kind)
            if name is not None:
                self.test.assertLessEqual(number, getattr(kept.numbers, name))

    # --- the end -----------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        test = self.test
        test.shaky.state = WELL
        test.start.spool._most_mib = 100
        for _ in range(3000):
            if test.shaky.held:
                test.shaky.let_go(1)
            elif len(test.threads):
                test.threads.step()
            elif self.on_the_way or test.start.store.health().backlog or test.start.store._recovering is not None:
                test.clock.advance(5)
            else:
                return
        test.fail(f"it does not recover: {test.start.store.health()}, {test.lines[-5:]}")

    def check(self) -> None:
        shaky = self.test.shaky
        self.test.assertEqual(self.test.in_the_file("spool.sqlite", "SELECT * FROM refused"), [])
        shelves = (shaky._readings, shaky._events, shaky._alarms, shaky._commands)
        rows: list[Row] = [row for shelf in shelves for row in shelf.rows.values()]
        rows += [*shaky._uploads.values(), *shaky._devices.values()]
        there = {key(row): row for row in rows}
        self.test.assertEqual(len(there), len(rows))
        for one, place in self.newest.items():
            self.test.assertIn(there.get(one), self.attempts[one][place:], (one, place))
        for one, row in there.items():
            self.test.assertIn(row, self.attempts[one])


class InterleavingTests(SpoolWorld):
    SEEDS = range(20)

    def setUp(self) -> None:
        super().setUp()
        self.patch(handover, "A_HANDFUL", 5)
        self.patch(known, "RESERVED", Numbers(reading=30, event=30, alarm=30, command=30))

    def failed_with(self, asked: Deferred[Any]) -> object:
        """Why it failed; None: it has not."""
        errors: list[object] = []

        def note(failure: Failure) -> Failure:
            errors.append(failure.value)
            return failure

        asked.addErrback(note)
        if errors:
            asked.addErrback(lambda _: None)
        return errors[0] if errors else None

    def run_one(self, seed: int) -> None:
        random = Random(seed)
        self.clock = Clock()
        self.shaky = ShakyStore()
        self.shaky.hold()
        self.known = bool(seed % 2)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        outages = Outages(self, random)
        outages.start()
        whats, weights = zip(*Outages.HAPPENS, strict=True)
        for what in random.choices(whats, weights, k=STEPS):
            what(outages)
        outages.recover()
        outages.check()
        self.die()

    def test_any(self) -> None:
        for seed in self.SEEDS:
            try:
                self.run_one(seed)
            except BaseException:
                print(f"seed {seed}")
                raise
