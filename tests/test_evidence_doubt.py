"""Evidence in doubt: from strangers, after gaps, and where something is decided while no upload comes."""

from unittest import mock

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from cmmd.fleet.events import Kind
from cmmd.fleet.uploads import LOOK_AGAIN_S
from cmmd.store.records import Query
from cmmd.wire.messages import ChangeParams, ReqData, ReqDataChange
from tests.test_evidence import TENTHS, EvidenceTestCase
from tests.uploads import AT_REST, HGM6120N_PLAN, STANDBY, full_upload
from tests.world import HOSTID

COUNTERS = {42: 0, 43: 100, 46: 0, 47: 50, 48: 0, 49: 5000, 50: 15, 51: 10}


class DoubtTestCase(EvidenceTestCase):
    def change(self, registers: dict[int, int], order: str, *, trusted: bool = True, historic: bool = False) -> None:
        """Have the device, or a stranger, upload changes in one byte order."""
        big = order == "big"
        items = [{f"{at:04X}": value.to_bytes(2, "big" if big else "little").hex()} for at, value in registers.items()]
        self.world.clock.advance(3)
        message = ReqDataChange(params=ChangeParams(f03=items), hostid=HOSTID)
        self.world.fleet.uploads.change(message, historic=historic, trusted=trusted)
        self.world.write_batch()

    def volts(self, order: str, times: int = 4, *, trusted: bool = True, historic: bool = False) -> None:
        """Have voltages change that can be true in one byte order only."""
        for count in range(times):
            self.change({0: 231 + count, 1: 229, 2: 228}, order, trusted=trusted, historic=historic)

    def frames(self, registers: dict[int, int], coils: set[int], places: tuple[int, ...]) -> None:
        """Take a full upload that lacks some frames of its plan."""
        texts = (full_upload(registers, coils).params or "").split(";")
        message = ReqData(params=";".join(texts[place] for place in places), hostid=HOSTID)
        self.world.fleet.uploads.full(message, HGM6120N_PLAN, historic=False)
        self.world.write_batch()


class StrangerTests(DoubtTestCase):
    """A session that is not trusted decides no byte order, and opens none again."""

    def test_decided_by_the_device(self) -> None:
        for historic in (False, True):
            self.setUp()
            self.full(STANDBY)
            self.volts("big")
            self.volts("little", 9, trusted=False, historic=historic)
            self.assertEqual(self.choice("byte_order"), "big", historic)
            self.full(STANDBY)
            self.change({30: 272}, "big")
            self.assertEqual(self.point("time_to_maintenance_hours"), (272, "good"))

    def test_open(self) -> None:
        for historic in (False, True):
            self.setUp()
            self.full(STANDBY)
            self.volts("little", 9, trusted=False, historic=historic)
            self.assertIsNone(self.choice("byte_order"), historic)
            self.full(STANDBY)
            self.volts("big")
            self.assertEqual(self.choice("byte_order"), "big")

    def test_the_device_says_all_of_its_history_anew(self) -> None:
        self.full(STANDBY)
        self.volts("little", 9, trusted=False, historic=True)
        self.world.fleet.uploads.full(full_upload(STANDBY), HGM6120N_PLAN, historic=True)
        self.volts("big", historic=True)
        self.assertEqual(self.choice("byte_order"), "big")


class OpenTests(DoubtTestCase):
    """While the byte order is open, alarms are looked at only for registers that they depend on."""

    def looks(self, registers: dict[int, int]) -> int:
        """Count how often a stranger's change upload has all alarms looked at."""
        alarms = self.world.fleet.alarms
        with mock.patch.object(alarms, "look", wraps=alarms.look) as look:
            self.change(registers, "little", trusted=False)
        return look.call_count

    def test_looks(self) -> None:
        self.full(STANDBY)
        state = self.view.engine_state
        self.assertIsNotNone(state)
        self.assertEqual([self.looks({0: 240 + count}) for count in range(3)], [0, 0, 0])
        self.assertEqual(self.view.engine_state, state)
        self.assertEqual([self.looks({34: 9 + count}) for count in range(3)], [1, 0, 0])
        self.assertIsNone(self.view.engine_state)


class DecidedElsewhereTests(DoubtTestCase):
    """Where something is decided outside an upload of the live record, alarms are looked at again at once."""

    def setUp(self) -> None:
        super().setUp()
        self.full(STANDBY)
        self.change({34: 9}, "big")
        self.assertEqual((self.alarms(), self.view.engine_state), ([], None))

    def check(self) -> None:
        self.assertEqual(self.view.engine_state, "normal running")
        self.world.clock.advance(LOOK_AGAIN_S)
        self.assertIn("generator_underfrequency_warning", [name for _, name, _ in self.alarms()])

    def test_by_an_administrator(self) -> None:
        self.set(read_as="byte_order=big")
        self.check()

    def test_by_history(self) -> None:
        self.volts("big", historic=True)
        self.check()

    def test_names_by_an_administrator(self) -> None:
        self.full(STANDBY, AT_REST | {54})
        self.assertEqual([name for _, name, _ in self.alarms()], ["coil_54"])
        self.set(read_as="names=v14")
        self.world.clock.advance(LOOK_AGAIN_S)
        self.assertEqual([name for _, name, _ in self.alarms()], ["generator_breaker_failure_warning"])


class GapTests(DoubtTestCase):
    """A block that was missing for hours makes no other controller of the one that has gone on counting."""

    def test_counters_are_missing_while_other_values_change(self) -> None:
        before = {**STANDBY, **COUNTERS}
        self.full(before, times=4)
        for count in range(6):
            self.world.clock.advance(1200)
            self.frames({**before, 34: 9 * (count % 2)}, {*AT_REST, 24} if count % 2 else {*AT_REST}, (0, 1))
        self.told()
        self.full({**before, 47: 54, 49: 5300}, times=6)
        self.assertEqual((self.point("starts"), self.point("energy_generated")), ((54, "good"), (5300, "good")))
        self.assertNotIn(Kind.CONTROLLER_REPLACED, self.told())

    def test_one_counter_is_missing(self) -> None:
        before = {**STANDBY, 34: 9, **COUNTERS}
        self.full(before, times=4)
        for count in range(10):
            self.world.clock.advance(1800)
            self.frames(before, {*AT_REST, 24} if count % 2 else {*AT_REST}, (0, 2))
        self.told()
        self.full({**before, 43: 105})
        self.assertEqual(self.point("run_time_hours"), (105, "good"))
        self.assertNotIn(Kind.COUNTER_REBASED, self.told())

    def test_one_that_never_returns_makes_the_others_no_laxer(self) -> None:
        before = {**STANDBY, 34: 9, **COUNTERS}
        self.full(before, times=4)
        for restarted in (False, True):
            for count in range(10):
                self.world.clock.advance(1800)
                self.full({**before, 42: 0x7FFE, 43: 0x7FFE}, {*AT_REST, 24} if count % 2 else {*AT_REST})
            if restarted:
                self.restart()
            self.full({**before, 42: 0x7FFE, 43: 0x7FFE, 47: 1000})
            self.assertEqual(self.point("starts"), (1000, "implausible"))
            self.full({**before, 42: 0x7FFE, 43: 0x7FFE})
            self.assertEqual(self.point("starts"), (50, "good"))
        self.full({**before, 43: 105})
        self.assertEqual(self.point("run_time_hours"), (105, "good"), "ten hours have passed for it")

    def test_of_a_history_upload(self) -> None:
        self.full({**STANDBY, **COUNTERS}, times=3)
        for ago_s, starts in ((900, 50), (600, 9000), (300, 51)):
            upload = full_upload({**STANDBY, **COUNTERS, 47: starts})
            at = int((self.world.clock.seconds() - ago_s) * 1000)
            self.world.fleet.uploads.full(replace(upload, itime=at), HGM6120N_PLAN, historic=False)
            self.world.write_batch()
        query = Query(hostid=HOSTID, limit=3)
        page = self.successResultOf(Deferred.fromCoroutine(self.world.fleet.history.page(query)))
        self.assertEqual([one.points["starts"] for one in page.readings], [50, None, 51])


class SettingTests(DoubtTestCase):
    def test_a_byte_order_that_is_set_no_more(self) -> None:
        self.full(STANDBY)
        self.volts("big")
        self.set(read_as="byte_order=little")
        self.assertEqual(self.choice("byte_order"), "little")
        self.set(read_as=None)
        self.assertEqual(self.choice("byte_order"), "big", "what was found out counts again")
        self.full(STANDBY)
        self.change({30: 272}, "big")
        self.assertEqual(self.point("time_to_maintenance_hours"), (272, "good"))

    def test_one_that_was_never_found_out(self) -> None:
        self.set(read_as="byte_order=little")
        self.full(STANDBY)
        self.set(read_as=None)
        self.assertIsNone(self.choice("byte_order"))
        self.change({30: 272}, "big")
        self.assertEqual(self.point("time_to_maintenance_hours")[0], None)

    def test_a_login_while_another_controller_is_suspected(self) -> None:
        good = {**TENTHS, **COUNTERS}
        self.full(good, times=6)
        self.full({**good, 43: 77, 47: 11, 49: 9, 14: 999})
        self.assertEqual(self.point("current_l1"), (None, "undecided"))
        device = self.world.registry.device(HOSTID)
        assert device is not None
        self.world.fleet.uploads.registered(device)
        self.assertEqual(self.point("current_l1"), (None, "undecided"))

    def test_an_identity_without_data_is_no_other_controller(self) -> None:
        before = {**STANDBY, **COUNTERS}
        self.full(before, times=4)
        self.told()
        self.full({**before, 50: 32766, 51: 32766}, times=6)
        self.full(before, times=6)
        self.assertNotIn(Kind.CONTROLLER_REPLACED, self.told())
        self.full({**before, 50: 16}, times=6)
        self.assertIn(Kind.CONTROLLER_REPLACED, self.told())

    def test_states_are_not_remembered_without_end(self) -> None:
        evidence = self.world.fleet._evidence
        with mock.patch("cmmd.fleet.telemetry.evidence.MOST_SHARED", 2):
            for _ in range(4):
                self.full(TENTHS)
                self.assertLessEqual(len(evidence._shared), 2)
        self.assertEqual(self.choice("scale"), "tenths")


class RenamedTests(DoubtTestCase):
    def test_what_is_worse_now_is_not_acknowledged(self) -> None:
        coils = AT_REST | {54}
        self.full(STANDBY, coils | {55}, times=5)
        number = next(number for number, name, _ in self.alarms() if name == "generator_breaker_failure_warning")
        self.world.fleet.alarms.acknowledge(number, "Ann")
        self.full(STANDBY, coils | {62}, times=9)
        alarm = next(one for one in self.world.fleet.alarms.open_alarms(HOSTID) if one.number == number)
        self.assertEqual((alarm.severity, alarm.acknowledged_at, alarm.acknowledged_by), ("shutdown", None, None))
