"""The copy of what a start without the database has to know."""

from typing import Any, cast

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from cmmd.store.interface import Snapshot, StoreUnavailable
from cmmd.store.outbox import known
from cmmd.store.outbox.known import UPLOADS_S, Known
from cmmd.store.outbox.overlay import with_rows
from cmmd.store.records import Numbers, Row
from tests.spool_world import SpoolWorld
from tests.test_store_contract import (
    ALARM,
    COMMAND,
    EVENT,
    FULL,
    FULL_ALARM,
    FULL_COMMAND,
    PLAIN,
    PROFILE,
    READING,
    UPLOAD,
)

A, B = replace(PLAIN, number=1), replace(FULL, number=2)
NOTHING = Snapshot(devices=[], profiles=[], uploads=[], alarms=[], identity="the store")
CLEARED = replace(ALARM, cleared_at=2000)
ENDED = replace(COMMAND, ended_at=2000, outcome="done")


class _Copies(SpoolWorld):
    def setUp(self) -> None:
        super().setUp()
        self.copy = Known(self.folder / "known.sqlite", cast("Any", self.clock), self.clock)
        self.addCleanup(self.copy.close)

    def open(self, now: Snapshot | None = NOTHING) -> Snapshot:
        """Open it, and have it follow a store that has this."""
        self.successResultOf(self.copy.close())  # where it is open: nothing opens a file twice
        before = self.successResultOf(self.copy.open())
        if now is not None:
            self.copy.take_over(before, now)
        return before

    def reopened(self) -> Snapshot:
        self.successResultOf(self.copy.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return self.open(now=None)

    def follow(self, *rows: Row) -> Deferred[None]:
        return self.copy.follow(rows)

    def followed(self, *rows: Row) -> None:
        self.successResultOf(self.follow(*rows))

    def assert_known(self, *rows: Row) -> None:
        """These rows and no others."""
        kept = self.reopened()
        expected = with_rows(replace(NOTHING, numbers=kept.numbers, identity=kept.identity, writer="the store"), rows)
        self.assertEqual(kept, expected)


class FollowTests(_Copies):
    def test_nothing_is_known_at_first(self) -> None:
        self.assertEqual(self.open(now=None).numbers, Numbers())
        self.assertEqual(self.reopened().numbers, Numbers())

    def test_what_it_follows(self) -> None:
        self.open()
        self.followed(A, B, PROFILE, ALARM, FULL_ALARM, COMMAND, FULL_COMMAND, READING, EVENT, UPLOAD)
        self.assert_known(A, B, PROFILE, ALARM, COMMAND, UPLOAD)

    def test_what_is_over_goes(self) -> None:
        self.open()
        self.followed(ALARM, COMMAND, replace(ALARM, number=2))
        self.followed(CLEARED, ENDED)
        self.assert_known(replace(ALARM, number=2))
        self.open()
        self.followed(COMMAND, ALARM, CLEARED, ENDED)
        self.assert_known()

    def test_of_several_the_last_one(self) -> None:
        self.open()
        newer = replace(A, hostname="newer")
        self.followed(A, newer, ALARM, replace(ALARM, title="newer"), UPLOAD, replace(UPLOAD, upload=2))
        self.assert_known(newer, replace(ALARM, title="newer"), replace(UPLOAD, upload=2))

    def test_it_is_there_when_it_says_so(self) -> None:
        self.open()
        self.threads.at_once = False
        copied = self.follow(A)
        self.assertNoResult(copied)
        self.threads.step()
        self.successResultOf(copied)
        self.successResultOf(self.follow(READING, UPLOAD))  # for these nobody waits
        self.threads.at_once = True
        self.assertEqual(self.in_the_file("known.sqlite", "SELECT hostid FROM device"), [("A",)])

    def test_last_uploads_are_copied_now_and_then(self) -> None:
        self.open()
        count = "SELECT upload FROM last_upload"
        for upload in range(1, 5):
            self.followed(replace(UPLOAD, upload=upload))
            self.clock.advance(UPLOADS_S / 4 - 0.01)
            self.assertEqual(self.in_the_file("known.sqlite", count), [])
        self.clock.advance(1)
        self.assertEqual(self.in_the_file("known.sqlite", count), [(4,)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_waits_long_for_them(self) -> None:
        self.patch(known, "AT_ONCE", 10)
        self.open()
        uploads = [replace(UPLOAD, hostid=f"{n}") for n in range(35)]
        self.followed(*uploads)
        self.threads.at_once = False
        self.clock.advance(UPLOADS_S)
        copied = self.follow(ALARM)
        self.followed(replace(uploads[34], upload=2))
        for _ in range(2):
            self.assertNoResult(copied)
            self.threads.step()
        self.successResultOf(copied)
        self.assertEqual(self.in_the_file("known.sqlite", "SELECT count(*) FROM last_upload"), [(20,)])
        self.threads.at_once = True
        self.threads.step()
        self.assert_known(ALARM, *uploads[:34], replace(uploads[34], upload=2))

    def test_the_end_comes_while_they_are_copied(self) -> None:
        self.patch(known, "AT_ONCE", 10)
        self.open()
        uploads = [replace(UPLOAD, hostid=f"{n}") for n in range(35)]
        self.followed(*uploads)
        self.threads.at_once = False
        self.clock.advance(UPLOADS_S)
        self.followed(replace(uploads[34], upload=2))
        closed = self.copy.close()
        while len(self.threads):
            self.threads.step()
        self.successResultOf(closed)
        self.threads.at_once = True
        self.assert_known(*uploads[:34], replace(uploads[34], upload=2))

    def test_the_end_copies_the_rest(self) -> None:
        self.open()
        self.followed(UPLOAD)
        self.assert_known(UPLOAD)


class TakeOverTests(_Copies):
    def test_the_copy_becomes_what_the_store_has(self) -> None:
        self.open()
        self.followed(A, B, PROFILE, ALARM, replace(ALARM, number=2), COMMAND, UPLOAD)
        now = with_rows(NOTHING, [replace(A, hostname="new"), B, replace(ALARM, number=2), replace(ALARM, number=3)])
        self.copy.take_over(self.reopened(), now)
        self.assert_known(*now.devices, *now.alarms)

    def test_hostids_that_have_other_numbers(self) -> None:
        self.open(with_rows(NOTHING, [A, B]))
        swapped = [replace(A, number=2), replace(B, number=1)]
        self.copy.take_over(self.reopened(), with_rows(NOTHING, swapped))
        self.assert_known(*swapped)

    def test_another_store(self) -> None:
        self.open(with_rows(NOTHING, [A]))
        self.copy.take_over(self.reopened(), replace(NOTHING, identity="another"))
        kept = self.reopened()
        self.assertEqual((kept.devices, kept.writer), ([], "another"))

    def test_all_or_nothing(self) -> None:
        self.open(with_rows(NOTHING, [A]))
        before = self.reopened()
        self.copy.take_over(
            before,
            replace(with_rows(NOTHING, [B, replace(A, hostname=cast("str", b"\xff"), number=2**63)]), identity="x"),
        )
        kept = self.reopened()
        self.assertEqual((kept.devices, kept.numbers), ([], Numbers()))  # nor is half of it


class NumberTests(_Copies):
    def setUp(self) -> None:
        super().setUp()
        self.patch(known, "RESERVED", Numbers(reading=100, event=100, alarm=10, command=10))

    def test_a_start_begins_behind_the_reserve(self) -> None:
        self.open(replace(NOTHING, numbers=Numbers(reading=7, event=5, alarm=3)))
        self.assertEqual(self.reopened().numbers, Numbers(reading=107, event=105, alarm=13, command=10))

    def test_it_is_renewed_when_half_is_gone(self) -> None:
        self.open()
        self.followed(replace(READING, number=50))
        self.assertEqual(self.reopened().numbers.reading, 100)
        self.open()
        for rows in (replace(READING, number=51), replace(ALARM, number=6), replace(ENDED, number=6)):
            self.followed(rows)
        self.assertEqual(self.reopened().numbers, Numbers(reading=151, event=100, alarm=16, command=16))

    def test_it_is_there_before_it_is_said(self) -> None:
        self.open()
        self.threads.at_once = False
        self.assertNoResult(self.follow(replace(READING, number=51)))
        self.threads.step()
        self.threads.at_once = True

    def test_one_that_was_not_written_does_not_count(self) -> None:
        self.open()
        (self.folder / "known.sqlite").rename(self.folder / "moved")
        self.followed(replace(READING, number=60))
        (self.folder / "moved").rename(self.folder / "known.sqlite")
        self.followed(replace(READING, number=61))
        self.assertEqual(self.reopened().numbers.reading, 161)
        self.assertEqual(len(self.said()), 1)

    def test_when_it_is_used_up_the_copy_goes(self) -> None:
        self.open()
        self.followed(A)
        connection = self.copy._file._threads.writer._connection  # type: ignore[union-attr]
        connection.execute("PRAGMA query_only = ON")  # the disk is full
        for number in range(1, 200, 10):  # with no other rows that were to be copied, until numbers are
            self.followed(replace(READING, number=number))
            self.assertEqual((self.folder / "known.sqlite").exists(), number <= 50, number)
        self.assertEqual(len(self.said()), 1)
        kept = self.reopened()
        self.assertEqual((kept.numbers, kept.devices), (Numbers(), []))


class FailureTests(_Copies):
    def test_the_store_goes_on_without_it(self) -> None:
        self.open()
        connection = self.copy._file._threads.writer._connection  # type: ignore[union-attr]
        connection.execute("PRAGMA query_only = ON")
        for n in range(5):
            self.followed(replace(A, hostname=f"{n}"), CLEARED, UPLOAD)
            self.clock.advance(UPLOADS_S)
            self.assertFalse((self.folder / "known.sqlite").exists())
        (line,) = self.said()
        self.assertIn("is behind the store, and removed", line)
        connection.execute("PRAGMA query_only = OFF")
        self.followed(A)
        self.assertEqual(self.reopened().devices, [])  # what is no longer so is not believed

    def test_values_that_only_this_file_does_not_take(self) -> None:
        self.open()
        self.followed(A)
        self.followed(replace(A, module_port=2**63))
        self.followed(B)
        self.assertEqual(self.reopened().devices, [])

    def test_it_cannot_be_opened(self) -> None:
        (self.folder / "known.sqlite").mkdir()
        self.failureResultOf(self.copy.open(), StoreUnavailable)

    def test_closed_without_an_open(self) -> None:
        self.successResultOf(self.copy.close())
