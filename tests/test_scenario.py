"""A genset through a mains failure: what a simulated one uploads becomes exactly these events, alarms and readings."""

from pathlib import Path
from random import Random
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.trial.unittest import TestCase

from cmmd.fleet.history.history import NamedReading
from cmmd.fleet.telemetry.view import view_of
from cmmd.simulator.device import SimulatedDevice
from cmmd.simulator.genset.genset import Genset
from cmmd.store.interface import IStore
from cmmd.store.memory import MemoryStore
from cmmd.store.outbox.known import Known
from cmmd.store.outbox.spool import Spool
from cmmd.store.outbox.spooled import SpooledStore
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import Alarm, Query
from cmmd.wire.messages import LongCon, ReqData, ReqDataChange, encode
from tests.postgres import cluster
from tests.world import HOSTID, World, login_params

reactor: Any = cast("Any", _reactor)

PERIOD_S = 3
OK = b'{"method":"reqdata","message":"OK","retcode":"000000"}'


class ScenarioTestCase(TestCase):
    """A genset in auto mode behind healthy mains, which uploads every three seconds."""

    data_mode = 1

    async def setUp(self) -> None:  # type: ignore[override]
        store = self.store()
        self.world = World(store=store, kept=await store.open())
        self.addCleanup(store.close)
        await self.world.registry.login(login_params(), "192.0.2.7")
        await self.settle()
        self.genset = Genset(Random("scenario"), self.world.clock.seconds, running=False, mains_schedule=False)
        self.device = SimulatedDevice(login_params(), self.genset)
        device = self.world.registry.device(HOSTID)
        assert device is not None
        self.device.follow(device.para_command, self.data_mode)
        self.transport = self.world.connect()
        self.transport.deliver(encode(LongCon(hostid=HOSTID)))
        self.transport.turns()
        self.zero = self.next = self.world.clock.seconds()
        self.world.events.clear()
        self.first = True

    def store(self) -> IStore:
        return MemoryStore()

    async def settle(self) -> None:
        """Let what is to be kept reach the store."""
        self.world.write_batch()
        await self.world.fleet.journal.drain()

    async def upload(self) -> bytes | None:
        if self.data_mode or self.first:
            self.first = False
            return encode(ReqData(params=await self.device.full_upload(), hostid=HOSTID))
        changes = await self.device.change_upload()
        return None if changes is None else encode(ReqDataChange(params=changes, hostid=HOSTID))

    async def live(self, seconds: int) -> None:
        for _ in range(seconds // PERIOD_S):
            upload = await self.upload()
            if upload is not None:
                self.transport.deliver(upload)
                self.transport.turns()
            await self.settle()
            self.transport.turns()
            if upload is not None:
                self.assertEqual(self.transport.segments[-1], OK)
            self.next += PERIOD_S
            self.world.clock.advance(self.next - self.world.clock.seconds())

    def seconds(self, at: int) -> int:
        return round(at / 1000 - self.zero)

    def told(self) -> list[tuple[int, str, object]]:
        """Time, kind, and the detail that tells most, but for how the device is read."""
        keys = ("signal", "state", "breaker", "after")
        return [
            (
                self.seconds(event.at),
                event.kind,
                next((event.details[key] for key in keys if key in event.details), None),
            )
            for event in self.world.events
            if event.kind != "reading_decided"
        ]

    async def kept(self) -> list[NamedReading]:
        await self.world.fleet.save()
        return (await self.world.fleet.history.page(Query(limit=1000))).readings

    async def alarms(self) -> list[Alarm]:
        await self.world.fleet.save()
        return await self.world.store.alarms(Query(limit=1000))


class MainsFailureTests(ScenarioTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.live(12)
        self.genset.fail_mains()
        await self.live(120)
        self.genset.return_mains()
        await self.live(120)

    async def test_events(self) -> None:
        self.assertEqual(
            self.told(),
            [
                (12, "mains_lost", None),
                (12, "alarm_raised", "mains_fault_warning"),
                (12, "alarm_raised", "mains_undervoltage_warning"),
                (12, "alarm_raised", "mains_blackout_warning"),
                (27, "engine_started", "safety run"),
                (42, "breaker_changed", "mains"),
                (45, "breaker_changed", "generator"),
                (132, "mains_returned", None),
                (132, "alarm_cleared", "mains_fault_warning"),
                (132, "alarm_cleared", "mains_undervoltage_warning"),
                (132, "alarm_cleared", "mains_blackout_warning"),
                (144, "breaker_changed", "mains"),
                (144, "breaker_changed", "generator"),
                (171, "engine_stopped", "ETS (energise to stop)"),
            ],
        )
        breakers = [event.details["closed"] for event in self.world.events if event.kind == "breaker_changed"]
        self.assertEqual(breakers, [False, True, True, False])
        numbers = [event.number for event in self.world.events]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        self.assertEqual((await self.world.store.events(Query()))[2:], self.world.events)

    async def test_alarms(self) -> None:
        self.assertEqual(self.world.fleet.alarms.open_alarms(), [])
        self.assertEqual(
            [
                (one.signal, one.severity, self.seconds(one.raised_at), self.seconds(one.cleared_at or 0))
                for one in await self.alarms()
            ],
            [
                ("mains_fault_warning", "warning", 12, 132),
                ("mains_undervoltage_warning", "warning", 12, 132),
                ("mains_blackout_warning", "warning", 12, 132),
            ],
        )

    async def test_kept_readings(self) -> None:
        self.assertEqual(
            [
                (self.seconds(one.reading.at), one.reading.reason, one.reading.suppressed, one.points["engine_state"])
                for one in await self.kept()
            ],
            [
                (0, "first", 0, 0),
                (12, "change", 0, 0),
                (21, "change", 0, 2),
                (24, "change", 0, 3),
                (27, "change", 0, 5),
                (30, "change", 0, 6),
                (33, "change", 0, 7),
                (42, "change", 0, 9),
                (45, "change", 0, 9),
                (108, "interval", 0, 9),
                (132, "change", 0, 9),
                (144, "change", 0, 9),
                (147, "change", 0, 10),
                (168, "change", 0, 11),
                (171, "change", 0, 12),
                (174, "change", 0, 13),
                (180, "change", 0, 15),
                (183, "change", 0, 0),
                (246, "interval", 0, 0),
            ],
        )
        running = next(one.points for one in await self.kept() if self.seconds(one.reading.at) == 108)
        assert running["generator_frequency"] is not None
        self.assertAlmostEqual(running["generator_frequency"], 50, 0)
        self.assertEqual(running["mains_frequency"], 0)

    async def test_the_live_record_at_the_end(self) -> None:
        record = self.world.fleet.live[HOSTID]
        view = view_of(record, self.world.clock.seconds(), online=True)
        self.assertEqual((view.engine_state, view.mode, view.completeness), ("standby", "auto", 1.0))
        self.assertEqual(record.upload, 84)


class ChangesOnlyTests(MainsFailureTests):
    """The same from a device that uploads a full set first, and then what changes."""

    data_mode = 0

    async def test_the_live_record_at_the_end(self) -> None:
        view = view_of(self.world.fleet.live[HOSTID], self.world.clock.seconds(), online=True)
        self.assertEqual((view.engine_state, view.mode, view.completeness), ("standby", "auto", 1.0))
        self.assertEqual(view.packet_gaps, 0)


class FaultTests(ScenarioTestCase):
    async def test_low_oil_pressure_on_load(self) -> None:
        """The engine stops by itself; the alarm stays until somebody resets it at the controller."""
        self.genset.fail_mains()
        await self.live(60)
        self.world.events.clear()
        self.genset.inject("low_oil_pressure")
        await self.live(60)
        self.assertIn("low_oil_pressure_shutdown", [one.signal for one in self.world.fleet.alarms.open_alarms(HOSTID)])
        kinds = [kind for _, kind, _ in self.told()]
        self.assertIn("engine_stopped", kinds)
        self.genset.heal("low_oil_pressure")
        await self.live(30)
        self.assertIn("low_oil_pressure_shutdown", [one.signal for one in self.world.fleet.alarms.open_alarms(HOSTID)])
        self.assertTrue(self.genset.command("stop"))
        await self.live(9)
        self.assertNotIn(
            "low_oil_pressure_shutdown", [one.signal for one in self.world.fleet.alarms.open_alarms(HOSTID)]
        )
        self.assertEqual(self.told()[-1][1:], ("alarm_cleared", "low_oil_pressure_shutdown"))


class OnPostgres(ScenarioTestCase):
    """The same with everything kept in PostgreSQL, behind its spool."""

    def store(self) -> IStore:
        url = cluster().new_database()
        self.addCleanup(cluster().drop_database, url)
        folder = Path(self.mktemp())
        folder.mkdir()
        spool = Spool(folder / "spool.sqlite", reactor, most_mib=100, spare_mib=0)
        known = Known(folder / "known.sqlite", reactor, reactor)
        return SpooledStore(PostgresStore(url, reactor), spool, known, reactor)


class MainsFailureOnPostgresTests(OnPostgres, MainsFailureTests):
    pass


class ChangesOnlyOnPostgresTests(OnPostgres, ChangesOnlyTests):
    pass


class FaultOnPostgresTests(OnPostgres, FaultTests):
    pass
