"""Telemetry: what uploads say, and what becomes of frames that are not as they should be (protocol 4.4 and 4.5)."""

from typing import ClassVar, Final

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import ReadCoilsResponse
from pymodbus.pdu.pdu import ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.fleet.counters.counters import Counters, FrameOutcome
from cmmd.fleet.telemetry.live import Live, LiveRecord
from cmmd.fleet.telemetry.shortcuts import MOST_CHANGES
from cmmd.fleet.telemetry.telemetry import LONGEST_UNPLACED, MOST_FRAMES, MOST_UNPLACED, Telemetry, UploadResult
from cmmd.modbus.frames import ExceptionResponse, Function, ReadRequest, read_response
from cmmd.store.records import ByteOrder, Device
from cmmd.wire.messages import ChangeParams, Changes, ReqDataChange

CATALOG = load_catalog()
HOSTID = "3439333633355115004B003D"
HGM6120N = Device(hostid=HOSTID, hostname="", password_hash=None, moduletype="HGM6120N", registered_at=0)
POLLS = "01010000005ABC31;01030000002D85D7;0103002E000AA5C4"
HOLDING = Function.READ_HOLDING_REGISTERS
NONE: Final[Changes] = []


def plan_of(*requests: ReadRequest) -> str:
    return ";".join(request.to_hex() for request in requests)


def from_pymodbus(pdu: ModbusPDU) -> str:
    """A response frame as an independent implementation builds it."""
    return FramerRTU(DecodePDU(False)).buildFrame(pdu).hex().upper()


class TelemetryTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.counters = Counters()
        self.decided: list[tuple[str, ByteOrder | None]] = []
        self.telemetry = Telemetry(self.counters, Clock(), lambda *decided: self.decided.append(decided))
        self.record = self.new_record(HGM6120N)

    def full(self, params: str | None) -> UploadResult:
        return self.telemetry.full(self.record, params, self.record.plan)

    def new_record(self, device: Device, para_command: str = POLLS) -> LiveRecord:
        live = Live(device=lambda _: replace(device, para_command=para_command), online=lambda _: True, catalog=CATALOG)
        return live[device.hostid]

    def outcomes(self) -> dict[str, int]:
        return {outcome.value: count for outcome, count in self.counters.frames.items() if count}


class FullTests(TelemetryTestCase):
    REGISTERS: ClassVar = {
        0: 230, 1: 231, 2: 229, 3: 398, 4: 400, 5: 397, 6: 5001, 13: 0, 17: 0xFFF6, 19: 32766, 20: 32767, 21: 78,
        24: 265, 34: 9, 35: 7, 42: 1, 43: 2, 44: 59,
    }  # fmt: skip
    LATER_REGISTERS: ClassVar = {46: 0, 47: 123, 48: 0x000A, 49: 0x0001, 50: 23, 55: 45}
    COILS: ClassVar = {6, 28, 41, 65, 74, 76, 89}

    def frames(self) -> list[str]:
        """Built by pymodbus."""
        coils = [coil in self.COILS for coil in range(90)]
        return [
            from_pymodbus(ReadCoilsResponse(bits=[*coils, *[False] * 6], dev_id=1)),
            from_pymodbus(
                ReadHoldingRegistersResponse(registers=[self.REGISTERS.get(n, 0) for n in range(45)], dev_id=1)
            ),
            from_pymodbus(
                ReadHoldingRegistersResponse(
                    registers=[self.LATER_REGISTERS.get(n, 0) for n in range(46, 56)], dev_id=1
                )
            ),
        ]

    def assert_coils(self) -> None:
        profile, known = self.record.profile, self.record.known
        self.assertEqual([known.coil(n) for n in range(90)], [n in self.COILS for n in range(90)])
        self.assertIsNone(known.coil(90))
        self.assertEqual(profile.mode(known), "auto")
        active = {one.name for one in profile.definition.signals if profile.signal_state(one, known)}
        self.assertLessEqual({"mains_on_load", "low_fuel_warning", "auto_mode", "mains_normal"}, active)

    def assert_later_registers(self) -> None:
        points = self.record.profile.points(self.record.known)
        self.assertEqual(points["starts"], 123)
        self.assertIsNone(points["energy_generated"], "655361 or 100001")
        self.assertEqual(points["software_version"], 2.3)
        self.assertEqual(points["load"], 45)

    def test_an_upload_of_an_hgm6120n_built_by_pymodbus(self) -> None:
        self.assertIs(self.full(";".join(self.frames())), UploadResult.CHANGES)
        self.assertEqual(self.outcomes(), {"taken": 3})
        self.assert_coils()
        self.assert_later_registers()
        profile, known = self.record.profile, self.record.known
        points = profile.points(known)
        expected = {
            "mains_voltage_l1_n": 230,
            "mains_voltage_l3_l1": 397,
            "mains_frequency": 50.01,
            "generator_frequency": 0,
            "coolant_temperature": -10,
            "oil_pressure": None,
            "oil_pressure_sensor_resistance": None,
            "fuel_level": 78,
            "battery_voltage": 26.5,
            "run_time_hours": None,
            "run_time_minutes": 59,
        }
        self.assertEqual({name: points[name] for name in expected}, expected)
        self.assertEqual(profile.engine_state(known), "normal running")
        self.assertIsNone(known.register(45), "between the polls")
        self.assertEqual(self.record.unit, 1)

    def test_a_broken_crc_spoils_nothing_else(self) -> None:
        coils, registers, later = self.frames()
        broken = registers[:-1] + ("0" if registers[-1] != "0" else "1")
        self.assertIs(self.full(f"{coils};{broken};{later};"), UploadResult.CHANGES)
        self.assertEqual(self.outcomes(), {"taken": 2, "bad_crc": 1})
        self.assert_coils()
        self.assert_later_registers()
        self.assertEqual([self.record.known.register(n) for n in range(46)], [None] * 46)

    def test_an_exception_spoils_nothing_else(self) -> None:
        coils, _, later = self.frames()
        exception = ExceptionResponse(1, HOLDING, 2).to_hex()
        self.full(f"{coils};{exception};{later}")
        self.assertEqual(self.outcomes(), {"taken": 2, "exception": 1})
        self.assert_coils()
        self.assert_later_registers()

    def test_a_frame_left_out_or_in_another_place(self) -> None:
        coils, registers, later = self.frames()
        for upload in (f"{later}; {coils} ;", f";{coils.lower()};;{later}", f"{later};{registers};{coils}"):
            self.record = self.new_record(HGM6120N)
            self.assertIs(self.full(upload), UploadResult.CHANGES)
            self.assert_coils()
            self.assert_later_registers()
        self.assertEqual(self.outcomes(), {"taken": 7})

    def test_only_what_is_watched_is_a_change(self) -> None:
        coils, registers, later = self.frames()
        self.full(f"{coils};{registers};{later}")
        self.assertIs(self.full(f"{coils};{registers};{later}"), UploadResult.VALUES)
        request = self.record.plan.requests[1]
        for register, value, expected in (
            (6, 4990, UploadResult.VALUES),
            (35, 8, UploadResult.VALUES),
            (34, 10, UploadResult.CHANGES),
        ):
            values = {**self.REGISTERS, register: value}
            other = read_response(request, b"".join(values.get(n, 0).to_bytes(2, "big") for n in range(45)))
            self.assertIs(self.full(f"{coils};{other};{later}"), expected)
            self.full(f"{coils};{registers};{later}")
        request = self.record.plan.requests[0]
        for coil, expected in (
            (56, UploadResult.VALUES),
            (72, UploadResult.VALUES),
            (19, UploadResult.CHANGES),
            (7, UploadResult.CHANGES),
        ):
            states = sum(1 << n for n in self.COILS ^ {coil})
            other = read_response(request, states.to_bytes(12, "little"))
            self.assertIs(self.full(f"{other};{registers};{later}"), expected, coil)
            self.full(f"{coils};{registers};{later}")

    def test_nothing_new(self) -> None:
        for params in (None, "", ";", " ; ;"):
            self.assertIs(self.full(params), UploadResult.EMPTY)
        self.full(";".join(self.frames()))
        self.assertIs(self.full(""), UploadResult.EMPTY)
        self.assert_coils()
        self.assertEqual(self.outcomes(), {"taken": 3})

    def test_nothing_that_can_be_taken(self) -> None:
        self.assertIs(self.full("no frame;01;0103"), UploadResult.NOTHING)
        self.assertEqual(self.outcomes(), {"malformed": 3})
        foreign = read_response(ReadRequest(2, HOLDING, 0, 45), bytes(90))
        self.assertIs(self.full(foreign), UploadResult.NOTHING)
        self.assertEqual(self.outcomes(), {"malformed": 3, "foreign": 1})
        self.assertEqual(self.record.unplaced, (foreign,))
        self.assertFalse(self.record.known.image)

    def test_an_echo_of_a_write_is_foreign(self) -> None:
        self.full("00050003FF007DEB")
        self.assertEqual(self.outcomes(), {"foreign": 1})

    def test_no_room(self) -> None:
        """A plan may ask for more than an image holds."""
        requests = [ReadRequest(1, HOLDING, n * 125, 125) for n in range(40)]
        self.record = self.new_record(HGM6120N, plan_of(*requests))
        self.full(";".join(read_response(one, bytes(250)) for one in requests))
        self.assertEqual(self.outcomes(), {"taken": 16, "no_room": 24})

    def test_a_plan_in_the_store_that_is_none(self) -> None:
        self.assertEqual(self.new_record(HGM6120N, "junk").plan.requests, self.record.plan.requests)


class TwinsTests(TelemetryTestCase):
    """Two requests whose responses look the same."""

    FIRST, SECOND = ReadRequest(1, HOLDING, 0, 2), ReadRequest(1, HOLDING, 46, 2)
    THIRD = ReadRequest(1, Function.READ_COILS, 0, 8)

    def setUp(self) -> None:
        super().setUp()
        self.record = self.new_record(HGM6120N, plan_of(self.FIRST, self.SECOND, self.THIRD))
        self.first = read_response(self.FIRST, b"\0\1\0\2")
        self.second = read_response(self.SECOND, b"\0\3\0\4")
        self.third = read_response(self.THIRD, b"\x80")

    def known(self) -> tuple[int | None, ...]:
        return tuple(self.record.known.register(address) for address in (0, 1, 46, 47))

    def test_in_order(self) -> None:
        self.full(f"{self.first};{self.second};{self.third}")
        self.assertEqual(self.known(), (1, 2, 3, 4))
        self.assertEqual(self.outcomes(), {"taken": 3})

    def test_one_left_out_is_not_guessed(self) -> None:
        self.full(f"{self.second};{self.third}")
        self.assertEqual(self.known(), (None,) * 4)
        self.assertTrue(self.record.known.coil(7))
        self.assertEqual(self.outcomes(), {"taken": 1, "ambiguous": 1})
        self.assertEqual(self.record.unplaced, (self.second,))

    def test_out_of_order_is_not_guessed(self) -> None:
        self.full(f"{self.third};{self.first};{self.second}")
        self.assertEqual(self.known(), (None,) * 4)
        self.assertEqual(self.outcomes(), {"taken": 1, "ambiguous": 2})

    def test_a_broken_frame_keeps_its_place(self) -> None:
        for broken in (self.first[:-4] + "0000", "junk", ExceptionResponse(1, HOLDING, 6).to_hex()):
            self.record = self.new_record(HGM6120N, plan_of(self.FIRST, self.SECOND, self.THIRD))
            self.full(f"{broken};{self.second};{self.third}")
            self.assertEqual(self.known(), (None, None, 3, 4))

    def test_what_is_left_out_is_outdated(self) -> None:
        self.full(f"{self.first};{self.second};{self.third}")
        self.full(f"{self.first};{ExceptionResponse(1, HOLDING, 6).to_hex()};{self.third}")
        self.assertEqual(self.known(), (1, 2, None, None))
        assert self.record.known.older is not None
        self.assertEqual(self.record.known.older.known(HOLDING), (range(46, 48),))
        self.full(f"{self.first};{self.second};{self.third}")
        self.assertEqual(self.known(), (1, 2, 3, 4))
        self.assertIsNone(self.record.known.older)

    def test_twice_the_same(self) -> None:
        """Two answers to one request: neither is believed."""
        self.full(f"{self.third};{self.third}")
        self.assertIsNone(self.record.known.coil(7))
        self.assertEqual(self.outcomes(), {"ambiguous": 2})

    def test_unplaced_frames_are_kept_until_an_upload_without(self) -> None:
        self.full(";".join([self.first] * 20))
        self.assertEqual(self.record.unplaced, (self.first,) * MOST_UNPLACED)
        self.full(f"{self.first};{self.second};{self.third}")
        self.assertEqual(self.record.unplaced, ())


class ChangeTests(TelemetryTestCase):
    """Change uploads of a device whose byte order has been found out: little-endian."""

    def setUp(self) -> None:
        super().setUp()
        self.record = self.new_record(replace(HGM6120N, byte_order="little"))

    def change(
        self, *, packetnum: int | None = None, coils: Changes = NONE, registers: Changes = NONE, **inputs: int
    ) -> UploadResult:
        params = ChangeParams(packetnum=packetnum, f01=coils, f03=registers)
        return self.telemetry.change(self.record, ReqDataChange(params=params, hostid=HOSTID, **inputs))

    def test_one(self) -> None:
        self.assertIs(self.change(registers=[{"0006": "8813"}]), UploadResult.CHANGES, "a frequency is evidence")
        self.assertEqual(self.record.profile.points(self.record.known)["mains_frequency"], 50.0)
        self.assertEqual(self.outcomes(), {"changed": 1})

    def test_as_a_profile_says(self) -> None:
        profile = self.record.profile
        for byte_order, value in (("little", "8813"), ("big", "1388")):
            self.record.profile = type(profile)("mine", replace(profile.as_written, change_byte_order=byte_order))
            self.record.forget()
            self.change(registers=[{"0006": value}])
            self.assertEqual(profile.points(self.record.known)["mains_frequency"], 50.0)

    def test_no_shipped_profile_says(self) -> None:
        """It is the module's, not the controller's: all of them leave it to be found out."""
        for profile in CATALOG:
            self.assertEqual(profile.definition.change_byte_order, "auto", profile.name)
        self.record = self.new_record(HGM6120N)
        self.change(registers=[{"0006": "8813"}])
        self.assertIsNone(self.record.known.byte_order)
        self.assertIsNone(self.record.profile.points(self.record.known)["mains_frequency"])

    def test_several(self) -> None:
        self.assertIs(
            self.change(
                coils=[{"0000": "08"}, {"0028": "02"}],
                registers=[{"0000": "E600E700", "0022": "0900"}, {"0006": "8913"}],
            ),
            UploadResult.CHANGES,
        )
        points = self.record.profile.points(self.record.known)
        self.assertEqual((points["mains_voltage_l1_n"], points["mains_voltage_l2_n"]), (230, 231))
        self.assertEqual(points["mains_frequency"], 50.01)
        self.assertEqual(self.record.profile.mode(self.record.known), "auto")
        self.assertTrue(self.record.known.coil(3))
        self.assertIsNone(self.record.known.coil(8))
        self.assertEqual(self.outcomes(), {"changed": 5})

    def test_what_is_no_change(self) -> None:
        wrong: Changes = [
            {"00": "8813"}, {"000006": "8813"}, {"0x06": "8813"}, {"+006": "8813"}, {"zzzz": "8813"}, {"": "8813"},
            {"0006": "88"}, {"0006": "881"}, {"0006": "8z13"}, {"0006": ""}, {"FFFF": "88138813"},
        ]  # fmt: skip
        self.assertIs(
            self.change(registers=[*wrong, {"0006": "8813"}], coils=[{"FFFF": "01"}, {"0000": ""}]),
            UploadResult.CHANGES,
        )
        self.assertEqual(self.outcomes(), {"malformed": len(wrong) + 2, "changed": 1})
        self.assertEqual(self.record.known.register(6), 5000)

    def test_no_room(self) -> None:
        self.change(registers=[{f"{n:04X}": "0100"} for n in range(0, 400, 2)])
        self.assertEqual(self.outcomes(), {"changed": 128, "no_room": 72})

    def test_changed_inputs_are_watched(self) -> None:
        for params, without, changed in (
            (ChangeParams(), UploadResult.EMPTY, UploadResult.INPUTS),
            (ChangeParams(f03=[{"0007": "E600"}]), UploadResult.VALUES, UploadResult.CHANGES),
            (ChangeParams(f03=[{"0006": "81"}]), UploadResult.NOTHING, UploadResult.INPUTS),
        ):
            message = ReqDataChange(params=params, hostid=HOSTID)
            self.assertIs(self.telemetry.change(self.record, message), without)
            self.assertIs(self.telemetry.change(self.record, message, inputs_changed=True), changed)

    def test_nothing_new(self) -> None:
        self.assertIs(self.change(packetnum=3), UploadResult.EMPTY)
        self.assertIs(self.change(registers=[{"0006": "81"}]), UploadResult.NOTHING)

    def test_packets(self) -> None:
        for packetnum, gaps in ((None, 0), (7, 0), (8, 0), (None, 0), (9, 0), (12, 1), (13, 1), (13, 1), (5, 2), (6, 2),
                                (1, 2), (2, 2), (0, 2), (1, 2)):  # fmt: skip
            self.change(packetnum=packetnum, registers=[{"0006": "8813"}])
            self.assertEqual(self.counters.packet_gaps, gaps, packetnum)
        self.assertEqual(self.record.packet_gaps, 2)
        self.assertEqual(self.outcomes(), {"changed": 14}, "none is rejected")


class AutoTests(TelemetryTestCase):
    """A profile that does not know the byte order: HGM4000N, frequency at register 6 in 0.1 Hz."""

    def setUp(self) -> None:
        super().setUp()
        self.device = replace(HGM6120N, moduletype="HGM4020N")
        self.record = self.new_record(self.device, "")

    def change(self, registers: dict[int, bytes]) -> None:
        params = ChangeParams(f03=[{f"{address:04X}": value.hex()} for address, value in registers.items()])
        self.telemetry.change(self.record, ReqDataChange(params=params, hostid=HOSTID))

    def points(self) -> dict[str, float | None]:
        return {
            name: value for name, value in self.record.profile.points(self.record.known).items() if value is not None
        }

    def test_found_out_by_what_is_plausible(self) -> None:
        for order in ("little", "big"):
            self.record = self.new_record(self.device, "")
            for upload in range(10):
                self.assertEqual(self.points(), {} if upload < 3 else {"mains_frequency": 50.0 + (upload - 1) / 10})
                self.change({6: (500 + upload).to_bytes(2, order)})
            self.assertEqual(self.record.known.byte_order, order)
            self.assertEqual(self.decided.pop(), (HOSTID, order))
            self.assertIsNone(self.record.known.undecided)

    def test_what_came_before_becomes_certain(self) -> None:
        for order in ("little", "big"):
            self.record = self.new_record(self.device, "")
            self.change({0: (230).to_bytes(2, order), 6: (501).to_bytes(2, order)})
            self.change({6: (502).to_bytes(2, order), 42: (3).to_bytes(2, order)})
            self.change({6: (500).to_bytes(2, order), 43: (515).to_bytes(2, order)})
            self.assertEqual(self.points(), {"mains_voltage_l1_n": 230, "mains_frequency": 50.0})

    def test_found_out_by_what_was_known_before(self) -> None:
        """Some registers have no range that would tell: 300, or 11265?"""
        for order in ("little", "big"):
            self.record = self.new_record(self.device, "")
            registers = [0] * 82
            registers[66] = 400
            registers[68:70] = [300, 300]
            request = self.record.plan.requests[1]
            payload = b"".join(register.to_bytes(2, "big") for register in registers)
            self.full(read_response(request, payload))
            for upload in range(3):
                self.assertIsNone(self.record.known.byte_order)
                self.change({66: (405 + upload).to_bytes(2, order), 68: (301 + upload).to_bytes(2, order)})
                self.assertEqual(self.record.known.register(68), 303 if upload == 2 else None)
                self.assertEqual(self.record.known.register(69), 300)
            self.assertEqual(self.record.known.byte_order, order)

    def test_the_same_either_way_is_certain_at_once(self) -> None:
        self.change({34: b"\0\0", 6: b"\x01\xf4"})
        self.assertEqual(self.points(), {"engine_state": 0})
        self.assertEqual(self.record.profile.engine_state(self.record.known), "standby")
        self.change({6: b"\1\1"})
        self.assertEqual(self.record.known.register(6), 257)
        self.assertIsNone(self.record.known.undecided)

    def test_a_full_upload_overtakes_what_is_undecided(self) -> None:
        self.change({6: b"\x01\xf4", 13: b"\x01\xf4"})
        request = ReadRequest(1, HOLDING, 6, 1)
        self.record.plan = type(self.record.plan)(request.to_hex())
        self.full(read_response(request, b"\x01\xf5"))
        self.assertEqual(self.points(), {"mains_frequency": 50.1})
        assert self.record.known.undecided is not None
        self.assertEqual(self.record.known.undecided.known(HOLDING), (range(13, 14),))

    def upload_fully(self, registers: dict[int, int]) -> None:
        request = self.record.plan.requests[1]
        self.full(read_response(request, b"".join(registers.get(n, 0).to_bytes(2, "big") for n in range(82))))

    def test_one_register_that_is_near_by_chance_decides_nothing(self) -> None:
        """A signed one that goes from 10 to -240: read in the wrong order that is 4095, which seems nearer."""
        self.upload_fully({27: 10})
        for value in (-240, -241, -242, -243, -244):
            self.change({27: (value & 0xFFFF).to_bytes(2, "little")})
        self.assertIsNone(self.record.known.byte_order)
        self.assertIsNone(self.record.profile.points(self.record.known)["reactive_power"])
        self.upload_fully({})
        for value in (256, 512, 768, 1024):
            self.change({66: value.to_bytes(2, "little")})
        self.assertIsNone(self.record.known.byte_order)

    def test_what_is_not_plausible_does_not_become_certain(self) -> None:
        self.change({6: b"\xf4\x01", 13: b"\x01\xf4", 7: b"\xe6\x00", 8: b"\xe6\x00", 9: b"\xe6\x00"})
        for _ in range(3):
            self.change({6: b"\xf4\x01"})
        self.assertEqual(self.record.known.byte_order, "little")
        points = self.points()
        self.assertEqual((points["mains_frequency"], points["generator_voltage_l1_n"]), (50.0, 230))
        self.assertIsNone(self.record.known.register(13), "62465 is no frequency")

    def test_a_wrong_decision_does_not_stand(self) -> None:
        """What clearly contradicts it is not believed; three such uploads open the question again, five decide it."""
        for _ in range(3):
            self.change({6: b"\x01\xf4"})
        self.assertEqual(self.record.known.byte_order, "big")
        for upload in range(6):
            self.change({6: b"\xf5\x01", 21: b"\x50\x00"})
            self.assertNotEqual(self.record.known.register(6), 0xF501)
            self.assertEqual(self.record.known.byte_order, "big" if upload < 2 else None if upload < 4 else "little")
        self.assertEqual([order for _, order in self.decided], ["big", None, "little"])
        self.assertEqual((self.points()["mains_frequency"], self.points()["fuel_level"]), (50.1, 80))

    def test_one_odd_upload_changes_nothing(self) -> None:
        for _ in range(3):
            self.change({6: b"\xf4\x01"})
        for _ in range(5):
            self.change({6: b"\x01\xf5"})
            self.assertIsNone(self.record.known.register(6))
            self.change({6: b"\xf6\x01"})
            self.assertEqual(self.record.known.register(6), 502)
        self.assertEqual(self.record.known.byte_order, "little")

    def test_what_contradicts_itself_decides_nothing(self) -> None:
        for _ in range(20):
            self.change({6: b"\x01\xf4", 13: b"\xf4\x01"})
            self.change({6: b"\x01\xf4"})
            self.change({6: b"\xf4\x01"})
        self.assertIsNone(self.record.known.byte_order)
        self.assertEqual(self.points(), {})

    def test_decided_once_for_all(self) -> None:
        record = self.new_record(replace(self.device, byte_order="big"), "")
        self.record = record
        self.change({6: b"\x01\xf4"})
        self.assertEqual(self.points(), {"mains_frequency": 50.0})

    @given(order=st.sampled_from(["little", "big"]), draw=st.data())
    def test_never_an_implausible_value(self, order: ByteOrder, draw: st.DataObject) -> None:
        """Whatever a plausible genset does, what is certain is what it said, and it is found out within ten uploads."""
        self.record = self.new_record(self.device, "")
        truth: dict[int, int] = {}
        for _ in range(10):
            upload = draw.draw(
                st.fixed_dictionaries(
                    {6: st.integers(490, 510)},
                    optional={
                        7: st.integers(0, 500), 17: st.integers(0, 110), 19: st.integers(0, 1000) | st.just(32766),
                        21: st.integers(0, 100), 14: st.integers(0, 6500), 34: st.integers(0, 15),
                    },
                )
            )  # fmt: skip
            truth |= upload
            self.change({address: value.to_bytes(2, order) for address, value in upload.items()})
            for address in truth:
                self.assertIn(self.record.known.register(address), (None, truth[address]))
        self.assertEqual(self.record.known.byte_order, order)
        self.assertEqual({address: self.record.known.register(address) for address in truth}, truth)


class GarbageTests(TelemetryTestCase):
    """Nothing that a device sends is an error."""

    HEX = st.text("0123456789abcdefABCDEF ;", max_size=60)

    @given(st.lists(st.text(max_size=30) | HEX | st.binary(min_size=1, max_size=30).map(bytes.hex), max_size=8))
    def test_full(self, items: list[str]) -> None:
        self.full(";".join(items))

    @given(
        st.sampled_from(["HGM6120N", "HGM4020N", ""]),
        st.lists(st.dictionaries(st.text(max_size=6) | HEX, st.text(max_size=8) | HEX, max_size=4), max_size=4),
        st.lists(st.dictionaries(HEX, HEX, max_size=4), max_size=4),
        st.none() | st.integers(0, 2**63 - 1),
    )
    def test_change(self, moduletype: str, registers: Changes, others: Changes, packetnum: int | None) -> None:
        self.record = self.new_record(replace(HGM6120N, moduletype=moduletype), "")
        params = ChangeParams(packetnum=packetnum, f01=others, f02=others, f03=registers, f04=others)
        for _ in range(4):
            self.telemetry.change(self.record, ReqDataChange(params=params, hostid=HOSTID))

    def test_as_many_changes_as_fit_into_a_message(self) -> None:
        params = ChangeParams(f03=[{"0006": "8813"}] * 4000)
        self.telemetry.change(self.record, ReqDataChange(params=params, hostid=HOSTID))
        self.assertEqual(self.outcomes(), {"changed": MOST_CHANGES, "no_room": 4000 - MOST_CHANGES})

    def test_a_frame_that_is_mostly_blanks(self) -> None:
        self.full("0203" + " " * 60_000 + "020000FC44")
        self.assertLessEqual(len(self.record.unplaced[0]), LONGEST_UNPLACED)

    def test_as_many_frames_as_fit_into_a_message(self) -> None:
        frame = read_response(ReadRequest(1, HOLDING, 0, 1), b"\0\0")
        self.full(";".join([frame] * 4000))
        self.assertEqual(self.counters.frames[FrameOutcome.FOREIGN], 4000)
        self.full("x;" * 30_000)
        self.assertEqual(self.counters.frames[FrameOutcome.MALFORMED], MOST_FRAMES)
