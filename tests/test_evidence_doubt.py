"""Evidence in doubt: from strangers, after gaps, and where something is decided while no upload comes."""

from cmmd.fleet.events import Kind
from cmmd.fleet.uploads import LOOK_AGAIN_S
from cmmd.wire.messages import ChangeParams, ReqData, ReqDataChange
from tests.test_evidence import EvidenceTestCase
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
