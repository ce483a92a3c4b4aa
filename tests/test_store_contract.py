"""One contract for every store."""

import os
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from cmmd.store.interface import MOST_A_PAGE, DuplicateDevice, IStore, Snapshot, StoreError, StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.outbox.known import Known
from cmmd.store.outbox.spool import Spool
from cmmd.store.outbox.spooled import SpooledStore
from cmmd.store.packing import pack_points, unpack_points
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import (
    Alarm,
    Command,
    Cursor,
    Device,
    Event,
    LastUpload,
    Numbers,
    Outcome,
    PointColumn,
    ProfileVersion,
    Query,
    Reading,
    Redecoded,
    Row,
)
from cmmd.store.sqlite.store import SQLiteStore
from tests.postgres import cluster

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object  # trial would run the contract itself

PLAIN = Device(hostid="A", hostname="", password_hash=None, moduletype="", registered_at=0)
FULL = Device(
    hostid="3439333633355115004B003D",
    hostname="柴油机 № 1 'quoted' \"twice\"; --",
    password_hash="scrypt$11$8$1$c2FsdA==$aGFzaA==",
    moduletype="HGM6120N-4G",
    module_port=2,
    module_baud=9_999_999,
    longitude="116.404",
    latitude="-39.915",
    altitude="8848.86",
    gpsen=0,
    wgs84_longitude=116.3914,
    wgs84_latitude=-39.9136,
    para_command="01010000005ABC31;01030000002D85D7",
    byte_order="big",
    history_interval=7.5,
    data_mode=1,
    online_rate=3000,
    offline_rate=2**53,
    set_port=2,
    set_baud=1,
    profile="hgm6120n, 'mine'",
    enabled=False,
    history=True,
    registered_at=2**53,
    last_login_at=1_700_872_746_500,
    last_login_address="2001:db8::7",
    lock_reason='Zoë\'s "belt"; --',
    locked_by="token bob",
    locked_at=2**53,
    input_reports='{"fire_alarm":{"active":true}}',
    evidence='{"scale":["tenths",3,1700872746500,"register 6 = 600",0]}',
    read_as="byte_order=big, scale=tenths",
    oldest_undecided_at=1_700_872_746_500,
)

# What the sixth schema of SQLite and the third of PostgreSQL have added, as records of earlier ones come back.
_EVIDENCE = ("evidence", "read_as", "oldest_undecided_at")
FULL_BEFORE_EVIDENCE = replace(FULL, **{name: getattr(PLAIN, name) for name in _EVIDENCE})

# The same of the fifth and the second.
_PEOPLE = ("last_login_address", "lock_reason", "locked_by", "locked_at", "input_reports")
FULL_BEFORE = replace(FULL_BEFORE_EVIDENCE, **{name: getattr(PLAIN, name) for name in _PEOPLE})

READING = Reading(number=1, hostid="A", at=1000, reason="first", profile=1, image=b"", points=())
FULL_READING = Reading(
    number=2**53,
    hostid=FULL.hostid,
    at=1_700_872_746_500,
    reason="change",
    suppressed=3,
    profile=7,
    inputs=15,
    image=bytes(range(256)) * 33,
    undecided=b"\x00\xff",
    points=(0.0, 0.5, None, -273.25, 65535.0),
    source="setting 192.0.2.7",
)
EVENT = Event(number=1, at=1000, hostid="A", kind="login", details={})
FULL_EVENT = Event(
    number=2,
    at=2000,
    hostid=FULL.hostid,
    kind="command",
    details={"name": '柴油机 "1" \'; --', "count": -3, "big": 2**53, "seconds": 0.25, "right": True, "nothing": None},
)
ALARM = Alarm(number=1, hostid="A", signal="low_oil", title="Low oil", severity="warning", raised_at=1000)
FULL_ALARM = replace(ALARM, number=2, severity="shutdown", acknowledged_at=1001, acknowledged_by="Zoë", cleared_at=1002)
COMMAND = Command(
    number=1, hostid="A", kind="reset", request="", requester="", door="amp", uid="100000", accepted_at=1000
)
FULL_COMMAND = Command(
    number=2,
    hostid=FULL.hostid,
    kind="modbus",
    name="auto",
    request="01050003FF007C3A;0105000300003DCA",
    requester='Zoë "the boss" \'; --',
    door="http",
    uid="000042",
    accepted_at=2000,
    sent_at=2001,
    ended_at=2**53,
    outcome="done",
    reply="1;1",
    confirmed=True,
    confirmed_at=2003,
    overridden="remote_inhibited",
    address="192.0.2.7",
)
FULL_COMMAND_BEFORE = replace(FULL_COMMAND, overridden=None, address=None)
ENDED = replace(FULL_COMMAND, ended_at=2002)
UPLOAD = LastUpload(hostid="A", upload=1, at=1000, unit=None, kept_at=None, image=b"")
FULL_UPLOAD = LastUpload(
    hostid=FULL.hostid,
    upload=9,
    at=2000,
    unit=247,
    kept_at=1500,
    inputs=1,
    image=b"\x00\x01",
    undecided=b"\x02",
    counters=b"\x00\xff\x02",
)
SPEED = PointColumn(name="speed", title="Speed", unit="r/min", decimals=0)
VOLTS = PointColumn(name="volts_a", title="U₁", unit="V", decimals=1)
PROFILE = ProfileVersion(number=1, name="hgm6120n", fingerprint="f1", points=(SPEED, VOLTS))

UNKEEPABLE = replace(EVENT, number=999, details={"what": cast("str", object())})


def readings(count: int, first: int = 1) -> list[Reading]:
    return [replace(READING, number=number, at=number * 10) for number in range(first, first + count)]


class Contract(_Base):
    """What every store must do; mixed into a TestCase for each."""

    make: Callable[[], IStore]

    async def opened(self) -> IStore:
        """A store that is open, and closed in the end."""
        store = self.make()
        await store.open()
        self.addCleanup(store.close)
        return store

    async def reopened(self, store: IStore) -> Snapshot:
        await store.close()
        return await store.open()


class DeviceContract(Contract):
    async def test_interface(self) -> None:
        store = self.make()
        self.assertTrue(verifyObject(IStore, store))
        await store.open()
        await store.close()

    async def test_empty(self) -> None:
        store = self.make()
        kept = await store.open()
        self.assertEqual(kept, Snapshot(devices=[], profiles=[], uploads=[], alarms=[], identity=kept.identity))
        await store.close()
        await store.close()

    async def test_what_was_added_comes_back_with_its_number(self) -> None:
        store = await self.opened()
        self.assertEqual(await store.add_device(PLAIN), replace(PLAIN, number=1))
        self.assertEqual(await store.add_device(FULL), replace(FULL, number=2))
        kept = await self.reopened(store)
        self.assertEqual(kept.devices, [replace(PLAIN, number=1), replace(FULL, number=2)])

    async def test_update(self) -> None:
        store = await self.opened()
        await store.add_device(FULL)
        device = await store.add_device(PLAIN)
        changed = replace(FULL, number=device.number, hostid="A")
        await store.write([changed])
        self.assertEqual((await self.reopened(store)).devices, [replace(FULL, number=1), changed])

    async def test_overrides_are_set_and_taken_back(self) -> None:
        store = await self.opened()
        device = await store.add_device(PLAIN)
        numbers = ("history_interval", "data_mode", "online_rate", "offline_rate", "set_port", "set_baud")
        for override in (*numbers, "profile"):
            for value in ("" if override == "profile" else 0, None):
                changed = replace(device, **{override: value})
                await store.write([changed])
                (kept,) = (await self.reopened(store)).devices
                self.assertEqual(kept, changed)

    async def test_a_device_that_is_written_keeps_its_number(self) -> None:
        store = await self.opened()
        await store.write([replace(FULL, number=7), replace(PLAIN, number=3)])
        kept = await self.reopened(store)
        self.assertEqual(kept.devices, [replace(PLAIN, number=3), replace(FULL, number=7)])
        added = await store.add_device(replace(PLAIN, hostid="B"))
        self.assertEqual(added.number, 8)
        await self.assertFailure(store.add_device(FULL), DuplicateDevice)

    async def test_removed(self) -> None:
        """With its last upload; its number never comes again, and what else was kept of it stays."""
        store = await self.opened()
        await store.add_device(FULL)
        device = await store.add_device(PLAIN)
        await store.write([replace(UPLOAD, hostid=device.hostid), replace(EVENT, hostid=device.hostid)])
        await store.remove_device(device)
        await store.remove_device(device)
        kept = await self.reopened(store)
        self.assertEqual(([one.hostid for one in kept.devices], kept.uploads), ([FULL.hostid], []))
        self.assertEqual([one.hostid for one in await store.events(Query())], [device.hostid])
        self.assertEqual((await store.add_device(PLAIN)).number, device.number + 1)

    async def test_no_two_devices_have_one_hostid(self) -> None:
        store = await self.opened()
        device = await store.add_device(PLAIN)
        await self.assertFailure(store.write([EVENT, replace(device, number=2)]), StoreError)
        self.assertEqual((await self.reopened(store)).devices, [device])
        self.assertEqual(await store.events(Query()), [])
        renamed = replace(device, hostid="B")
        await store.write([renamed])
        again = await store.add_device(PLAIN)
        self.assertEqual((await self.reopened(store)).devices, [renamed, again])

    async def test_who_writes(self) -> None:
        store = await self.opened()
        before = await self.reopened(store)
        self.assertEqual((len(before.identity) >= 32, before.writer), (True, ""))
        for writer in ("me", "another"):
            await store.claim(writer)
            kept = await self.reopened(store)
            self.assertEqual((kept.identity, kept.writer), (before.identity, writer))

    async def test_duplicate_spoils_nothing_else(self) -> None:
        store = await self.opened()
        outcomes = [store.add_device(PLAIN), store.add_device(PLAIN), store.add_device(FULL)]
        self.assertEqual((await outcomes[0]).number, 1)
        await self.assertFailure(outcomes[1], DuplicateDevice)
        self.assertEqual((await outcomes[2]).hostid, FULL.hostid)
        self.assertEqual([device.hostid for device in (await self.reopened(store)).devices], ["A", FULL.hostid])

    async def test_order(self) -> None:
        store = await self.opened()
        device = await store.add_device(PLAIN)
        names = [f"name {number}" for number in range(100)]
        await gatherResults([store.write([replace(device, hostname=name)]) for name in names])
        self.assertEqual([one.hostname for one in (await self.reopened(store)).devices], names[-1:])

    async def test_many_at_once(self) -> None:
        store = await self.opened()
        added = await gatherResults([store.add_device(replace(PLAIN, hostid=f"{n}")) for n in range(500)])
        self.assertEqual([device.number for device in added], list(range(1, 501)))
        kept = await self.reopened(store)
        self.assertEqual([device.hostid for device in kept.devices], [f"{n}" for n in range(500)])

    async def test_close_carries_out_what_was_asked_before(self) -> None:
        store = await self.opened()
        waiting = [store.add_device(replace(PLAIN, hostid=f"{n}")) for n in range(10)]
        written = store.write([READING])
        found = [store.readings(Query()) for _ in range(10)]
        await gatherResults([store.close(), store.close()])
        self.assertEqual(len(await gatherResults(waiting)), 10)
        await written
        self.assertEqual(len(await gatherResults(found)), 10)
        self.assertEqual(len((await store.open()).devices), 10)
        self.assertEqual(await store.readings(Query()), [READING])

    async def test_a_cancelled_wait_changes_nothing(self) -> None:
        store = await self.opened()
        waiting: tuple[Deferred[Any], ...] = (
            *(store.add_device(PLAIN), store.write([READING])),
            *(store.readings(Query()), store.forget(0, 1)),
        )
        for one in waiting:
            one.cancel()
            one.addErrback(lambda _: None)
        await store.add_device(FULL)
        self.assertEqual(await store.readings(Query()), [READING])
        self.assertEqual([device.hostid for device in (await self.reopened(store)).devices], ["A", FULL.hostid])

    async def test_everything_at_once(self) -> None:
        """Calls of every kind, none of which waits for another; each sees what was confirmed before it was made."""
        store = await self.opened()
        asked: list[Deferred[Any]] = []
        for turn in range(1, 31):
            device = replace(PLAIN, hostid=f"{turn}")
            asked += [
                *(store.add_device(device), store.write([replace(READING, number=turn), replace(EVENT, number=turn)])),
                *(store.readings(Query()), store.claim(f"{turn}"), store.write([replace(ALARM, title=f"{turn}")])),
                *(store.forget(0, 1), store.events(Query()), store.alarms(Query()), store.commands(Query())),
                *(store.add_device(device), store.write([UNKEEPABLE])),
            ]
            for wrong, error in ((asked[-2], DuplicateDevice), (asked[-1], TypeError)):
                self.assertFailure(wrong, error)
        await gatherResults(asked)
        self.assertEqual(len(await store.readings(Query())), 30)
        self.assertEqual(await store.alarms(Query()), [replace(ALARM, title="30")])
        kept = await self.reopened(store)
        self.assertEqual([device.hostid for device in kept.devices], [f"{turn}" for turn in range(1, 31)])
        self.assertEqual((kept.writer, kept.numbers.reading, kept.numbers.event), ("30", 30, 30))

    async def test_calls_that_nobody_waits_for_any_more(self) -> None:
        store = await self.opened()
        for turn in range(1, 20):
            asked: list[Deferred[Any]] = [
                *(store.write([replace(READING, number=turn)]), store.add_device(replace(PLAIN, hostid=f"{turn}"))),
                *(store.readings(Query()), store.alarms(Query()), store.events(Query()), store.commands(Query())),
                *(store.claim(f"{turn}"), store.forget(0, 1)),
            ]
            for one in asked[turn % 3 :: 2]:
                one.cancel()
                one.addErrback(lambda failure: failure.trap(CancelledError))
            await gatherResults(asked)
        self.assertEqual(len(await store.readings(Query())), 19)
        kept = await self.reopened(store)
        self.assertEqual((len(kept.devices), kept.writer), (19, "19"))


class WriteContract(Contract):
    async def assert_kept(self, store: IStore, *expected: Reading | Alarm | Event | Command) -> None:
        """These and no other readings, alarms, events and commands are there."""
        found: list[Reading | Alarm | Event | Command] = []
        for find in (store.readings, store.alarms, store.events, store.commands):
            found += await find(Query(limit=MOST_A_PAGE))
        self.assertEqual(found, list(expected))

    async def test_nothing(self) -> None:
        store = await self.opened()
        await store.write([])
        await self.assert_kept(store)

    async def test_every_kind_comes_back(self) -> None:
        store = await self.opened()
        everything: list[Row] = [
            *(FULL_EVENT, EVENT, PROFILE, READING, FULL_UPLOAD, FULL_COMMAND),
            *(FULL_ALARM, UPLOAD, FULL_READING, ALARM, COMMAND),
        ]
        await store.write(everything)
        expected = (READING, FULL_READING, ALARM, FULL_ALARM, EVENT, FULL_EVENT, COMMAND, FULL_COMMAND)
        await self.assert_kept(store, *expected)
        kept = await self.reopened(store)
        await self.assert_kept(store, *expected)
        self.assertEqual(kept.devices, [])
        self.assertEqual(kept.profiles, [PROFILE])
        self.assertCountEqual(kept.uploads, [UPLOAD, FULL_UPLOAD])
        self.assertEqual(kept.alarms, [ALARM])
        self.assertEqual(kept.unfinished, [COMMAND])
        self.assertEqual(kept.numbers, Numbers(reading=2**53, alarm=2, event=2, command=2))

    async def test_readings_and_events_are_left_as_they_are(self) -> None:
        store = await self.opened()
        await store.write([READING, EVENT])
        other_reading = replace(READING, hostid="B", points=(1.0,))
        other_event = replace(EVENT, hostid="B", kind="other")
        await store.write([replace(READING, number=2), other_reading, other_event, replace(EVENT, number=2)])
        await self.assert_kept(store, READING, replace(READING, number=2), EVENT, replace(EVENT, number=2))

    async def test_one_reading_of_a_moment_that_a_device_said(self) -> None:
        """An upload that is sent once more is no second reading; its inputs alone are another thing than its values."""
        store = await self.opened()
        dated = replace(READING, image=b"\x01\x03", source="setting 192.0.2.7")
        inputs = replace(dated, number=3, image=b"\x01", inputs=17)
        await store.write([dated, replace(dated, number=2, source="certificate 192.0.2.8"), inputs])
        await store.write([replace(dated, number=4, reason="historic"), replace(inputs, number=5)])
        others = [
            replace(dated, number=6, at=dated.at + 1),
            replace(dated, number=7, hostid="B"),
            replace(dated, number=8, source=""),
            replace(dated, number=9, source=""),
        ]
        await store.write(others)
        self.assertEqual(
            sorted([one.number for one in await store.readings(Query())]), [1, 3, *(one.number for one in others)]
        )
        self.assertEqual((await self.reopened(store)).numbers.reading, 9)

    async def test_readings_with_other_points(self) -> None:
        """All of a reading but its points stays; a reading that is not there any more is left out."""
        store = await self.opened()
        await store.write([READING, FULL_READING])
        anew = Redecoded(number=FULL_READING.number, at=FULL_READING.at, profile=8, points=(0.1, None))
        gone = Redecoded(number=5, at=1, profile=8, points=(1.0,))
        other_time = Redecoded(number=READING.number, at=READING.at + 1, profile=8, points=(1.0,))
        await store.redecode([anew, gone, other_time])
        points = unpack_points(pack_points(anew.points))
        await self.assert_kept(store, READING, replace(FULL_READING, profile=8, points=points))

    async def test_profile_versions_are_left_as_they_are(self) -> None:
        store = await self.opened()
        await store.write([PROFILE])
        second = ProfileVersion(number=2, name=PROFILE.name, fingerprint="f2", points=())
        more = (VOLTS, SPEED, VOLTS)
        await store.write([replace(PROFILE, fingerprint="f3", points=more), second, replace(second, points=more)])
        self.assertEqual((await self.reopened(store)).profiles, [PROFILE, second])

    async def test_profile_versions_come_by_number(self) -> None:
        store = await self.opened()
        many = [
            replace(PROFILE, number=number, points=tuple(replace(SPEED, name=f"{number}.{n}") for n in range(number)))
            for number in (12, 1, 2, 120)
        ]
        await store.write(many)
        self.assertEqual((await self.reopened(store)).profiles, [many[1], many[2], many[0], many[3]])

    async def test_alarms_are_replaced(self) -> None:
        store = await self.opened()
        await store.write([ALARM])
        await store.write([replace(FULL_ALARM, number=1), replace(ALARM, number=2)])
        await self.assert_kept(store, replace(FULL_ALARM, number=1), replace(ALARM, number=2))
        kept = await self.reopened(store)
        self.assertEqual(kept.alarms, [replace(ALARM, number=2)])
        self.assertEqual(kept.numbers, Numbers(alarm=2))

    async def test_commands_are_replaced(self) -> None:
        store = await self.opened()
        await store.write([COMMAND])
        ended = replace(FULL_COMMAND, number=1)
        for _ in range(2):  # to write one twice is to write it once
            await store.write([ended, replace(COMMAND, number=2)])
            await self.assert_kept(store, replace(COMMAND, number=2), ended)
        kept = await self.reopened(store)
        await self.assert_kept(store, replace(COMMAND, number=2), ended)
        self.assertEqual(kept.unfinished, [replace(COMMAND, number=2)])
        self.assertEqual(kept.numbers, Numbers(command=2))

    async def test_a_command_from_its_beginning_to_its_end(self) -> None:
        store = await self.opened()
        sent = replace(COMMAND, sent_at=1001)
        answered = replace(sent, ended_at=1002, outcome="done", reply="1")
        shown = replace(answered, confirmed=False, confirmed_at=1003)
        for step, unfinished in ((COMMAND, [COMMAND]), (sent, [sent]), (answered, []), (shown, [])):
            await store.write([step])
            self.assertEqual((await self.reopened(store)).unfinished, unfinished)
            await self.assert_kept(store, step)

    async def test_every_kind_and_outcome_of_a_command(self) -> None:
        store = await self.opened()
        kinds, outcomes = get_args(get_type_hints(Command)["kind"]), get_args(Outcome)
        every = [
            replace(COMMAND, number=number, kind=kind, ended_at=5, outcome=outcome, confirmed=confirmed)
            for number, (kind, outcome, confirmed) in enumerate(product(kinds, outcomes, (None, False, True)), start=1)
        ]
        await store.write(every)
        await self.assert_kept(store, *every)
        self.assertEqual((await self.reopened(store)).unfinished, [])

    async def test_unfinished_commands_come_by_number(self) -> None:
        store = await self.opened()
        commands = [
            replace(COMMAND if number % 3 else FULL_COMMAND, number=number, accepted_at=100 - number)
            for number in range(1, 10)
        ]
        await store.write(commands[::-1])
        self.assertEqual((await self.reopened(store)).unfinished, [one for one in commands if one.outcome is None])

    async def test_last_uploads_are_replaced(self) -> None:
        store = await self.opened()
        await store.write([FULL_UPLOAD, UPLOAD])
        await store.write([replace(FULL_UPLOAD, hostid="A")])
        self.assertCountEqual((await self.reopened(store)).uploads, [FULL_UPLOAD, replace(FULL_UPLOAD, hostid="A")])

    async def test_of_several_in_one_batch_the_order_decides(self) -> None:
        store = await self.opened()
        cleared = replace(ALARM, cleared_at=2000)
        ended = replace(COMMAND, ended_at=2000, outcome="lost")
        await store.write(
            [
                *(ALARM, UPLOAD, READING, replace(READING, hostid="B"), EVENT, PROFILE, COMMAND),
                *(replace(PROFILE, name="other"), replace(EVENT, at=5), cleared, replace(UPLOAD, upload=2), ended),
            ]
        )
        await self.assert_kept(store, READING, cleared, EVENT, ended)
        kept = await self.reopened(store)
        self.assertEqual((kept.profiles, kept.uploads), ([PROFILE], [replace(UPLOAD, upload=2)]))

    async def test_calls_are_carried_out_in_order(self) -> None:
        store = await self.opened()
        versions = [replace(ALARM, title=f"title {n}") for n in range(300)]
        await gatherResults([store.write(versions[n : n + 3]) for n in range(0, 300, 3)])
        await self.assert_kept(store, versions[-1])

    async def test_all_or_none(self) -> None:
        store = await self.opened()
        await store.write([ALARM, UPLOAD, COMMAND])
        cleared = replace(ALARM, cleared_at=2000)
        newer = replace(UPLOAD, upload=2)
        for place in range(7):
            rows: list[Row] = [READING, EVENT, PROFILE, cleared, newer, replace(FULL_COMMAND, number=1)]
            rows.insert(place, UNKEEPABLE)
            await self.assertFailure(store.write(rows), TypeError)
        await self.assert_kept(store, ALARM, COMMAND)
        kept = await self.reopened(store)
        self.assertEqual((kept.profiles, kept.uploads, kept.alarms), ([], [UPLOAD], [ALARM]))
        self.assertEqual(kept.numbers, Numbers(alarm=1, command=1))

    async def test_a_write_that_fails_spoils_no_other(self) -> None:
        store = await self.opened()
        many = readings(9)
        writes = [store.write([one] if one.number % 3 else [one, UNKEEPABLE]) for one in many]
        for one in writes[2::3]:
            await self.assertFailure(one, TypeError)
        await gatherResults([one for place, one in enumerate(writes) if place % 3 != 2])
        await self.assert_kept(store, *[one for one in many if one.number % 3])
        await store.write(many)
        await self.assert_kept(store, *many)

    async def test_any_number_of_rows(self) -> None:
        store = await self.opened()
        first = 1
        for count in (1, 59, 60, 61, 89, 90, 91, 500):
            rows = readings(count, first)
            first += count
            await store.write([row for one in rows for row in (one, *_beside(one))])
        events, commands = zip(*map(_beside, readings(951)), strict=True)
        await self.assert_kept(store, *readings(951), *events, *commands)

    async def test_the_batch_may_be_changed_afterwards(self) -> None:
        store = await self.opened()
        rows: list[Row] = [READING]
        writing = [store.write(rows)]
        rows.append(EVENT)
        writing.append(store.write(rows))
        rows.clear()
        await gatherResults(writing)
        await self.assert_kept(store, READING, EVENT)

    async def test_points_are_kept_in_single_precision(self) -> None:
        store = await self.opened()
        given = (0.1, 16777217.0, -0.1, -16777217.0, 1e-45, 1e-60, 3.4028234663852886e38, None, float("nan"), 0.0, 1)
        points = (
            *(0.10000000149011612, 16777216.0, -0.10000000149011612, -16777216.0, 1.401298464324817e-45, 0.0),
            *(3.4028234663852886e38, None, None, 0.0, 1.0),
        )
        too_large = (1e39, -1e39, float("inf"), float("-inf"))
        await store.write([replace(READING, points=given), replace(READING, number=2, points=too_large)])
        await self.assert_kept(
            store, replace(READING, points=points), replace(READING, number=2, points=(None,) * len(too_large))
        )

    async def test_details_are_kept_as_json(self) -> None:
        store = await self.opened()
        await store.write([replace(EVENT, details={"a": float("inf"), "b": 0.1, "c": 1.0, "d": -(2**53)})])
        (event,) = await store.events(Query())
        self.assertEqual(event.details, {"a": None, "b": 0.1, "c": 1.0, "d": -(2**53)})

    async def test_numbers_in_details(self) -> None:
        store = await self.opened()
        details: dict[str, Any] = {
            "huge": 1e300,
            "largest": 1.7976931348623157e308,
            "least": 5e-324,
            "negative": -1.5e-7,
            "int64": 2**63 - 1,
            "lowest": -(2**63),
            "zero": 0,
            "no": False,
            "": "",
            "text": "1.0",
        }
        await store.write([replace(EVENT, details=details)])
        (event,) = await store.events(Query())
        self.assertEqual(event.details, details)
        self.assertEqual(
            {name: type(value) for name, value in event.details.items() if name != "largest"},
            {name: type(value) for name, value in details.items() if name != "largest"},
        )

    async def test_any_text(self) -> None:
        store = await self.opened()
        texts = (
            *("", " ", "'", '"', "\\", "''\\'", "%s %(a)s %%", "$1", "{}", "{,}", "NULL", "null", "\\x00", "\\u0000"),
            *("é", "e\u0301", "柴油机", "\U0001f69b\U0001d11e", "\uffff\ufffd\u2028\u202e", "\u0130ı"),
            *("".join(map(chr, range(1, 0x20))), "\x7f\x80\x9f", "a" * 2000),
        )
        devices = [
            replace(FULL, number=n, hostid=f"{n}{one}"[:500], hostname=one, profile=one, para_command=one)
            for n, one in enumerate(texts, start=1)
        ]
        rows: list[Row] = []
        for number, one in enumerate(texts, start=1):
            hostid = f"{number}{one}"[:500]
            rows += [
                replace(READING, number=number, hostid=hostid),
                replace(FULL_ALARM, number=number, hostid=hostid, signal=one, title=one, acknowledged_by=one),
                replace(EVENT, number=number, hostid=hostid, kind=one, details={one: one}),
                replace(FULL_COMMAND, number=number, hostid=hostid, name=one, requester=one, reply=one, door=one),
                replace(PROFILE, number=number, name=one, points=(replace(SPEED, name=one, unit=one, title=one),)),
                replace(UPLOAD, hostid=hostid),
            ]
        await store.write([*devices, *rows])
        kept = await self.reopened(store)
        self.assertEqual(kept.devices, devices)
        self.assertEqual(kept.profiles, [row for row in rows if isinstance(row, ProfileVersion)])
        self.assertCountEqual(kept.uploads, [row for row in rows if isinstance(row, LastUpload)])
        await self.assert_kept(
            store,
            *[row for kind in (Reading, Alarm, Event, Command) for row in rows if isinstance(row, kind)],
        )
        for row in rows:
            if isinstance(row, Event):
                self.assertEqual(await store.events(Query(hostid=row.hostid)), [row])

    async def test_the_character_nul(self) -> None:
        """It is kept, or refused in a way that spoils nothing else."""
        store = await self.opened()
        odd: list[Row] = [
            *(replace(EVENT, kind="a\0b"), replace(EVENT, details={"a": "\0"}), replace(EVENT, details={"\0": 1})),
            *(replace(READING, hostid="\0"), replace(COMMAND, reply="\0"), replace(PROFILE, name="\0")),
        ]
        for number, row in enumerate(odd, start=1):
            writing = [store.write([replace(row, number=number)]), store.write([replace(ALARM, number=number)])]
            try:
                await writing[0]
            except StoreError as error:
                self.assertNotIsInstance(error, StoreUnavailable)
            await writing[1]
        try:
            await store.events(Query(hostid="\0"))
            await store.add_device(replace(PLAIN, hostid="\0"))
            await store.claim("\0")
        except StoreError as error:
            self.assertNotIsInstance(error, StoreUnavailable)
        self.assertEqual(len(await store.alarms(Query())), len(odd))

    async def test_any_time(self) -> None:
        store = await self.opened()
        december_2024 = 1_735_689_599_999
        times = sorted(
            {
                *(0, 1, 999, 1000, 1001, december_2024, december_2024 + 1, 951_782_400_000 - 1),
                *(253_402_300_799_999, 253_402_300_800_000),  # the year 10000
                *(2**53, 2**53 - 1, 2**53 - 7, 2**52 + 1),
                *range(december_2024 - 40 * 365 * 86_400_000, december_2024, 7_777_777_777),
            }
        )
        rows: list[Row] = []
        for number, at in enumerate(times, start=1):
            rows += [
                replace(READING, number=number, at=at),
                replace(FULL_ALARM, number=number, raised_at=at, acknowledged_at=at, cleared_at=at),
                replace(EVENT, number=number, at=at),
                replace(FULL_COMMAND, number=number, accepted_at=at, sent_at=at, ended_at=at, confirmed_at=at),
                replace(UPLOAD, hostid=f"{number}", at=at, kept_at=at),
            ]
        await store.write(rows)
        kinds = (Reading, Alarm, Event, Command)
        await self.assert_kept(store, *[row for kind in kinds for row in rows if isinstance(row, kind)])
        self.assertCountEqual(
            (await self.reopened(store)).uploads, [one for one in rows if isinstance(one, LastUpload)]
        )
        for number, at in list(enumerate(times, start=1))[::5]:
            self.assertEqual([one.number for one in await store.readings(Query(since=at, until=at + 1))], [number])
            after = await store.events(Query(after=Cursor(at, number), limit=1))
            self.assertEqual([one.number for one in after], [number + 1] if number < len(times) else [])

    async def test_largest_values(self) -> None:
        store = await self.opened()
        largest = 2**63 - 1
        rows: tuple[Reading | Alarm | Event | Command, ...] = (
            replace(
                READING, number=largest, profile=2**31 - 1, suppressed=2**31 - 1, inputs=2**15 - 1, image=bytes(10**6)
            ),
            replace(ALARM, number=largest),
            replace(EVENT, number=largest, details={"text": "x" * 100_000}),
            replace(COMMAND, number=largest, request="0" * 100_000),
        )
        await store.write(rows)
        await self.assert_kept(store, *rows)
        numbers = Numbers(reading=largest, alarm=largest, event=largest, command=largest)
        self.assertEqual((await self.reopened(store)).numbers, numbers)

    async def test_highest_numbers(self) -> None:
        store = await self.opened()
        await store.write([replace(READING, number=9), READING, replace(EVENT, number=7), EVENT])
        await store.write([replace(FULL_ALARM, number=8), ALARM, replace(READING, number=3)])
        await store.write([replace(COMMAND, number=6), COMMAND])
        for _ in range(2):
            kept = await self.reopened(store)
            self.assertEqual(kept.numbers, Numbers(reading=9, alarm=8, event=7, command=6))

    async def test_open_alarms_come_by_number(self) -> None:
        store = await self.opened()
        alarms = [replace(ALARM, number=n, raised_at=100 - n, cleared_at=None if n % 3 else 200) for n in range(1, 10)]
        await store.write(alarms[::-1])
        self.assertEqual((await self.reopened(store)).alarms, [one for one in alarms if one.cleared_at is None])


def _beside(reading: Reading) -> tuple[Event, Command]:
    number, at = reading.number, reading.at
    return replace(EVENT, number=number, at=at), replace(COMMAND, number=number, accepted_at=at)


class PageContract(Contract):
    """For readings, alarms, events and commands alike."""

    KINDS: tuple[tuple[str, Callable[[int, str, int], Row]], ...] = (
        ("readings", lambda number, hostid, at: replace(READING, number=number, hostid=hostid, at=at)),
        ("alarms", lambda number, hostid, at: replace(ALARM, number=number, hostid=hostid, raised_at=at)),
        ("events", lambda number, hostid, at: replace(EVENT, number=number, hostid=hostid, at=at)),
        ("commands", lambda number, hostid, at: replace(COMMAND, number=number, hostid=hostid, accepted_at=at)),
    )
    PLACES = (
        *((1, "A", 50), (2, "A", 40), (3, "B", 40), (4, "A", 40), (5, "A", 40), (6, "B", 30)),
        *((7, "A", 60), (8, "B", 60), (9, "A", 10), (10, "A", 60)),
    )
    """Number, hostid and time of what is there; in order of time: 9, 6, 2, 3, 4, 5, 1, 7, 8, 10."""

    async def filled(self) -> IStore:
        store = await self.opened()
        await store.write([make(*place) for _, make in self.KINDS for place in self.PLACES])
        return store

    async def numbers(self, store: IStore, query: Query) -> list[int]:
        """The numbers of a page; of each kind it is the same one."""
        pages = [[one.number for one in await getattr(store, kind)(query)] for kind, _ in self.KINDS]
        self.assertEqual([pages[0]] * len(pages), pages)
        return pages[0]

    async def turned(self, store: IStore, query: Query) -> list[list[int]]:
        """The numbers of all pages."""
        pages = []
        while page := await self.numbers(store, query):
            pages.append(page)
            at = {number: at for number, _, at in self.PLACES}[page[-1]]
            query = replace(query, after=Cursor(at, page[-1]))
        return pages

    async def assert_numbers(self, store: IStore, query: Query, expected: Sequence[int]) -> None:
        """This and, the other way round, the newest first."""
        self.assertEqual(await self.numbers(store, query), list(expected))
        self.assertEqual(await self.numbers(store, replace(query, newest_first=True)), list(expected)[::-1])

    async def test_order_of_time_and_number(self) -> None:
        store = await self.filled()
        await self.assert_numbers(store, Query(), [9, 6, 2, 3, 4, 5, 1, 7, 8, 10])

    async def test_of_one_device(self) -> None:
        store = await self.filled()
        await self.assert_numbers(store, Query(hostid="A"), [9, 2, 4, 5, 1, 7, 10])
        await self.assert_numbers(store, Query(hostid="B"), [6, 3, 8])
        for hostid in ("", "a", "C", "%"):
            await self.assert_numbers(store, Query(hostid=hostid), [])

    async def test_since_is_included_until_is_not(self) -> None:
        store = await self.filled()
        await self.assert_numbers(store, Query(since=50), [1, 7, 8, 10])
        await self.assert_numbers(store, Query(since=51), [7, 8, 10])
        await self.assert_numbers(store, Query(until=40), [9, 6])
        await self.assert_numbers(store, Query(until=41), [9, 6, 2, 3, 4, 5])
        await self.assert_numbers(store, Query(since=40, until=60), [2, 3, 4, 5, 1])
        await self.assert_numbers(store, Query(since=40, until=60, hostid="B"), [3])
        await self.assert_numbers(store, Query(since=40, until=41), [2, 3, 4, 5])
        await self.assert_numbers(store, Query(since=40, until=40), [])
        await self.assert_numbers(store, Query(since=60, until=40), [])

    async def test_numbers_that_no_column_holds(self) -> None:
        store = await self.filled()
        everything = await self.numbers(store, Query())
        await self.assert_numbers(store, Query(since=-(10**30), until=10**30), everything)
        await self.assert_numbers(store, Query(since=10**30), [])
        await self.assert_numbers(store, Query(until=-(10**30)), [])
        self.assertEqual(await self.numbers(store, Query(after=Cursor(-(10**30), 10**30))), everything)
        self.assertEqual(await self.numbers(store, Query(after=Cursor(40, 10**30))), [1, 7, 8, 10])
        self.assertEqual(await self.numbers(store, Query(after=Cursor(40, -(10**30)), newest_first=True)), [6, 9])

    async def test_pages(self) -> None:
        store = await self.filled()
        self.assertEqual(await self.turned(store, Query(limit=3)), [[9, 6, 2], [3, 4, 5], [1, 7, 8], [10]])
        self.assertEqual(
            await self.turned(store, Query(limit=3, newest_first=True)), [[10, 8, 7], [1, 5, 4], [3, 2, 6], [9]]
        )
        self.assertEqual(await self.turned(store, Query(limit=2, hostid="A", since=40, until=60)), [[2, 4], [5, 1]])
        self.assertEqual(await self.turned(store, Query(limit=1, since=60, newest_first=True)), [[10], [8], [7]])

    async def test_continued_outside_of_the_time_asked_for(self) -> None:
        store = await self.filled()
        self.assertEqual(await self.numbers(store, Query(since=50, after=Cursor(20, 1))), [1, 7, 8, 10])
        self.assertEqual(await self.numbers(store, Query(until=50, after=Cursor(55, 1))), [])
        self.assertEqual(await self.numbers(store, Query(until=30, after=Cursor(55, 1), newest_first=True)), [9])
        self.assertEqual(await self.numbers(store, Query(since=50, after=Cursor(20, 1), newest_first=True)), [])

    async def test_what_comes_between_two_pages(self) -> None:
        store = await self.filled()
        await store.write(
            [make(*place) for _, make in self.KINDS for place in ((11, "A", 5), (12, "A", 40), (13, "A", 70))]
        )
        self.assertEqual(await self.numbers(store, Query(after=Cursor(40, 4))), [5, 12, 1, 7, 8, 10, 13])
        self.assertEqual(await self.numbers(store, Query(after=Cursor(40, 4), newest_first=True)), [3, 2, 6, 9, 11])

    async def test_the_place_continued_from_need_not_be_there(self) -> None:
        store = await self.filled()
        self.assertEqual(await self.numbers(store, Query(after=Cursor(45, 99))), [1, 7, 8, 10])
        self.assertEqual(await self.numbers(store, Query(after=Cursor(45, 99), newest_first=True)), [5, 4, 3, 2, 6, 9])

    async def test_length_of_a_page(self) -> None:
        store = await self.opened()
        everything = [make(n, "A", n // 7) for _, make in self.KINDS for n in range(1, MOST_A_PAGE + 2)]
        await store.write(everything)
        for limit, length in ((-5, 1), (0, 1), (1, 1), (999, 999), (1000, 1000), (1001, 1000), (10**30, 1000)):
            await self.assert_numbers_of_length(store, limit, length)
        self.assertEqual(len(await self.numbers(store, Query())), 100)

    async def assert_numbers_of_length(self, store: IStore, limit: int, length: int) -> None:
        numbers = await self.numbers(store, Query(limit=limit))
        self.assertEqual(numbers, list(range(1, length + 1)))
        numbers = await self.numbers(store, Query(limit=limit, newest_first=True))
        self.assertEqual(numbers, list(range(1001, 1001 - length, -1)))

    async def test_any_query(self) -> None:
        random = Random(6120)
        places = [(n, random.choice("ABC"), random.randrange(12)) for n in random.sample(range(1, 300), 200)]
        store = await self.opened()
        await store.write([make(*place) for _, make in self.KINDS for place in places])
        for _ in range(150):
            query = Query(
                hostid=random.choice([None, "A", "B"]),
                since=random.choice([None, random.randrange(-1, 13)]),
                until=random.choice([None, random.randrange(-1, 13)]),
                after=random.choice([None, Cursor(random.randrange(12), random.randrange(300))]),
                limit=random.randrange(1, 30),
                newest_first=random.choice([True, False]),
            )
            self.assertEqual(await self.numbers(store, query), _expected(places, query), query)


def _expected(places: Sequence[tuple[int, str, int]], query: Query) -> list[int]:
    """What a query finds, said the long way."""
    found = []
    for at, number, hostid in sorted(((at, n, h) for n, h, at in places), reverse=query.newest_first):
        if query.hostid is not None and hostid != query.hostid:
            continue
        if query.since is not None and at < query.since:
            continue
        if query.until is not None and at >= query.until:
            continue
        place = Cursor(at, number)
        if query.after is not None and not (place < query.after if query.newest_first else place > query.after):
            continue
        found.append(number)
    return found[: query.limit]


class ForgetContract(Contract):
    async def there(self, store: IStore) -> tuple[list[int], list[int], list[int], list[int]]:
        """The numbers of readings, alarms, events and commands."""
        asked = (store.readings, store.alarms, store.events, store.commands)
        found = [await find(Query(limit=1000)) for find in asked]
        readings, alarms, events, commands = ([one.number for one in some] for some in found)
        return readings, alarms, events, commands

    async def test_nothing_to_forget(self) -> None:
        store = await self.opened()
        self.assertEqual(await store.forget(10**15, 100), 0)

    async def test_older_ones_only(self) -> None:
        store = await self.opened()
        for number, at in enumerate((998, 999, 1000, 1001), start=1):
            await store.write(
                [
                    replace(READING, number=number, at=at),
                    replace(EVENT, number=number, at=at),
                    replace(ALARM, number=number, raised_at=number, cleared_at=at),
                    replace(COMMAND, number=number, accepted_at=number, ended_at=at, outcome="timeout"),
                ]
            )
        self.assertEqual(await store.forget(1000, 100), 8)
        self.assertEqual(await self.there(store), ([3, 4], [3, 4], [3, 4], [3, 4]))
        self.assertEqual(await store.forget(1000, 100), 0)

    async def test_oldest_first_in_bites(self) -> None:
        store = await self.opened()
        ages = (5, 3, 3, 4, 1, 3)
        for number, at in enumerate(ages, start=1):
            await store.write([replace(READING, number=number, at=at), replace(EVENT, number=number, at=at)])
            await store.write([replace(ALARM, number=number, raised_at=10 - at, cleared_at=at)])
            await store.write([replace(ENDED, number=number, accepted_at=10 - at, ended_at=at)])
        await store.write([replace(EVENT, number=7, at=0)])
        self.assertEqual(await store.forget(5, 2), 8)
        self.assertEqual(await self.there(store), ([3, 6, 4, 1], [1, 4, 3, 6], [2, 3, 6, 4, 1], [1, 4, 3, 6]))
        self.assertEqual([await store.forget(5, 2) for _ in range(4)], [8, 5, 0, 0])
        self.assertEqual(await self.there(store), ([1], [1], [1], [1]))

    async def test_no_bite(self) -> None:
        store = await self.opened()
        await store.write([READING, EVENT, FULL_ALARM, ENDED])
        for limit in (0, -1):
            self.assertEqual(await store.forget(10**15, limit), 0)
        self.assertEqual(await self.there(store), ([1], [2], [1], [2]))

    async def test_an_unfinished_command_stays_whatever_its_times_say(self) -> None:
        store = await self.opened()
        unfinished = [COMMAND, replace(COMMAND, number=3, sent_at=1), replace(COMMAND, number=4, sent_at=1, ended_at=2)]
        await store.write([*unfinished, ENDED])
        self.assertEqual([await store.forget(10**15, 3) for _ in range(2)], [1, 0])
        kept = await self.reopened(store)
        self.assertEqual((kept.unfinished, kept.numbers.command), (unfinished, 4))

    async def test_what_stays(self) -> None:
        store = await self.opened()
        device = await store.add_device(PLAIN)
        await store.write([UPLOAD, PROFILE, ALARM, FULL_ALARM, COMMAND, ENDED])
        self.assertEqual(await store.forget(10**15, 100), 2)
        kept = await self.reopened(store)
        expected = Snapshot(
            devices=[device],
            profiles=[PROFILE],
            uploads=[UPLOAD],
            alarms=[ALARM],
            unfinished=[COMMAND],
            numbers=Numbers(alarm=2, command=2),
            identity=kept.identity,
            writer=kept.writer,
        )
        self.assertEqual(kept, expected)
        self.assertEqual(await self.there(store), ([], [1], [], [1]))

    async def test_numbers_never_come_again(self) -> None:
        store = await self.opened()
        await store.write([replace(READING, number=7), replace(FULL_ALARM, number=8), replace(EVENT, number=9)])
        await store.write([replace(ENDED, number=10)])
        self.assertEqual(await store.forget(10**15, 100), 4)
        await store.write([replace(READING, number=3), replace(COMMAND, number=4)])
        for _ in range(2):
            kept = await self.reopened(store)
            self.assertEqual(kept.numbers, Numbers(reading=7, alarm=8, event=9, command=10))
        self.assertEqual(await self.there(store), ([3], [], [], [4]))

    async def test_numbers_that_are_reserved(self) -> None:
        store = await self.opened()
        await store.write([Numbers(reading=100, command=7), EVENT, replace(COMMAND, number=9)])
        for _ in range(2):
            self.assertEqual((await self.reopened(store)).numbers, Numbers(reading=100, event=1, command=9))
            await store.write([READING, Numbers(reading=99, event=1)])


class WholeContract(DeviceContract, WriteContract, PageContract, ForgetContract):
    """All of it."""


class MemoryContract(WholeContract, TestCase):
    def setUp(self) -> None:
        self.make = MemoryStore


class SQLiteContract(WholeContract, TestCase):
    def setUp(self) -> None:
        path = Path(self.mktemp())
        self.make = lambda: SQLiteStore(path, cast("IReactorFromThreads", reactor))


class SpooledContract(WholeContract, TestCase):
    """A store that is never away, with all that is there for when it is."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()

        threads, clock = cast("IReactorFromThreads", reactor), cast("IReactorTime", reactor)
        store = SQLiteStore(folder / "cmmd.sqlite", threads)
        self.spool = Spool(folder / "spool.sqlite", threads, most_mib=100, spare_mib=0)
        known = Known(folder / "known.sqlite", threads, clock)
        self.make = lambda: SpooledStore(store, self.spool, known, clock)

    async def opened(self) -> IStore:
        """One that has claimed its store, which it does by itself."""
        store = await super().opened()
        await store.write([])
        while len(self.spool.identities) > 1:
            await deferLater(reactor, 0.01)
        return store

    async def test_who_writes(self) -> None:
        """It claims the store itself, for its spool."""
        store = await self.opened()
        await store.add_device(PLAIN)
        kept = await self.reopened(store)
        await store.close()
        self.assertEqual(kept.writer, (await self.spool.open()).identity)
        await self.spool.close()


ODD_SETTINGS = (
    *("TimeZone TO 'America/St_Johns'", "DateStyle TO 'German, DMY'", "IntervalStyle TO 'iso_8601'"),
    *("extra_float_digits TO -15", "bytea_output TO 'escape'", "synchronous_commit TO off", "jit_above_cost TO 0"),
    *("default_transaction_isolation TO 'serializable'", "standard_conforming_strings TO off"),
    *("backslash_quote TO on", "client_encoding TO 'LATIN1'", "lc_numeric TO 'C'", "statement_timeout TO '1s'"),
)


class PostgresContract(WholeContract, TestCase):
    """Whatever the database is set to."""

    timeout = 180

    def setUp(self) -> None:
        url = cluster().lend_store()
        self.addCleanup(cluster().take_back_store, url)
        self.use(url)
        for name, value in (("PGTZ", "Asia/Tehran"), ("PGDATESTYLE", "SQL")):
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)

    def use(self, url: str) -> None:
        name = url.rpartition("/")[2]
        cluster().execute("; ".join(f"ALTER DATABASE {name} SET {one}" for one in ODD_SETTINGS))
        self.make = lambda: PostgresStore(url, reactor)

    async def test_made_from_nothing(self) -> None:
        """The other tests get their tables ready."""
        self.use(cluster().new_database())
        await self.test_every_kind_comes_back()
