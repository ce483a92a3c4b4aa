"""The spool: a file of rows that wait for another store."""

import os
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from cmmd.store.interface import SchemaTooNew, Snapshot, StoreError, StoreUnavailable
from cmmd.store.outbox.spool import Spool
from cmmd.store.records import Alarm, Numbers, Row
from cmmd.store.sqlite.store import MIB
from tests.spool_world import SpoolWorld
from tests.test_store_contract import (
    ALARM,
    COMMAND,
    EVENT,
    FULL,
    FULL_ALARM,
    FULL_COMMAND,
    FULL_EVENT,
    FULL_READING,
    FULL_UPLOAD,
    PLAIN,
    PROFILE,
    READING,
    UNKEEPABLE,
    UPLOAD,
    readings,
)

EVERYTHING: list[Row] = [
    *(replace(PLAIN, number=1), replace(FULL, number=2), PROFILE, ALARM, FULL_ALARM),
    *(COMMAND, FULL_COMMAND, EVENT, FULL_EVENT, READING, FULL_READING, FULL_UPLOAD, UPLOAD),
]
"""In the order in which they go: FULL's hostid comes before A."""


class _Spools(SpoolWorld):
    def open(self, **more: Any) -> Snapshot:
        defaults = {"most_mib": 100, "spare_mib": 0}
        self.spool = Spool(
            self.folder / "spool.sqlite", cast("IReactorFromThreads", self.clock), **{**defaults, **more}
        )
        kept = self.successResultOf(self.spool.open())
        self.addCleanup(self.spool.close)
        return kept

    def close(self) -> None:
        self.successResultOf(self.spool.close())

    def put(self, *rows: Row) -> None:
        self.successResultOf(self.spool.write(rows))

    def oldest(self, limit: int = 1000) -> list[Row]:
        return self.successResultOf(self.spool.oldest(limit))

    def discard(self) -> None:
        self.successResultOf(self.spool.discard())


class InAndOutTests(_Spools):
    def test_every_kind(self) -> None:
        self.open()
        self.put(*EVERYTHING[::-1])
        self.assertEqual(self.spool.backlog, len(EVERYTHING))
        self.assertEqual(self.oldest(), EVERYTHING)
        self.discard()
        self.assertEqual((self.oldest(), self.spool.backlog), ([], 0))
        for table in ("device", "profile", "point", "reading", "last_upload", "alarm", "event", "command"):
            self.assertEqual(self.in_the_file("spool.sqlite", f"SELECT count(*) FROM {table}"), [(0,)])

    def test_a_handful_at_a_time(self) -> None:
        self.open()
        self.put(*EVERYTHING)
        gone: list[Row] = []
        while rows := self.oldest(4):
            gone += rows
            self.discard()
            self.assertEqual(self.spool.backlog, len(EVERYTHING) - len(gone))
        self.assertEqual(gone, EVERYTHING)

    def test_readings_go_in_the_order_of_time(self) -> None:
        self.open()
        rows = [replace(READING, number=n, at=at) for n, at in ((3, 5), (1, 9), (2, 5), (4, 1))]
        self.put(*rows)
        self.assertEqual([row.number for row in self.oldest() if isinstance(row, type(READING))], [4, 2, 3, 1])

    def test_what_is_replaced_meanwhile_stays(self) -> None:
        self.open()
        self.put(*EVERYTHING)
        cleared = replace(ALARM, cleared_at=5)
        self.oldest()
        self.put(cleared, UPLOAD)  # the same once more counts as newer
        self.put(replace(READING, number=7))
        self.discard()
        self.assertEqual(self.oldest(), [cleared, replace(READING, number=7), UPLOAD])
        self.assertEqual(self.spool.backlog, 3)

    def test_what_comes_before_the_question_is_in_the_answer(self) -> None:
        self.open()
        self.threads.at_once = False
        written = [self.spool.write([one]) for one in readings(3)]
        asked = self.spool.oldest(10)
        late = self.spool.write([ALARM])
        discarded = self.spool.discard()
        while len(self.threads):
            self.threads.step()
        self.assertEqual(self.successResultOf(asked), readings(3))
        for one in (*written, late, discarded):
            self.successResultOf(one)
        self.assertEqual(self.spool.backlog, 1)

    def test_the_count_is_of_rows_not_of_writes(self) -> None:
        self.open()
        for _ in range(3):
            self.put(*EVERYTHING)
            self.failureResultOf(self.spool.write([replace(READING, number=99), UNKEEPABLE]), TypeError)
            self.assertEqual(self.spool.backlog, len(EVERYTHING))
        self.close()
        self.open()
        self.assertEqual(self.spool.backlog, len(EVERYTHING))

    def test_a_write_and_what_takes_it_back(self) -> None:
        """Where the store fails as a whole, what was counted in its transaction does not count."""
        self.open()
        self.put(READING)
        connection = self.spool._threads.writer._connection  # type: ignore[union-attr]
        connection.execute("PRAGMA max_page_count = 1")
        large = [replace(one, image=bytes(5000)) for one in readings(50, first=2)]
        self.assert_unavailable(self.spool.write(large))
        connection.execute("PRAGMA max_page_count = 100000")
        self.put(EVENT)
        self.assertEqual(self.spool.backlog, 2)

    def test_it_shrinks(self) -> None:
        self.open()
        self.put(*[replace(one, image=bytes(1000)) for one in readings(2000)])
        self.close()
        full = (self.folder / "spool.sqlite").stat().st_size
        self.open()
        while self.oldest(500):
            self.discard()
        self.close()
        self.assertGreater(full, 2 * MIB)
        self.assertLess((self.folder / "spool.sqlite").stat().st_size, MIB / 5)


class StartTests(_Spools):
    def test_state(self) -> None:
        self.open()
        self.put(*EVERYTHING)
        self.oldest()
        self.close()
        kept = self.open()
        self.assertEqual((kept.devices, kept.alarms), ([], []))
        numbers, *rows = self.spool.take_state()
        self.assertEqual(numbers, Numbers(reading=FULL_READING.number, alarm=2, event=2, command=2))
        self.assertEqual(numbers, kept.numbers)
        self.assertEqual(rows, [row for row in EVERYTHING if row not in (READING, FULL_READING, EVENT, FULL_EVENT)])
        self.assertEqual(self.spool.take_state(), [])

    def test_numbers_outlive_their_rows(self) -> None:
        self.open()
        self.put(*readings(5), EVENT)
        self.oldest()
        self.discard()
        self.close()
        self.assertEqual(self.open().numbers, Numbers(reading=5, event=1))

    def test_whose_rows_they_are(self) -> None:
        mine = self.open()
        self.assertEqual(mine.writer, "")
        self.spool.belong_to("a store")
        self.close()
        self.assertEqual(self.open().writer, "")
        self.spool.belong_to("a store")
        self.put(READING)
        self.close()
        kept = self.open()
        self.assertEqual((kept.identity, kept.writer), (mine.identity, "a store"))
        self.put(EVENT)
        self.successResultOf(self.spool.disown())
        self.put(ALARM)
        self.close()
        self.assertEqual(self.open().writer, "")

    def test_it_cannot_be_opened(self) -> None:
        (self.folder / "spool.sqlite").mkdir()
        self.spool = Spool(self.folder / "spool.sqlite", cast("Any", self.clock), most_mib=1, spare_mib=0)
        self.assertIn("spool.sqlite", self.assert_unavailable(self.spool.open()))

    def test_of_a_later_version(self) -> None:
        self.open()
        self.close()
        self.in_the_file("spool.sqlite", "PRAGMA user_version = 999")
        self.failureResultOf(self.spool.open(), SchemaTooNew)


class BoundTests(_Spools):
    def test_it_does_not_become_larger(self) -> None:
        self.open(most_mib=1)
        number = 0
        while self.pages() * 4096 < MIB:
            self.put(*[replace(one, image=bytes(500)) for one in readings(100, first=number + 1)])
            number += 100
        self.close()
        size = (self.folder / "spool.sqlite").stat().st_size
        self.assertTrue(MIB <= size < 1.2 * MIB, size)
        self.open(most_mib=1)
        self.assertEqual(self.spool.backlog, number)
        for rows in ([EVENT], []):
            self.assertRegex(self.assert_unavailable(self.spool.write(rows)), r"spool.sqlite: it has its 1 MiB")
        self.oldest(200)
        self.discard()
        self.put(EVENT)
        self.assertEqual(self.spool.backlog, number - 199)

    def pages(self) -> int:
        ((pages,),) = self.in_the_file("spool.sqlite", "PRAGMA page_count")
        return int(pages)

    def test_it_leaves_space_on_the_disk(self) -> None:
        self.open(spare_mib=100)
        self.put(READING)
        free = [99 * MIB]
        self.patch(os, "statvfs", lambda path: os.statvfs_result((1, 1, free[0], free[0], free[0], 0, 0, 0, 0, 255)))
        for rows in ([EVENT], []):
            self.assertRegex(self.assert_unavailable(self.spool.write(rows)), "less than 100 MiB of its disk are free")
        self.oldest()
        self.discard()  # this goes all the same
        self.assertEqual(self.spool.backlog, 0)
        free[0] += 2 * MIB
        self.put(EVENT)


class AsideTests(_Spools):
    def test_it_keeps_them_for_people(self) -> None:
        self.open()
        self.put(*EVERYTHING)
        self.oldest()
        self.successResultOf(self.spool.refuse([(row, f"{n}") for n, row in enumerate(EVERYTHING)]))
        self.assertEqual(self.spool.backlog, 0)
        self.discard()
        rows = self.in_the_file("spool.sqlite", "SELECT kind, row, why FROM refused")
        self.assertEqual(
            [(kind, why) for kind, _, why in rows], [(type(r).__name__, f"{n}") for n, r in enumerate(EVERYTHING)]
        )
        self.close()
        self.open()
        self.assertEqual((self.spool.backlog, self.oldest()), (0, []))
        self.assertEqual(self.spool.take_state()[1:], [])

    def test_newer_versions_stay(self) -> None:
        self.open()
        self.put(ALARM, READING)
        self.oldest()
        self.put(replace(ALARM, cleared_at=5))
        self.successResultOf(self.spool.refuse([(ALARM, "no")]))
        self.discard()
        self.assertEqual(self.oldest(), [replace(ALARM, cleared_at=5)])


class DamageTests(_Spools):
    def damaged(self, *statements: str) -> None:
        self.open()
        self.put(*EVERYTHING, *[replace(ALARM, number=n) for n in range(3, 100)])
        self.close()
        for statement in statements:
            self.in_the_file("spool.sqlite", statement)
        self.open()

    def test_damaged_rows_stay_and_hold_nothing_up(self) -> None:
        self.damaged(
            "UPDATE alarm SET severity = 'odd' WHERE number < 90",
            "UPDATE reading SET points = x'00'",
            "UPDATE device SET enabled = 7 WHERE number = 1",
            "UPDATE point SET decimals = 'x'",
        )
        for limit in (1, 5, 1000):
            rows = self.oldest(limit)
            self.assertEqual(len(rows), min(limit, len(EVERYTHING) - 6 + 10))
        self.assertEqual([row.number for row in rows if isinstance(row, Alarm)], list(range(90, 100)))
        self.discard()
        self.assertEqual(self.oldest(), [])
        self.assertEqual(self.spool.backlog, 1 + 1 + 2 + 89)
        lines = self.said()
        self.assertEqual(len(lines), len(set(lines)))
        self.assertEqual(len([line for line in lines if "alarm 1 is damaged" in line]), 1)

    def test_a_key_that_nobody_finds(self) -> None:
        self.damaged("UPDATE last_upload SET hostid = CAST(x'ff41' AS TEXT) WHERE hostid = 'A'")
        self.oldest()
        self.failureResultOf(self.spool.discard(), StoreError)
        self.assertEqual(len(self.oldest()), len(EVERYTHING) + 97)


class ThreadTests(TestCase):
    """With real threads."""

    timeout = 180

    async def test_writers_and_an_emptier(self) -> None:
        path = Path(self.mktemp())
        spool = Spool(path, cast("IReactorFromThreads", reactor), most_mib=100, spare_mib=0)
        await spool.open()
        self.addCleanup(spool.close)
        gone: set[int] = set()
        many = readings(600)
        for first in range(0, 600, 100):
            writing = [spool.write(many[n : n + 5]) for n in range(first, first + 100, 5)]
            for row in await spool.oldest(70):
                gone.add(row.number)  # type: ignore[union-attr]
            await spool.discard()
            await gatherResults(writing)
            self.assertEqual(spool.backlog, first + 100 - len(gone))
        left = await spool.oldest(1000)
        self.assertEqual(sorted([*gone, *(row.number for row in left)]), list(range(1, 601)))  # type: ignore[union-attr]

    async def test_not_open(self) -> None:
        spool = Spool(Path(self.mktemp()), cast("IReactorFromThreads", reactor), most_mib=1, spare_mib=0)
        for asked in (spool.write([READING]), spool.oldest(1), spool.discard(), spool.refuse([(READING, "")])):
            await self.assertFailure(cast("Any", asked), StoreUnavailable)
        await spool.close()
