"""Live records: the paper's, what it is made of, and the view that people have of it."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.fleet.telemetry.live import Live, LiveRecord
from cmmd.fleet.telemetry.view import PointNow, view_of
from cmmd.modbus.frames import Function
from cmmd.modbus.image import RegisterImage
from cmmd.store.records import Device, LastUpload
from cmmd.wire.messages import ReqData
from tests.uploads import AT_REST, HGM6120N_PLAN, change_upload, full_upload
from tests.world import HOSTID, START_S, World

DEVICE = Device(hostid="A", hostname="", password_hash=None, moduletype="HGM6120N", number=7, registered_at=0)


class MonitorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.register()

    def test_every_registered_device_has_one(self) -> None:
        monitor = self.world.fleet.live.monitor(f"monitor_{HOSTID}")
        assert monitor is not None
        self.assertEqual((monitor.id, monitor.ymid, monitor.hostid), (0, 1, HOSTID))
        self.assertEqual((monitor.data, monitor.mask), (RegisterImage().to_bytes(), {}))
        self.assertEqual((monitor.status, monitor.itime, monitor.deviceNo), (0, 0, None))

    def test_nobody_elses(self) -> None:
        for name in (HOSTID, "monitor_", "monitor_X", f"Monitor_{HOSTID}", ""):
            self.assertIsNone(self.world.fleet.live.monitor(name), name)

    def test_after_uploads(self) -> None:
        transport = self.world.connect()
        transport.deliver(b'{"method":"LongCon","hostid":"%s"}' % HOSTID.encode())
        self.world.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        self.world.clock.advance(1)
        coils, registers, _ = (full_upload().params or "").split(";")
        self.world.fleet.uploads.full(
            ReqData(params=f"{coils};{registers}", hostid=HOSTID), HGM6120N_PLAN, historic=False
        )
        self.world.fleet.uploads.byte_order_decided(HOSTID, "little")
        self.world.fleet.uploads.change(change_upload({45: 1}), historic=False)
        monitor = self.world.fleet.live.monitor(f"monitor_{HOSTID}")
        assert monitor is not None
        self.assertEqual((monitor.id, monitor.status, monitor.deviceNo), (3, 1, 1))
        self.assertEqual(monitor.itime, int((START_S + 1) * 1000))
        self.assertEqual(monitor.mask, {"01": [(0, 90)], "03": [(0, 56)]})
        self.assertEqual(RegisterImage.from_bytes(monitor.data).known(Function.READ_COILS), (range(90),))
        transport.hang_up()
        monitor = self.world.fleet.live.monitor(f"monitor_{HOSTID}")
        assert monitor is not None
        self.assertEqual(monitor.status, 0)


class RestoreTests(SynchronousTestCase):
    def live(self, *uploads: LastUpload, device: Device = DEVICE) -> Live:
        return Live(
            device=lambda hostid: device if hostid == device.hostid else None,
            online=lambda _: False,
            catalog=load_catalog(),
            uploads=uploads,
        )

    LAST = LastUpload(
        hostid="A", upload=12, at=5000, unit=1, kept_at=4000, inputs=0x22, image=RegisterImage().to_bytes()
    )

    def test_as_it_was(self) -> None:
        record = self.live(self.LAST)["A"]
        self.assertEqual(replace(replace(record.to_save(), counters=b""), hostid="A"), self.LAST)
        self.assertTrue(record.stale)
        self.assertEqual(record.owed, "first")

    def test_damaged_ones_and_those_of_nobody_are_left_out(self) -> None:
        live = self.live(replace(self.LAST, hostid="B"), replace(self.LAST, image=b"junk"))
        self.assertEqual((live["A"].upload, live["A"].at), (0, None))
        self.assertRaises(KeyError, live.__getitem__, "B")
        self.assertEqual(list(live), ["A"])
        self.assertEqual(len(live), 1)

    def test_undecided_registers_are_older_than_nothing(self) -> None:
        """Nobody knows what they said: what was there before them is not known any more, either."""
        image, undecided = RegisterImage(), RegisterImage()
        holding = Function.READ_HOLDING_REGISTERS
        image.merge_change(holding, 5, bytes(6), "little")
        undecided.merge_change(holding, 6, b"\x88\x13", "little")
        record = self.live(replace(self.LAST, image=image.to_bytes(), undecided=undecided.to_bytes()))["A"]
        assert record.known.older is not None
        self.assertEqual(record.known.older.registers(holding, 5, 3), (0, None, 0))
        self.assertEqual(record.known.register(5), None)
        self.assertIsNone(record.known.undecided)


class ViewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def record(self, moduletype: str = "HGM6120N") -> LiveRecord:
        self.world.register(moduletype=moduletype)
        return self.world.fleet.live[HOSTID]

    def points(self, record: LiveRecord) -> dict[str, PointNow]:
        return {point.name: point for point in view_of(record, START_S, online=True).points}

    def test_nothing_yet(self) -> None:
        view = view_of(self.record(), START_S, online=True)
        self.assertEqual(
            (view.profile, view.upload, view.at, view.freshness_s, view.stale), ("hgm6120n", 0, None, None, True)
        )
        self.assertEqual(view.completeness, 0)
        self.assertEqual({point.quality for point in view.points}, {"unknown"})
        self.assertEqual({signal.active for signal in view.signals}, {None})
        self.assertEqual((view.engine_state, view.engine_turns, view.mode), (None, None, None))
        self.assertEqual(set(view.inputs.values()), {None})

    def test_complete(self) -> None:
        record = self.record()
        self.world.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        view = view_of(record, START_S + 4.5, online=True)
        self.assertEqual((view.freshness_s, view.stale, view.completeness), (4.5, False, 1.0))
        self.assertEqual((view.engine_state, view.engine_turns, view.mode), ("standby", False, "auto"))
        points = self.points(record)
        self.assertEqual(points["remote_start_state"].quality, "undecided", "after three uploads it is not any more")
        self.assertEqual({one.quality for one in points.values() if one.name != "remote_start_state"}, {"good"})
        frequency = points["mains_frequency"]
        self.assertEqual((frequency.value, frequency.unit, frequency.word), (50.0, "Hz", None))
        self.assertEqual(points["engine_state"].word, "standby")
        signals = {signal.name: signal.active for signal in view.signals}
        self.assertEqual((signals["mains_normal"], signals["low_oil_pressure_shutdown"]), (True, False))
        self.assertIs(signals["generator_undervoltage_warning"], False, "it is true at rest")

    def test_half_of_it(self) -> None:
        record = self.record()
        self.world.fleet.uploads.byte_order_decided(HOSTID, "little")
        self.world.fleet.uploads.change(change_upload({6: 5000, 17: 32767}, FireAlarm=1), historic=False)
        view = view_of(record, START_S, online=True)
        assert view.completeness is not None
        self.assertTrue(0 < view.completeness < 0.05)
        points = self.points(record)
        self.assertEqual(
            (points["mains_frequency"].quality, points["coolant_temperature"].quality), ("good", "unknown")
        )
        self.assertIs(view.inputs["fire_alarm"], True)

    def test_stale_after_a_restart(self) -> None:
        self.record()
        self.world.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        self.successResultOf(self.world.fleet.save())
        self.world = World(store=self.world.store)
        view = view_of(self.world.fleet.live[HOSTID], START_S + 100, online=True)
        self.assertEqual((view.stale, view.freshness_s, view.completeness), (True, 100, 0))
        self.assertEqual({one.quality for one in view.points if one.name != "remote_start_state"}, {"stale"})

    def test_offline(self) -> None:
        record = self.record()
        self.world.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        view = view_of(record, START_S, online=False)
        self.assertEqual({one.quality for one in view.points if one.name != "remote_start_state"}, {"stale"})

    def test_a_frame_that_did_not_come(self) -> None:
        record = self.record()
        self.world.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        coils, _, later = (full_upload().params or "").split(";")
        self.world.fleet.uploads.full(ReqData(params=f"{coils};{later}", hostid=HOSTID), HGM6120N_PLAN, historic=False)
        points = self.points(record)
        self.assertEqual((points["mains_frequency"].value, points["mains_frequency"].quality), (50.0, "stale"))
        self.assertEqual((points["starts"].value, points["starts"].quality), (12, "good"))
        monitor = self.world.fleet.live.monitor(f"monitor_{HOSTID}")
        assert monitor is not None
        self.assertEqual(monitor.mask, {"01": [(0, 90)], "03": [(0, 45), (46, 10)]})

    def test_implausible(self) -> None:
        record = self.record()
        self.world.fleet.uploads.full(full_upload({6: 65000, 21: 101}), HGM6120N_PLAN, historic=False)
        points = self.points(record)
        frequency = points["mains_frequency"]
        self.assertEqual((frequency.value, frequency.quality), (None, "implausible"))
        self.assertEqual([one.value for one in frequency.readings], [650.0, 6500.0])
        self.assertEqual(points["fuel_level"].quality, "implausible")
        self.assertIsNone(record.profile.points(record.known)["fuel_level"])

    def test_undecided(self) -> None:
        """Read in each order that is plausible, and never as if it were certain."""
        record = self.record("HGM4020N")
        self.world.fleet.uploads.change(change_upload({6: 500, 13: 0xF401, 0: 0}), historic=False)
        points = self.points(record)
        for name, order in (("mains_frequency", "little"), ("generator_frequency", "big")):
            self.assertEqual((points[name].value, points[name].quality), (None, "undecided"))
            self.assertEqual([(one.value, one.when) for one in points[name].readings], [(50.0, f"byte_order={order}")])
        self.assertEqual((points["mains_voltage_l1_n"].value, points["mains_voltage_l1_n"].quality), (0, "good"))
        self.assertIsNone(view_of(record, START_S, online=True).byte_order)

    def test_a_profile_without_names(self) -> None:
        record = self.record("unheard of")
        self.world.fleet.uploads.change(change_upload({6: 0x0101}, {0: 1}), historic=False)
        view = view_of(record, START_S, online=True)
        self.assertEqual((view.profile, view.points, view.signals, view.completeness), ("generic", [], [], None))

    def test_frames_without_a_place(self) -> None:
        record = self.record()
        foreign = (full_upload(coils=AT_REST).params or "").split(";")[0]
        self.world.fleet.uploads.full(
            ReqData(params=f"{foreign};{foreign}", hostid=HOSTID), HGM6120N_PLAN, historic=False
        )
        self.assertEqual(view_of(record, START_S, online=True).unplaced, (foreign, foreign))
