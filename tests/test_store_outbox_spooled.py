"""A store that is away, and what its spool and the copy of it make of that."""

from itertools import pairwise
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred

from cmmd.backoff import Backoff
from cmmd.store.interface import DuplicateDevice, StoreError, StoreUnavailable
from cmmd.store.outbox import handover, known, spooled
from cmmd.store.records import Alarm, Device, Event, Numbers, Query, Reading, Row
from tests.shaky_store import AWAY, LOST, WELL, ShakyStore
from tests.spool_world import SpoolWorld
from tests.support import Longest
from tests.test_store_contract import (
    ALARM,
    COMMAND,
    EVENT,
    PLAIN,
    PROFILE,
    READING,
    UNKEEPABLE,
    UPLOAD,
    readings,
)

CLEARED = replace(ALARM, cleared_at=2000)
ENDED = replace(COMMAND, ended_at=2000, outcome="lost")
NEXT = replace(UPLOAD, upload=2)


class _Away(SpoolWorld):
    def numbers(self) -> list[int]:
        """The readings that the store has."""
        return sorted(self.shaky._readings.rows)

    def alarm(self) -> Alarm | None:
        return self.shaky._alarms.rows.get(1)

    def pass_time(self, seconds: float = spooled.LONGEST_RETRY_S) -> None:
        """Let the next attempts come."""
        self.clock.pump([0.5] * int(2 * seconds))

    def away(self, *rows: Row) -> None:
        """Have the store go, with these rows in the spool."""
        self.shaky.state = AWAY
        self.assert_written(*rows)

    def back(self) -> None:
        """Have it return, and the spool be emptied."""
        self.shaky.state = WELL
        self.pass_time()
        self.assert_health(True)
        self.assertEqual(self.start.spool.backlog, 0)


class OutageTests(_Away):
    def test_nothing_goes_to_the_spool_while_all_is_well(self) -> None:
        self.up()
        self.assert_written(READING, ALARM)
        self.assert_health(True)
        self.assertEqual(self.shaky.writes, [[READING, ALARM]])
        self.assertEqual(self.said(), [])
        self.down()

    def test_what_it_does_not_take_waits_and_goes_there_later(self) -> None:
        self.up()
        self.away(READING, ALARM)
        self.assert_health(False, 2)
        self.pass_time()
        self.assert_written(*readings(3), CLEARED, EVENT, COMMAND, UPLOAD, PROFILE)
        self.assert_health(False, 8)
        (line,) = self.said()
        self.assertEqual(line, "the database is unavailable, rows are buffered in the spool: it is away")
        self.back()
        (line,) = self.said()
        self.assertIn("takes rows again; 8 wait", line)
        self.assertEqual((self.numbers(), self.alarm()), ([1, 2, 3], CLEARED))
        self.assert_written(NEXT)
        self.assertEqual(self.shaky.writes[-1], [NEXT])
        self.down()
        self.assertEqual(self.in_the_file("spool.sqlite", "SELECT count(*) FROM reading"), [(0,)])

    def test_a_commit_that_nobody_heard_of(self) -> None:
        self.up()
        self.shaky.state = LOST
        self.assert_written(READING, ALARM)
        self.assert_written(CLEARED)
        self.assertEqual((self.numbers(), self.alarm()), ([1], ALARM))
        self.back()
        self.assertEqual((self.numbers(), self.alarm()), ([1], CLEARED))

    def test_profile_versions_and_alarms_go_first(self) -> None:
        self.patch(handover, "A_HANDFUL", 2)
        self.up()
        self.away(EVENT, *readings(3)[::-1], UPLOAD, COMMAND, ALARM, PROFILE)
        self.shaky.writes.clear()
        self.back()
        first, second, third = readings(3)
        self.assertEqual(self.shaky.writes, [[PROFILE, ALARM], [COMMAND, EVENT], [first, second], [third, UPLOAD]])

    def test_attempts_become_rarer(self) -> None:
        self.patch(spooled, "Backoff", lambda first, cap: Backoff(first, cap, Longest()))
        self.up()
        self.away(READING)
        asked: list[float] = []

        def claim(writer: str) -> Deferred[None]:
            asked.append(self.clock.seconds())
            return self.shaky.write([])

        self.patch(self.shaky, "claim", claim)
        self.pass_time(60)
        gaps = [round(later - sooner) for sooner, later in pairwise(asked)]
        self.assertEqual((asked[0], gaps[:5]), (1.0, [2, 4, 8, 10, 10]))

    def test_it_goes_again_while_the_spool_is_emptied(self) -> None:
        self.patch(handover, "A_HANDFUL", 2)
        self.up()
        self.away(*readings(6))
        self.shaky.state = WELL
        self.shaky.hold()
        self.pass_time(2)
        self.shaky.let_go(2)  # the claim, the first handful
        self.shaky.state = AWAY
        self.shaky.let_go()
        self.assertEqual(self.numbers(), [1, 2])
        self.assert_health(False, 4)
        self.assertEqual(len(self.said()), 3)  # away, takes rows, away
        self.assert_written(replace(READING, number=7))
        self.back()
        self.assertEqual(self.numbers(), [1, 2, 3, 4, 5, 6, 7])

    def test_nothing_passes_what_is_handed_over_last(self) -> None:
        self.up()
        self.away(ALARM)
        self.shaky.state = WELL
        self.shaky.hold()
        self.pass_time(1)
        self.shaky.let_go(1)  # the claim
        self.assertEqual(len(self.shaky.held or ()), 1)  # the alarm is on its way
        newer = replace(ALARM, title="newer")
        written = [self.write(newer), self.write(CLEARED)]
        self.assert_health(False, 3)
        for one in written:
            self.assertNoResult(one)
        self.shaky.let_go()
        self.assertEqual(self.alarm(), CLEARED)
        for one in written:
            self.successResultOf(one)
        self.assertEqual(self.shaky.writes[-3:], [[ALARM], [newer], [CLEARED]])
        self.assert_health(True)

    def test_it_goes_again_while_the_last_are_handed_over(self) -> None:
        self.up()
        self.away(ALARM)
        self.shaky.state = WELL
        self.shaky.hold()
        self.pass_time(1)
        self.shaky.let_go(1)
        waiting = self.write(CLEARED)
        self.shaky.state = LOST
        self.shaky.let_go()
        self.successResultOf(waiting)
        self.assertEqual(self.alarm(), ALARM)
        self.back()
        self.assertEqual(self.alarm(), CLEARED)

    def test_newer_versions_while_older_ones_are_handed_over(self) -> None:
        self.patch(handover, "A_HANDFUL", 2)
        device = replace(PLAIN, number=1)
        olds: list[Row] = [device, ALARM, COMMAND, UPLOAD]
        news: list[Row] = [replace(device, hostname="new"), CLEARED, ENDED, NEXT]
        self.up()
        self.away(*olds)
        self.shaky.state = WELL
        self.shaky.hold()
        self.pass_time(1)
        self.shaky.let_go(1)
        self.assert_written(*news)  # the first two of the old ones are on their way
        self.assert_health(False, 4)
        self.shaky.let_go()
        self.assert_health(True)
        self.assertEqual(self.shaky._devices[1].hostname, "new")
        self.assertEqual((self.alarm(), self.shaky._commands.rows[1], self.shaky._uploads["A"]), (CLEARED, ENDED, NEXT))

    def test_points_that_single_precision_does_not_hold_leave_the_spool(self) -> None:
        self.up()
        self.away(replace(READING, points=(1e39, float("nan"))), replace(EVENT, details={"n": 2**70, "x": 1e999}))
        self.back()
        self.assertEqual(self.numbers(), [1])


class ConcurrentTests(_Away):
    """Several writes on their way when it goes."""

    def test_the_first_one_fails(self) -> None:
        self.up()
        self.shaky.hold()
        first, second, third = self.write(ALARM, READING), self.write(CLEARED), self.write(EVENT)
        self.shaky.state = AWAY
        self.shaky.let_go(1)
        waits = self.write(replace(CLEARED, title="newest"))
        self.shaky.state = WELL
        self.assert_health(False, 3)
        self.pass_time(2)
        self.assertNoResult(waits)  # those before it are still on their way
        self.shaky.let_go(2)
        for one in (first, second, third, waits):
            self.successResultOf(one)
        self.assertEqual(self.alarm(), CLEARED)
        self.assert_health(False, 2)
        self.shaky.let_go()
        self.back()
        self.assertEqual(self.alarm(), replace(CLEARED, title="newest"))
        self.assertEqual(self.numbers(), [1])
        self.assertEqual(self.shaky._events.rows, {1: EVENT})

    def test_all_of_them_fail(self) -> None:
        self.up()
        self.shaky.hold()
        written = [self.write(replace(ALARM, title=f"{n}")) for n in range(9)]
        self.shaky.state = LOST
        self.shaky.let_go()
        for one in written:
            self.successResultOf(one)
        self.assertEqual(len(self.said()), 1)
        self.back()
        self.assertEqual(self.alarm(), replace(ALARM, title="8"))

    def test_taken_after_a_failure_and_the_spool_refuses(self) -> None:
        """An older version is in the spool, and would come over it: it must not be confirmed."""
        self.up()
        self.shaky.hold()
        first, second = self.write(ALARM), self.write(CLEARED, READING)
        self.shaky.state = AWAY
        self.shaky.let_go(1)
        self.successResultOf(first)
        self.start.spool._most_mib = 0
        self.shaky.state = WELL
        self.shaky.let_go()
        self.assert_unavailable(second)
        self.back()
        self.assertEqual(self.alarm(), ALARM)

    def test_wrong_values_in_the_midst(self) -> None:
        self.up()
        self.shaky.hold()
        first, wrong, last = self.write(ALARM), self.write(UNKEEPABLE, CLEARED), self.write(READING)
        self.shaky.state = AWAY
        self.shaky.let_go(1)
        self.shaky.state = WELL
        self.shaky.let_go()
        self.failureResultOf(wrong, TypeError)
        self.successResultOf(first)
        self.successResultOf(last)
        self.back()
        self.assertEqual((self.alarm(), self.numbers()), (ALARM, [1]))

    def test_a_device_that_is_added_fails_in_the_midst(self) -> None:
        self.up()
        self.shaky.hold()
        first, added, last = self.write(ALARM), self.start.store.add_device(PLAIN), self.write(CLEARED)
        self.shaky.let_go(1)
        self.shaky.state = AWAY
        self.shaky.let_go(1)
        waits = self.write(READING)
        self.assertNoResult(waits)
        self.shaky.state = WELL
        self.shaky.let_go(1)
        self.assert_unavailable(added)
        for one in (first, last, waits):
            self.successResultOf(one)
        self.shaky.let_go()
        self.back()
        self.assertEqual((self.alarm(), self.numbers()), (CLEARED, [1]))

    def test_cancelled(self) -> None:
        self.up()
        self.shaky.hold()
        on_its_way = self.write(READING)
        on_its_way.cancel()
        self.failureResultOf(on_its_way, CancelledError)
        self.shaky.state = AWAY
        self.shaky.let_go()
        waits = self.write(EVENT)
        waits.cancel()
        self.successResultOf(waits)
        self.back()
        self.assertEqual((self.numbers(), len(self.shaky._events.rows)), ([1], 1))


class RefusedTests(_Away):
    """Values that are wrong, and a spool that takes nothing."""

    def test_wrong_values_go_back_to_who_wrote_them(self) -> None:
        self.up()
        self.failureResultOf(self.write(UNKEEPABLE), TypeError)
        self.assert_health(True)
        self.away(EVENT)
        self.failureResultOf(self.write(READING, UNKEEPABLE), TypeError)
        self.assert_health(False, 1)
        self.back()
        self.assertEqual(self.numbers(), [])

    def test_the_spool_is_full(self) -> None:
        self.up()
        self.away(READING)
        self.start.spool._most_mib = 0
        self.assertIn("it has its 0 MiB", self.assert_unavailable(self.write(EVENT)))
        self.assertIn("it has its 0 MiB", self.assert_unavailable(self.write()))
        self.assert_health(False, 1)
        self.back()
        self.assert_written(EVENT)
        self.assertEqual((self.numbers(), self.shaky._events.rows), ([1], {1: EVENT}))
        self.assertEqual(len(self.said()), 2)

    def test_the_disk_is_full(self) -> None:
        self.up()
        self.start.spool._spare_mib = 2**40
        self.shaky.state = AWAY
        self.assertIn("of its disk are free", self.assert_unavailable(self.write(EVENT)))
        for _ in range(20):
            self.pass_time(1)
            self.assert_unavailable(self.write(EVENT))
        self.assertEqual(len(self.said()), 1)
        self.assert_health(False)
        self.shaky.state = WELL
        self.pass_time()
        self.assert_written(EVENT)
        self.assert_health(True)

    def test_a_row_that_the_store_refuses_goes_aside(self) -> None:
        self.up()
        bad = replace(READING, number=2, hostid="bad")
        self.away(*readings(1), bad, *readings(300, first=3), ALARM, UPLOAD)
        self.shaky.refuses = lambda row: isinstance(row, Reading) and row.hostid == "bad"
        self.shaky.writes.clear()
        self.back()
        self.assertLess(len(self.shaky.writes), 30)
        self.assertEqual(self.numbers(), [1, *range(3, 303)])
        (line,) = [one for one in self.said() if "refuses" in one]
        self.assertIn("the store refuses 1 rows", line)
        ((kind, row, why),) = self.in_the_file("spool.sqlite", "SELECT * FROM refused")
        self.assertEqual((kind, why), ("Reading", "it does not want Reading"))
        self.assertIn('"hostid":"bad"', row)

    def test_what_was_refused_neither_hides_nor_replaces_newer_ones(self) -> None:
        self.up()
        self.away(ALARM)
        self.shaky.refuses = lambda row: row == ALARM
        self.shaky.state = WELL
        self.pass_time()
        self.assert_health(False)  # it has not taken anything yet
        self.away(replace(ALARM, title="newer"))
        self.back()
        self.assertEqual(self.alarm(), replace(ALARM, title="newer"))
        self.assert_written(CLEARED)
        self.down()
        self.shaky.refuses = lambda row: False
        self.assertEqual(self.up().alarms, [])
        self.pass_time()
        self.assertEqual(self.alarm(), CLEARED)

    def test_a_newer_version_comes_while_the_older_one_is_refused(self) -> None:
        self.up()
        self.away(ALARM)
        self.shaky.state = WELL
        self.shaky.refuses = lambda row: row == ALARM
        self.patch(handover, "A_HANDFUL", 1)
        self.shaky.hold()
        self.pass_time(1)
        self.shaky.let_go(1)
        self.assert_written(CLEARED)
        self.shaky.let_go()
        self.back()
        self.assertEqual(self.alarm(), CLEARED)
        self.assertEqual(self.in_the_file("spool.sqlite", "SELECT count(*) FROM refused"), [(1,)])

    def test_a_store_that_refuses_everything_gets_it_later(self) -> None:
        self.up()
        self.away(*readings(400), ALARM)
        self.shaky.state = WELL
        self.shaky.refuses = lambda row: isinstance(row, Reading)
        self.pass_time(60)
        self.assertEqual((self.alarm(), self.numbers()), (ALARM, []))
        self.assertEqual(self.start.store.health().backlog, 401)
        self.assertEqual(self.in_the_file("spool.sqlite", "SELECT count(*) FROM refused"), [(0,)])
        self.shaky.refuses = lambda row: False
        self.back()
        self.assertEqual(len(self.numbers()), 400)

    def test_a_spool_that_does_not_let_go(self) -> None:
        self.up()
        self.away(READING)
        (self.folder / "spool.sqlite").rename(self.folder / "away.sqlite")
        self.said()
        self.shaky.state = WELL
        self.pass_time(120)
        (line,) = self.said()
        self.assertIn("nothing is moved from the spool to the store", line)
        self.assertIn("No such file", line)
        self.assert_unavailable(self.write(EVENT))
        (self.folder / "away.sqlite").rename(self.folder / "spool.sqlite")
        self.back()
        self.assertEqual(self.numbers(), [1])

    def test_a_bug_is_logged_once(self) -> None:
        self.up()
        self.away(READING)
        self.patch(self.shaky, "claim", None)
        self.pass_time(120)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


class AddDeviceTests(_Away):
    def add(self, hostid: str = "A", **more: Any) -> Deferred[Device]:
        return self.start.store.add_device(replace(PLAIN, hostid=hostid, **more))

    def test_added(self) -> None:
        self.up()
        self.assertEqual(self.successResultOf(self.add()).number, 1)
        self.failureResultOf(self.add(), DuplicateDevice)

    def test_away(self) -> None:
        self.up()
        self.shaky.state = AWAY
        self.assert_unavailable(self.add())
        self.assert_health(False)
        self.shaky.state = WELL
        self.assertEqual(self.successResultOf(self.add()).number, 1)
        self.assert_health(True)


class StartTests(_Away):
    """Killed, and started again."""

    def killed_with(self, *rows: Row) -> None:
        """A start that dies with these rows in the spool."""
        self.up()
        self.assert_written(Event(number=9, at=1, hostid="", kind="first", details={}))
        self.away(*rows)
        self.die()
        self.said()

    def test_what_waits_goes_to_the_store(self) -> None:
        self.killed_with(*readings(3), ALARM, COMMAND, UPLOAD, PROFILE, replace(PLAIN, number=4))
        self.shaky.state = WELL
        kept = self.begin()
        self.assertEqual((kept.alarms, kept.unfinished, kept.uploads), ([ALARM], [COMMAND], [UPLOAD]))
        self.assertEqual((kept.profiles, kept.devices), ([PROFILE], [replace(PLAIN, number=4)]))
        self.assertEqual(kept.numbers, Numbers(reading=3, alarm=1, command=1, event=9))
        self.assert_health(True, 8)
        self.back()
        self.assertEqual(self.numbers(), [1, 2, 3])
        (line,) = self.said()
        self.assertIn("8 rows wait in the spool, and go to the store now", line)

    def test_what_is_written_at_once_comes_after_it(self) -> None:
        """An unfinished command is closed before the reactor runs."""
        self.killed_with(COMMAND)
        self.shaky.state = WELL
        (unfinished,) = self.begin().unfinished
        self.assert_written(replace(unfinished, ended_at=5, outcome="lost"))
        self.back()
        self.assertEqual(self.shaky._commands.rows[1].outcome, "lost")
        self.down()
        self.assertEqual(self.up().unfinished, [])

    def test_it_is_claimed_before_anything_else(self) -> None:
        for first in (lambda: self.write(READING), lambda: self.start.store.add_device(PLAIN), lambda: None):
            self.shaky = ShakyStore()
            order: list[str] = []
            for name in ("claim", "write", "add_device"):
                self.patch(self.shaky, name, self.noting(order, name, getattr(self.shaky, name)))
            self.begin()
            first()
            self.clock.advance(0)
            self.assertEqual(order[0], "claim")
            self.assertEqual(order.count("claim"), 2)  # for the spool as it was, and as it is called from now on
            self.down()

    def test_claimed_under_another_name_while_it_says_nothing(self) -> None:
        """Whenever it is killed, what it has acknowledged is still known to be its own."""
        for steps in range(8):
            self.up()
            self.down()
            self.begin()
            self.shaky.hold()
            self.clock.advance(0)
            written = self.write(replace(EVENT, number=steps + 1))
            self.shaky.let_go(1)
            self.pass_time(8)  # it goes to the spool, and the store is claimed for that once more
            self.successResultOf(written)
            self.shaky.let_go(steps)
            self.die()
            self.shaky.held = None
            self.up()
            self.back()
            self.assertIn(steps + 1, self.shaky._events.rows)
            self.down()

    def noting(self, order: list[str], name: str, call: Any) -> Any:
        def noted(*arguments: Any) -> Any:
            order.append(name)
            return call(*arguments)

        return noted

    def test_it_goes_before_it_is_claimed(self) -> None:
        for rows in ([], [READING]):
            self.begin()
            self.shaky.state = AWAY
            self.clock.advance(0)
            self.assert_health(False)
            self.assert_written(*rows)
            self.shaky.state = WELL
            self.pass_time()
            self.assert_written(EVENT)
            self.assert_health(True)
            self.down()
        self.assertEqual(self.numbers(), [1])

    def test_claim_fails_while_rows_wait(self) -> None:
        self.killed_with(READING)
        self.shaky.state = WELL
        self.begin()
        self.shaky.state = AWAY
        self.clock.advance(0)
        self.back()
        self.assertEqual(self.numbers(), [1])
        self.down()

    def test_another_cmmd_has_written(self) -> None:
        self.killed_with(READING)
        self.shaky.state = WELL
        self.shaky._writer = "another"
        self.assert_no_start(r"spool.sqlite: 1 rows wait here, and another cmmd has written")
        self.assertEqual(self.shaky.writes[1:], [])
        (self.folder / "spool.sqlite").unlink()
        self.up()
        self.assert_written(READING)

    def test_another_store(self) -> None:
        self.killed_with(READING)
        mine, self.shaky = self.shaky, ShakyStore()
        self.assert_no_start(r"spool.sqlite: 1 rows wait here, and they are for another store")
        self.shaky = mine
        self.shaky.state = WELL
        self.up()
        self.back()
        self.down()
        self.shaky = ShakyStore()  # nothing waits any more
        self.up()
        self.away(READING)
        self.back()
        self.assertEqual(self.numbers(), [1])

    def test_killed_before_the_spool_forgets(self) -> None:
        """The store has the rows; the spool still has them, too."""
        self.up()
        self.assert_written(EVENT)
        self.away(*readings(3), ALARM)
        self.shaky.state = WELL
        self.shaky.hold()
        self.pass_time(1)
        self.shaky.let_go(1)
        self.threads.at_once = False
        self.shaky.let_go(1)
        self.die()
        self.threads.at_once = True
        self.shaky.held = None
        self.assertEqual(self.numbers(), [1, 2, 3])
        self.shaky.state = AWAY
        kept = self.up()
        self.assertEqual(kept.numbers.reading, known.RESERVED.reading)
        self.back()
        self.assertEqual(self.numbers(), [1, 2, 3])
        self.assert_health(True)


class AbsentTests(_Away):
    """It is away at the start."""

    def test_nothing_was_ever_known(self) -> None:
        self.shaky.state = AWAY
        self.assert_no_start("^it is away$", StoreUnavailable)
        self.assertEqual(self.said(), [])

    def test_without_a_copy_it_has_to_be_there(self) -> None:
        self.known = False
        self.up()
        self.assert_written(EVENT)
        self.down()
        self.shaky.state = AWAY
        self.assert_no_start("^it is away$", StoreUnavailable)

    def left(self, *rows: Row) -> Device:
        """A store with a device and these rows, and an end of the process."""
        self.up()
        device = self.successResultOf(self.start.store.add_device(PLAIN))
        self.assert_written(*rows)
        self.down()
        self.shaky.state = AWAY
        return device

    def test_what_is_known(self) -> None:
        device = self.left(*readings(3), ALARM, COMMAND, UPLOAD, PROFILE)
        kept = self.up()
        self.assertEqual((kept.devices, kept.profiles, kept.uploads), ([device], [PROFILE], [UPLOAD]))
        self.assertEqual((kept.alarms, kept.unfinished), ([ALARM], [COMMAND]))
        self.assertEqual(kept.numbers.reading, known.RESERVED.reading)
        self.assert_health(False)
        self.assertEqual(len(self.said()), 1)

    def test_what_waits_is_known_too(self) -> None:
        self.left(ALARM, COMMAND)
        self.up()
        self.assert_written(CLEARED, ENDED, replace(READING, number=2_000_000), NEXT)
        self.die()
        kept = self.up()
        self.assertEqual((kept.alarms, kept.unfinished, kept.uploads), ([], [], [NEXT]))
        self.assertEqual(kept.numbers.reading, 2_000_000)
        self.back()
        self.assertEqual((self.alarm(), self.numbers()), (CLEARED, [2_000_000]))

    def test_it_is_asked_nothing_before_it_is_open(self) -> None:
        self.left()
        self.up()
        store = self.start.store
        asked: list[Deferred[Any]] = [
            *(store.readings(Query()), store.alarms(Query()), store.events(Query()), store.commands(Query())),
            *(store.forget(1, 1), store.claim("me"), store.add_device(PLAIN)),
        ]
        for one in asked:
            self.assertEqual(self.assert_unavailable(one), "it is away")

    def test_it_comes_later(self) -> None:
        device = self.left(ALARM)
        self.up()
        self.assert_written(CLEARED, replace(READING, number=1_000_001))
        self.back()
        self.assertEqual((self.alarm(), self.numbers()), (CLEARED, [1_000_001]))
        self.assertEqual(self.shaky._devices[device.number], device)
        self.assertEqual(self.shaky._writer, self.start.store._identity)
        self.assertEqual(len(self.said()), 2)
        self.die()
        self.shaky.state = AWAY
        self.assertGreater(self.up().numbers.reading, 1_000_001)

    def test_killed_before_the_spool_forgets(self) -> None:
        """The store has numbers that the copy does not know of yet."""
        self.left(ALARM)
        self.up()
        reading = replace(READING, number=1_000_001)
        self.assert_written(reading, CLEARED)
        self.shaky.state = WELL
        self.shaky.hold()
        self.pass_time(2)
        self.shaky.let_go(1)
        self.threads.at_once = False
        self.shaky.let_go(1)
        self.assertEqual(self.numbers(), [1_000_001])
        self.die()
        self.threads.at_once = True
        self.shaky.held = None
        self.shaky.state = AWAY
        self.up()
        self.back()
        self.assertEqual((self.alarm(), self.numbers()), (CLEARED, [1_000_001]))

    def test_the_end_comes_while_it_is_copied(self) -> None:
        self.left()
        self.up()
        self.away(ALARM)
        self.shaky.state = WELL
        self.shaky.hold()
        self.pass_time(2)
        self.shaky.let_go(1)
        self.threads.at_once = False
        self.shaky.let_go(1)
        closed = self.start.store.close()
        while len(self.threads):
            self.threads.step()
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.in_the_file("spool.sqlite", "SELECT number FROM alarm"), [(1,)])

    def test_it_comes_and_goes(self) -> None:
        self.left(ALARM)
        self.up()
        self.assert_written(CLEARED)
        self.shaky.hold()
        self.shaky.state = WELL
        self.pass_time(2)
        self.shaky.state = AWAY
        self.shaky.let_go()
        self.pass_time(5)
        self.back()
        self.assertEqual(self.alarm(), CLEARED)

    def test_devices_that_were_not_known(self) -> None:
        self.left()
        self.up()
        self.shaky._put_device(replace(PLAIN, hostid="B", number=2))
        self.back_without_rows()
        self.assertIn("1 devices in the store were not known here", self.said()[-1])
        self.die()
        self.shaky.state = AWAY
        self.assertEqual([one.hostid for one in self.up().devices], ["A", "B"])

    def back_without_rows(self) -> None:
        self.shaky.state = WELL
        self.pass_time()

    def refused(self, why: str) -> None:
        """It is there, and gets nothing."""
        self.shaky.state = WELL
        self.shaky.writes.clear()
        self.pass_time(60)
        self.assertEqual(self.shaky.writes, [])
        self.assertFalse(self.shaky.is_open)
        self.assert_health(False, 1)
        lines = [line for line in self.said() if "nothing is moved from the spool" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn(why, lines[0])
        self.assert_unavailable(self.start.store.add_device(replace(PLAIN, hostid="B")))

    def test_another_cmmd_has_written(self) -> None:
        self.left()
        self.up()
        self.assert_written(READING)
        self.shaky._writer = "another"
        self.refused("another cmmd has written")
        self.shaky._writer = self.start.store._identity  # it was a mistake
        self.back()
        self.assertEqual(self.numbers(), [1])

    def test_another_store(self) -> None:
        self.left()
        self.up()
        self.assert_written(READING)
        self.die()
        mine, self.shaky = self.shaky, ShakyStore()
        self.shaky.state = AWAY
        self.up()
        self.refused("it is not the store that is known here")
        self.die()
        self.shaky = mine
        self.up()
        self.back()
        self.assertEqual(self.numbers(), [1])

    def test_more_was_written_than_is_known(self) -> None:
        self.left()
        self.up()
        self.assert_written(READING)
        self.successResultOf(ShakyStore.write(self.opened(), [replace(READING, number=5_000_000)]))
        self.shaky.is_open = False
        self.refused("more was written to the store than is known here")
        self.die()
        self.assert_no_start("1 rows wait here, and .* their numbers may be taken")
        self.assertEqual(self.numbers(), [5_000_000])

    def opened(self) -> ShakyStore:
        self.shaky.state = WELL
        self.shaky.is_open = True
        self.shaky.writes.clear()
        return self.shaky

    def test_a_newer_schema(self) -> None:
        self.left()
        self.up()
        self.assert_written(READING)
        self.patch(self.shaky, "open", lambda: (_ for _ in ()).throw(StoreError("use a newer cmmd")))
        self.refused("use a newer cmmd")


class CloseTests(_Away):
    def test_before_the_reactor_runs(self) -> None:
        self.begin()
        self.down()
        self.assertEqual(self.shaky._writer, "")

    def test_twice_and_without_an_open(self) -> None:
        self.up()
        self.down()
        self.down()

    def test_on_the_way_to_the_store(self) -> None:
        self.up()
        self.shaky.hold()
        written = self.write(READING)
        self.down()
        self.successResultOf(written)
        self.assertEqual(self.numbers(), [1])

    def test_it_fails_at_the_end(self) -> None:
        self.up()
        self.shaky.hold()
        written = [self.write(ALARM), self.write(READING)]
        self.shaky.state = AWAY
        self.down()
        for one in written:
            self.successResultOf(one)
        self.shaky.held = None
        self.shaky.state = WELL
        self.up()
        self.back()
        self.assertEqual((self.alarm(), self.numbers()), (ALARM, [1]))

    def test_while_rows_wait_for_those_on_their_way(self) -> None:
        self.up()
        self.shaky.hold()
        written = [self.write(ALARM), self.write(READING)]
        self.shaky.state = AWAY
        self.shaky.let_go(1)
        written.append(self.write(CLEARED))
        self.down()
        for one in written:
            self.successResultOf(one)
        self.shaky.held = None
        self.shaky.state = WELL
        self.up()
        self.back()
        self.assertEqual((self.alarm(), self.numbers()), (CLEARED, [1]))

    def test_while_it_is_away(self) -> None:
        self.up()
        self.away(READING)
        self.down()
        self.shaky.state = WELL
        self.up()
        self.back()
        self.assertEqual(self.numbers(), [1])

    def test_while_the_last_are_handed_over(self) -> None:
        self.up()
        self.away(ALARM)
        self.shaky.state = WELL
        self.shaky.hold()
        self.pass_time(1)
        self.shaky.let_go(1)
        written = self.write(CLEARED)
        self.down()
        self.successResultOf(written)
        self.shaky.held = None
        self.up()
        self.back()
        self.assertEqual(self.alarm(), CLEARED)

    def test_nothing_goes_on_afterwards(self) -> None:
        self.up()
        self.away(READING)
        self.down()
        self.assert_unavailable(self.write(EVENT))
        self.pass_time(60)
