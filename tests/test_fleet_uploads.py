"""The way of an upload: live record, events, alarms, history; on a live port and on one for history."""

from functools import partial
from itertools import pairwise

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.device_records import MOST_WAITING_A_DEVICE
from cmmd.fleet.devices.inputs import REMOTE_INHIBITED
from cmmd.fleet.history.history import NamedReading
from cmmd.fleet.history.journal import BATCH_S
from cmmd.fleet.late_uploads import HISTORIC_GAP_S, WrongTime
from cmmd.fleet.uploads import LOOK_AGAIN_S
from cmmd.modbus.frames import ExceptionResponse, Function
from cmmd.modbus.image import RegisterImage
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Query
from cmmd.wire.messages import ReqData, ReqDataChange
from tests.uploads import AT_REST, HGM6120N_PLAN, STANDBY, change_upload, full_upload
from tests.world import HOSTID, RETENTION_DAYS, START_S, World, login_params

RUNNING = {**STANDBY, 6: 0, 13: 5001, 34: 9}


class UploadsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.register()
        self.world.write_batch()
        self.world.events.clear()

    def take(self, upload: ReqData | ReqDataChange, *, historic: bool = False) -> Deferred[None] | None:
        uploads = self.world.fleet.uploads
        if isinstance(upload, ReqData):
            return uploads.full(upload, HGM6120N_PLAN, historic=historic)
        return uploads.change(upload, historic=historic)

    def kept(self, upload: ReqData | ReqDataChange, *, historic: bool = False) -> bool:
        """Take one; whether it was due. Ends when it is durable."""
        durable = self.take(upload, historic=historic)
        if durable is None:
            return False
        self.assertNoResult(durable)
        self.world.write_batch()
        if historic or upload.itime is not None:
            self.assertNoResult(durable)
            self.world.clock.advance(HISTORIC_GAP_S)
        self.successResultOf(durable)
        return True

    def readings(self) -> list[NamedReading]:
        page = Deferred.fromCoroutine(self.world.fleet.history.page(Query(hostid=HOSTID, limit=1000)))
        return self.successResultOf(page).readings

    def reasons(self) -> list[tuple[str, int]]:
        return [(one.reading.reason, one.reading.suppressed) for one in self.readings()]

    def told(self) -> list[str]:
        """Events since this was last asked, without those of evidence: their kind, and the detail that tells most."""
        keys = ("signal", "after", "state", "breaker")
        told = [
            " ".join([event.kind, *[str(event.details[key]) for key in keys if key in event.details]])
            for event in self.world.events
            if event.kind != "reading_decided"
        ]
        self.world.events.clear()
        return told


class KeptTests(UploadsTestCase):
    def test_first_interval_change(self) -> None:
        self.assertTrue(self.kept(full_upload()))
        start = self.world.clock.seconds()
        kept_at = []
        for second in range(3, 200, 3):
            self.world.clock.advance(start + second - self.world.clock.seconds())
            registers = {**STANDBY, 6: 5000 + second % 7}
            coils = AT_REST if second < 150 else AT_REST - {41} | {42}
            if self.kept(full_upload(registers, coils)):
                kept_at.append(second)
        self.assertEqual(kept_at, [60, 123, 150], "the time since the last kept one has to exceed 60 s")
        self.assertEqual(self.reasons(), [("first", 0), ("interval", 0), ("interval", 0), ("change", 0)])
        self.assertEqual(self.world.counters.readings, {"first": 1, "interval": 2, "change": 1})

    def test_what_a_reading_holds(self) -> None:
        self.world.fleet.uploads.byte_order_decided(HOSTID, "little")
        self.kept(change_upload({6: 5001, 17: 32766}, {40: 2}, FireAlarm=0))
        (named,) = self.readings()
        reading = named.reading
        self.assertEqual((reading.number, reading.hostid, reading.at), (1, HOSTID, int((START_S + BATCH_S) * 1000)))
        self.assertEqual((reading.profile, reading.undecided), (1, b""))
        self.assertEqual(len(reading.points), 50)
        self.assertEqual(reading.image, self.world.fleet.live[HOSTID].known.image.to_bytes())
        self.assertEqual(named.points["mains_frequency"], 50.01)
        self.assertEqual({name for name, value in named.points.items() if value is not None}, {"mains_frequency"})

    def test_flapping(self) -> None:
        """One kept a second, with the number of those left out; the last state is kept all the same."""
        self.kept(full_upload())
        self.world.clock.advance(10)
        count = 0
        for n in range(50):
            coils = AT_REST | ({24} if n % 2 == 0 else set())
            count += self.take(full_upload(coils=coils)) is not None
            self.world.clock.advance(0.1)
        self.assertEqual(count, 5)
        self.world.clock.pump([1.0] * 5)
        self.assertFalse(self.kept(full_upload()))
        reasons = self.reasons()[1:]
        self.assertEqual({reason for reason, _ in reasons}, {"change"})
        left_out = sum(suppressed for _, suppressed in reasons)
        self.assertEqual(count + left_out, 50, "each is kept or counted")
        self.assertEqual(len(reasons), count + 1, "the last one was left out, and made up for")
        self.assertEqual(self.world.counters.suppressed, sum(suppressed for _, suppressed in reasons))
        times = [one.reading.at for one in self.readings()[1:]]
        self.assertGreaterEqual(
            min(later - at for at, later in pairwise(times)), 800
        )  # the last one is of the last upload
        self.assertLessEqual(len(times), 7)

    def test_the_last_word_before_silence(self) -> None:
        """A change less than a second after another is kept, though the device says nothing more."""
        self.kept(full_upload(coils=AT_REST | {24}))
        self.world.clock.advance(0.5)
        self.assertIsNone(self.take(full_upload(coils=AT_REST | {24, 8})))
        for _ in range(3):
            self.world.clock.advance(1)
        self.assertEqual(self.reasons(), [("first", 0), ("change", 1)])
        kept = RegisterImage.from_bytes(self.readings()[-1].reading.image)
        self.assertTrue(kept.bit(Function.READ_COILS, 8))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_the_last_word_before_the_end(self) -> None:
        self.kept(full_upload(coils=AT_REST | {24}))
        self.world.clock.advance(0.5)
        self.take(full_upload(coils=AT_REST | {24, 8}))
        self.successResultOf(self.world.fleet.save())
        self.assertEqual(self.reasons(), [("first", 0), ("change", 1)])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_the_last_word_while_the_store_is_away(self) -> None:
        """It is kept when the store is back, though the device has fallen silent."""
        self.kept(full_upload())
        self.world.clock.advance(10)
        store = self.world.store
        assert isinstance(store, MemoryStore)
        self.patch(store, "write", lambda _: fail(StoreUnavailable("disk full")))
        durable = self.take(full_upload(coils=AT_REST | {8}))
        assert durable is not None
        self.world.write_batch()
        self.failureResultOf(durable, StoreUnavailable)
        self.world.clock.pump([1.0] * 5)
        del store.write
        self.world.clock.pump([1.0] * 40)
        self.assertEqual(self.reasons(), [("first", 0), ("change", 0)])
        self.assertEqual(self.world.counters.not_kept, 1)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def inhibited_after_a_kill(self) -> bool | None:
        """What a new process on the same store says of the inhibit."""
        assert isinstance(self.world.store, MemoryStore)
        return REMOTE_INHIBITED.state(World(store=self.world.store).fleet.live[HOSTID].inputs)

    def test_an_inhibit_that_the_store_has_refused(self) -> None:
        """It is kept when the store is back, though the module never says it again: it sends full uploads only."""
        self.kept(full_upload())
        self.kept(change_upload(InhbitRemote=0))
        store = self.world.store
        assert isinstance(store, MemoryStore)
        self.patch(store, "write", lambda _: fail(StoreUnavailable("disk full")))
        durable = self.take(change_upload(InhbitRemote=1))
        assert durable is not None
        self.world.write_batch()
        self.failureResultOf(durable, StoreUnavailable)
        for _ in range(60):
            due = self.take(full_upload())
            self.world.clock.advance(1)
            if due is not None:
                self.failureResultOf(due, StoreUnavailable)
        del store.write
        self.assertIs(self.inhibited_after_a_kill(), False)
        self.world.clock.advance(LOOK_AGAIN_S)
        self.assertIs(self.inhibited_after_a_kill(), True)
        self.world.clock.pump([1.0] * 40)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_an_inhibit_behind_too_many_changes(self) -> None:
        """The same where it was the queue of the device's changes that had no room."""
        store, written = self.world.store, Deferred[None]()
        assert isinstance(store, MemoryStore)
        self.patch(store, "write", lambda _: written)
        keep = partial(self.world.registry.keep, HOSTID, lambda _: {"oldest_undecided_at": None})
        changes = [Deferred.fromCoroutine(keep()) for _ in range(MOST_WAITING_A_DEVICE + 1)]
        durable = self.take(change_upload(InhbitRemote=1))
        assert durable is not None
        self.failureResultOf(durable, StoreUnavailable)
        del store.write
        written.callback(None)
        for change in changes:
            self.successResultOf(change)
        self.world.clock.advance(LOOK_AGAIN_S)
        self.assertIs(self.inhibited_after_a_kill(), True)

    def test_a_report_that_was_cleared_while_the_store_is_away(self) -> None:
        self.kept(change_upload(InhbitRemote=1))
        store = self.world.store
        assert isinstance(store, MemoryStore)
        self.patch(store, "write", lambda _: fail(StoreUnavailable("disk full")))
        cleared = self.world.fleet.uploads.clear_input(HOSTID, REMOTE_INHIBITED, "cleared")
        self.failureResultOf(cleared, StoreUnavailable)
        del store.write
        self.world.clock.advance(LOOK_AGAIN_S)
        self.assertIsNone(self.inhibited_after_a_kill())

    def test_empty_uploads_are_no_news(self) -> None:
        """Nothing new, or a controller that does not answer: the record gets no fresher by them."""
        self.kept(full_upload())
        at = self.world.fleet.live[HOSTID].at
        for _ in range(100):
            self.world.clock.advance(3)
            self.assertIsNone(self.take(ReqData(params="", hostid=HOSTID)))
        self.assertEqual(self.world.fleet.live[HOSTID].at, at)
        self.assertEqual(len(self.readings()), 1)

    def test_a_frame_that_does_not_come_is_not_kept_as_if_it_did(self) -> None:
        self.kept(full_upload())
        coils, _, later = (full_upload().params or "").split(";")
        self.world.clock.advance(61)
        self.assertTrue(self.kept(ReqData(params=f"{coils};{later}", hostid=HOSTID)))
        first, second = self.readings()
        self.assertEqual((first.points["mains_frequency"], second.points["mains_frequency"]), (50.0, None))
        self.assertEqual((first.points["starts"], second.points["starts"]), (12, 12))

    def test_a_clock_that_goes_back(self) -> None:
        self.kept(full_upload())
        record = self.world.fleet.live[HOSTID]
        assert record.kept_at is not None
        record.kept_at += 86_400_000
        self.assertTrue(self.kept(full_upload()))
        self.assertFalse(self.kept(full_upload()))

    def test_what_the_store_does_not_take_is_not_kept_and_owed(self) -> None:
        store = self.world.store
        assert isinstance(store, MemoryStore)
        self.patch(store, "write", lambda _: fail(StoreUnavailable("disk full")))
        durable = self.take(full_upload())
        assert durable is not None
        self.world.write_batch()
        self.failureResultOf(durable, StoreUnavailable)
        again = self.take(full_upload())
        assert again is not None
        self.failureResultOf(again, StoreUnavailable)
        self.assertEqual(self.world.counters.not_kept, 2)
        self.assertEqual(self.world.fleet.live[HOSTID].upload, 2, "live goes on")
        del store.write
        self.world.clock.advance(5)
        self.assertTrue(self.kept(full_upload()))
        self.assertEqual(self.reasons(), [("first", 0)])

    def test_nothing_taken_is_nothing_to_keep(self) -> None:
        self.assertIsNone(self.take(ReqData(params="0103junk", hostid=HOSTID)))
        self.assertIsNone(self.take(ReqData(params=None, hostid=HOSTID)))
        record = self.world.fleet.live[HOSTID]
        self.assertEqual((record.upload, record.at, record.stale), (0, None, True))


class ToldTests(UploadsTestCase):
    def test_what_is_first_seen_has_not_happened(self) -> None:
        self.kept(full_upload(RUNNING, {7, 41, 72}))
        self.assertEqual(self.told(), [])

    def test_what_happens(self) -> None:
        self.kept(full_upload())
        self.world.clock.advance(3)
        self.assertTrue(self.kept(full_upload(RUNNING, {7, 42, 72, 64, 69})))
        self.assertEqual(
            self.told(),
            [
                "mode_changed manual",
                "mains_lost",
                "engine_started normal running",
                "breaker_changed mains",
                "breaker_changed generator",
                "alarm_raised mains_fault_warning",
                "alarm_raised mains_blackout_warning",
            ],
        )
        self.world.clock.advance(3)
        self.assertTrue(self.kept(full_upload()))
        self.assertEqual(len(self.told()), 7)
        self.world.clock.advance(3)
        self.assertFalse(self.kept(full_upload()))
        self.assertEqual(self.told(), [])

    def test_unknown_is_not_cleared(self) -> None:
        self.kept(full_upload(coils=AT_REST | {19}))
        self.assertEqual(self.told(), ["alarm_raised low_oil_pressure_shutdown"])
        self.world.clock.advance(3)
        coils, registers, later = (full_upload().params or "").split(";")
        self.kept(ReqData(params=f"{coils[:-1]}x;{registers};{later}", hostid=HOSTID))
        self.assertEqual(self.told(), [])
        self.kept(full_upload())
        self.assertEqual(self.told(), ["alarm_cleared low_oil_pressure_shutdown"])

    def test_generator_undervoltage_at_rest(self) -> None:
        self.kept(full_upload())
        self.world.clock.advance(3)
        self.kept(full_upload({**STANDBY, 34: 5}))
        self.assertEqual(self.told(), ["engine_started safety run"])
        self.world.clock.advance(3)
        self.kept(full_upload(RUNNING, AT_REST - {76}))
        self.assertEqual(self.told(), ["alarm_raised generator_undervoltage_warning"])
        self.world.clock.advance(3)
        self.kept(full_upload({**STANDBY, 34: 10}))
        self.assertEqual(self.told(), ["alarm_cleared generator_undervoltage_warning"])

    def test_a_coil_that_means_something_only_while_the_engine_runs(self) -> None:
        """Its frame comes and the one with the engine's state does not: nobody knows whether it means anything."""
        self.kept(full_upload(RUNNING, AT_REST - {74, 76}))
        self.world.clock.advance(3)
        coils, _, later = (full_upload(coils=AT_REST).params or "").split(";")
        self.take(ReqData(params=f"{coils};{later}", hostid=HOSTID))
        self.assertEqual(self.told(), [])
        self.take(full_upload())
        self.assertEqual(self.told(), ["engine_stopped standby"])

    def test_a_state_that_there_is_not(self) -> None:
        self.kept(full_upload(RUNNING, AT_REST - {74, 76}))
        self.world.clock.advance(3)
        self.take(full_upload({**RUNNING, 34: 99}, AT_REST - {74, 76}))
        self.assertEqual(self.told(), [])

    def test_a_controller_that_does_not_answer(self) -> None:
        self.kept(full_upload())
        silence = ";".join([ExceptionResponse(1, Function.READ_HOLDING_REGISTERS, 11).to_hex()] * 3)
        heard: list[int | None] = []
        known = self.world.fleet.live[HOSTID].known
        self.world.fleet.uploads.subscribe(lambda record: heard.append(record.at))
        for told in ([], [], ["alarm_raised controller_silent"], [], []):
            self.world.clock.advance(3)
            self.assertIsNone(self.take(ReqData(params=silence, hostid=HOSTID)))
            self.assertEqual(self.told(), told)
            self.assertEqual(
                (known.register(6), known.all_known().register(Function.READ_HOLDING_REGISTERS, 6)), (None, 5000)
            )
            self.assertEqual(len(heard), 1, "of values that are stale now")
        self.take(ReqData(params="", hostid=HOSTID))
        self.take(full_upload())
        self.assertEqual(self.told(), ["alarm_cleared controller_silent"])
        self.take(ReqData(params=silence, hostid=HOSTID))
        self.assertEqual(self.told(), [])

    def test_alarms_that_wait_for_their_end(self) -> None:
        """A device that had too many is looked at again, whether it says anything more or not."""
        for n in range(300):
            self.take(full_upload(coils=AT_REST | ({24} if n % 2 == 0 else set())))
        self.world.write_batch()
        self.assertEqual(len(self.world.fleet.alarms.open_alarms(HOSTID)), 1)
        self.world.clock.pump([1.0] * 60)
        self.assertEqual(self.world.fleet.alarms.open_alarms(HOSTID), [])
        self.assertEqual(self.told()[-1], "alarm_cleared high_temperature_warning")
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_inputs_of_the_device(self) -> None:
        self.kept(change_upload(FireAlarm=1, InhbitRemote=1))
        self.assertEqual(self.told(), ["alarm_raised fire_alarm"])
        self.world.clock.advance(3)
        self.assertTrue(self.kept(change_upload({6: 5000}, FireAlarm=0)))
        self.assertEqual(self.told(), ["alarm_cleared fire_alarm"])

    def test_inputs_make_no_value_new(self) -> None:
        """Of a controller that is silent or not: only the inputs are known as of now."""
        self.kept(full_upload())
        record = self.world.fleet.live[HOSTID]
        silence = ";".join([ExceptionResponse(1, Function.READ_HOLDING_REGISTERS, 11).to_hex()] * 3)
        for _ in range(3):
            self.take(ReqData(params=silence, hostid=HOSTID))
        before = record.at, record.upload, record.fruitless
        self.told()
        self.world.clock.advance(600)
        self.assertTrue(self.kept(change_upload(FireAlarm=1)))
        self.assertEqual(self.told(), ["alarm_raised fire_alarm"], "the controller is silent still")
        self.assertEqual((record.at, record.upload, record.fruitless), before)
        first, inputs = self.readings()
        self.assertGreater(inputs.reading.at, first.reading.at + 590_000)
        self.assertEqual((inputs.reading.reason, inputs.reading.inputs), ("change", 0b0010_0010))
        self.assertEqual(set(inputs.points.values()), {None})
        self.assertFalse(RegisterImage.from_bytes(inputs.reading.image))
        self.assertTrue(self.kept(full_upload()), "with values again, as soon as there are any")
        self.assertEqual(self.told(), ["alarm_cleared controller_silent"])
        self.assertEqual(self.readings()[-1].points["mains_frequency"], 50.0)

    def test_inputs_that_flap(self) -> None:
        """One reading a second, and the last state is kept though nothing follows."""
        self.kept(full_upload())
        for n in range(20):
            self.take(change_upload(InhbitRemote=n % 2))
            self.world.clock.advance(0.1)
        self.world.clock.pump([1.0] * 3)
        inputs = [one.reading for one in self.readings()[1:]]
        self.assertLessEqual(len(inputs), 4)
        self.assertEqual(sum(1 + one.suppressed for one in inputs), 20 + 1, "the last was left out, and made up for")
        self.assertEqual(inputs[-1].inputs, 0b1000_1000)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_another_controller(self) -> None:
        self.kept(full_upload(coils=AT_REST | {19}))
        self.told()
        for moduletype, profile, told in (
            ("HGM4020N", "hgm4000n", []),  # has such a signal, too, and nothing is known of it
            ("something else", "generic", ["alarm_cleared low_oil_pressure_shutdown"]),
        ):
            device = self.successResultOf(
                Deferred.fromCoroutine(self.world.registry.login(login_params(moduletype=moduletype), "192.0.2.7"))
            )
            self.world.fleet.uploads.registered(device)
            self.assertEqual(self.told(), [f"profile_changed {profile}"])
            self.world.fleet.uploads.registered(device)
            self.assertEqual(self.told(), [])
            self.assertFalse(self.world.fleet.live[HOSTID].known.image)
            self.world.clock.advance(3)
            self.kept(change_upload({6: 0x0101}))
            self.assertEqual(self.told(), told)
        self.assertEqual(self.world.fleet.alarms.open_alarms(), [])


class HistoricTests(UploadsTestCase):
    def test_history_goes_to_history_only(self) -> None:
        self.kept(full_upload())
        before = self.world.fleet.live.monitor(f"monitor_{HOSTID}")
        self.world.fleet.uploads.byte_order_decided(HOSTID, "little")
        self.assertTrue(self.kept(full_upload(RUNNING, {7, 41, 72, 19}), historic=True))
        self.assertTrue(self.kept(change_upload({13: 4999}), historic=True))
        self.assertEqual(self.world.fleet.live.monitor(f"monitor_{HOSTID}"), before)
        self.assertEqual(self.told(), [])
        self.assertEqual(self.reasons(), [("first", 0), ("historic", 0), ("historic", 0)])
        self.assertEqual([one.points["generator_frequency"] for one in self.readings()], [0, 50.01, 49.99])
        self.assertIsNone(self.take(ReqData(params="junk", hostid=HOSTID), historic=True))
        uploads = self.successResultOf(self.world.store.open()).uploads
        self.assertEqual([one.upload for one in uploads], [1])

    def test_after_a_login_history_begins_anew(self) -> None:
        self.kept(full_upload(), historic=True)
        device = self.world.registry.device(HOSTID)
        assert device is not None
        self.world.fleet.uploads.registered(device)
        self.kept(change_upload({13: 4999}), historic=True)
        self.assertIsNone(self.readings()[1].points["mains_frequency"])


class DatedTests(UploadsTestCase):
    """Uploads that say when they were, on a live port."""

    def dated(self, ago_s: float, upload: ReqData | ReqDataChange | None = None) -> ReqData | ReqDataChange:
        return replace(upload or full_upload(RUNNING), itime=int((self.world.clock.seconds() - ago_s) * 1000))

    def test_to_history_at_that_time_and_nowhere_else(self) -> None:
        self.kept(full_upload())
        before = self.world.fleet.live.monitor(f"monitor_{HOSTID}")
        alarming = full_upload(RUNNING, {7, 41, 72, 19})
        self.world.fleet.uploads.byte_order_decided(HOSTID, "little")
        self.assertTrue(self.kept(self.dated(7200, alarming)))
        self.assertTrue(self.kept(self.dated(3600, change_upload({13: 4999}, FireAlarm=1))))
        self.assertEqual(self.world.fleet.live.monitor(f"monitor_{HOSTID}"), before)
        self.assertEqual(self.told(), [])
        self.assertEqual(self.world.fleet.alarms.open_alarms(), [])
        self.assertEqual(self.reasons(), [("historic", 0), ("historic", 0), ("first", 0)], "in the order of time")
        ages = [round(START_S - one.reading.at / 1000) for one in self.readings()]
        self.assertEqual(ages, [7200, 3600, 0])
        self.assertEqual([one.points["generator_frequency"] for one in self.readings()], [50.01, 49.99, 0])
        self.assertEqual([one.reading.inputs for one in self.readings()], [0, 0b0010_0010, 0])

    def test_inputs_without_values(self) -> None:
        """They are kept at their time, and beside them nothing of what was known at another."""
        self.assertTrue(self.kept(self.dated(7200)))
        self.assertTrue(self.kept(self.dated(3600, change_upload(FireAlarm=1))))
        values, inputs = self.readings()
        self.assertEqual((inputs.reading.reason, inputs.reading.inputs), ("historic", 0b0010_0010))
        self.assertEqual(values.points["generator_frequency"], 50.01)
        self.assertEqual(set(inputs.points.values()), {None})
        self.assertFalse(RegisterImage.from_bytes(inputs.reading.image))

    def test_the_same_on_a_port_for_history(self) -> None:
        upload = self.dated(600)
        self.kept(upload, historic=True)
        self.assertEqual(self.readings()[0].reading.at, upload.itime)

    def test_live_uploads_go_on_as_if_nothing_had_been(self) -> None:
        self.kept(full_upload())
        for ago_s in (300, 200, 100):
            self.kept(self.dated(ago_s))
        self.world.clock.advance(3)
        self.assertFalse(self.kept(full_upload()), "it is not due for the sake of what was")
        self.world.clock.advance(61)
        self.assertTrue(self.kept(full_upload()))
        self.assertEqual(self.told(), [])

    def test_times_that_it_cannot_be_from(self) -> None:
        retention_s = RETENTION_DAYS * 86_400
        for ago_s, taken in ((-61, False), (-59, True), (0, True), (retention_s - 1, True), (retention_s + 1, False)):
            with self.subTest(ago_s=ago_s):
                for upload in (full_upload(), change_upload({6: 5000})):
                    dated = self.dated(ago_s, upload)
                    before = len(self.readings())
                    if taken:
                        self.assertTrue(self.kept(dated))
                    else:
                        with self.assertRaisesRegex(WrongTime, "itime: "):
                            self.take(dated)
                    self.assertEqual(len(self.readings()) - before, taken)


class RestartTests(UploadsTestCase):
    def restarted(self) -> World:
        self.successResultOf(self.world.fleet.save())
        self.world = World(store=self.world.store, start_s=self.world.clock.seconds() + 100)
        return self.world

    def test_the_last_upload_is_back_and_stale(self) -> None:
        self.kept(full_upload())
        self.world.clock.advance(3)
        self.assertFalse(self.kept(full_upload({**STANDBY, 6: 4990})))
        before = self.world.fleet.live.monitor(f"monitor_{HOSTID}")
        record = self.restarted().fleet.live[HOSTID]
        self.assertEqual(self.world.fleet.live.monitor(f"monitor_{HOSTID}"), before)
        self.assertTrue(record.stale)
        self.assertIsNone(record.known.register(6), "it need not be true any more")
        assert record.known.older is not None
        self.assertEqual(record.known.older.register(Function.READ_HOLDING_REGISTERS, 6), 4990)
        self.world.clock.advance(1)
        self.assertTrue(self.kept(change_upload({13: 0})))
        self.assertFalse(record.stale)
        self.assertEqual(record.upload, 3)
        self.assertEqual(self.reasons(), [("first", 0), ("first", 0)])
        self.assertEqual([one.reading.number for one in self.readings()], [1, 2])
        self.assertEqual(self.told(), [])

    def test_what_happened_while_we_were_away(self) -> None:
        self.kept(full_upload(coils=AT_REST | {19, 0}))
        self.assertEqual(len(self.told()), 2)
        self.restarted()
        self.assertEqual(len(self.world.fleet.alarms.open_alarms(HOSTID)), 2)
        self.kept(full_upload(RUNNING, {7, 41, 72, 0, 64}))
        self.assertEqual(
            self.told(),
            [
                "mains_lost",
                "engine_started normal running",
                "breaker_changed mains",
                "breaker_changed generator",
                "alarm_raised mains_fault_warning",
                "alarm_cleared low_oil_pressure_shutdown",
            ],
        )
        numbers = [one.number for one in self.world.fleet.alarms.open_alarms()]
        self.assertEqual(numbers, [1, 3])

    def test_byte_order_is_remembered(self) -> None:
        self.successResultOf(
            Deferred.fromCoroutine(self.world.registry.login(login_params(moduletype="HGM4020N"), "192.0.2.7"))
        )
        for frequency in (0xF401, 0xF501, 0xF601):  # big-endian, as little-endian writes them
            self.take(change_upload({6: frequency}))
            self.world.write_batch()
        record = self.restarted().fleet.live[HOSTID]
        self.assertEqual(record.known.byte_order, "big")
        self.kept(change_upload({6: 0xF601}))
        self.assertEqual(record.profile.points(record.known)["mains_frequency"], 50.2)

    def test_what_is_undecided_is_remembered_as_such(self) -> None:
        self.successResultOf(
            Deferred.fromCoroutine(self.world.registry.login(login_params(moduletype="HGM4020N"), "192.0.2.7"))
        )
        self.kept(change_upload({6: 500, 34: 0}))
        (named,) = self.readings()
        self.assertNotEqual(named.reading.undecided, b"")
        self.assertIsNone(named.points["mains_frequency"])
        self.assertEqual(named.points["engine_state"], 0)
        record = self.restarted().fleet.live[HOSTID]
        assert record.known.older is not None
        holding = Function.READ_HOLDING_REGISTERS
        self.assertEqual([record.known.older.register(holding, place) for place in (6, 34)], [None, 0])

    def test_what_is_from_before_ends_no_alarm(self) -> None:
        """What was acknowledged in the moment before a crash is in no table, and the device does not say it again."""
        self.kept(change_upload({34: 9}, {8: 0}))
        self.world.clock.advance(0.5)
        self.assertIsNone(self.take(change_upload({}, {8: 1})))
        self.world.write_batch()
        self.assertEqual(self.told()[-1], "alarm_raised emergency_stop_shutdown")
        self.world = World(store=self.world.store, start_s=self.world.clock.seconds() + 10)
        self.kept(change_upload({17: 40}))
        self.assertEqual(self.told(), [])
        self.assertEqual(len(self.world.fleet.alarms.open_alarms(HOSTID)), 1)
        self.assertIsNone(self.readings()[-1].points["engine_state"])
        self.kept(change_upload({}, {8: 0}))
        self.assertEqual(self.told(), ["alarm_cleared emergency_stop_shutdown"])
