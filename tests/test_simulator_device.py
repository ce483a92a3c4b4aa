"""``cmmd.simulator.device``: any plan is read, and changes are what changed."""

from random import Random
from struct import unpack
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.source import NO_INPUTS, InputStates
from cmmd.modbus.frames import (
    Function,
    ModbusFrameError,
    ReadRequest,
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegisterRequest,
    open_frame,
    split_frames,
)
from cmmd.simulator.device import SimulatedDevice
from cmmd.simulator.fault_profiles import FaultProfile, parse_turns
from cmmd.simulator.fleet import identities
from cmmd.simulator.genset.genset import Genset
from cmmd.simulator.genset.panel import Picture
from cmmd.wire.messages import ChangeParams
from tests.scripted_server import LIVE_SERVER, LOGIN_SERVER, PLAN, RESET, run
from tests.test_gateway_link import LinkTestCase
from tests.test_modbus_frames import requests

REGISTERS, COILS = 56, 90


class StillGenset(Genset):
    """A genset that shows what the test says."""

    def __init__(self) -> None:
        super().__init__(Random(1), Clock().seconds)
        self.registers = list(range(1000, 1000 + REGISTERS))
        self.coils = 0b101

    def look(self) -> Picture:
        return Picture(tuple(self.registers), self.coils)


class DeviceTestCase(SynchronousTestCase):
    """What a simulated device uploads takes no time."""

    device: SimulatedDevice

    def full_upload(self) -> str:
        return self.successResultOf(Deferred.fromCoroutine(self.device.full_upload()))

    def change_upload(self) -> ChangeParams | None:
        return self.successResultOf(Deferred.fromCoroutine(self.device.change_upload()))


class SimulatedDeviceTests(DeviceTestCase):
    def setUp(self) -> None:
        self.genset = StillGenset()
        (self.identity,) = identities(1, 1, "HGM6120N")
        self.device = SimulatedDevice(self.identity, self.genset)

    def values(self, request: ReadRequest) -> list[int]:
        """What one request reads."""
        self.device.follow(request.to_hex(), 1)
        unit, function, length, *payload = open_frame(self.full_upload())
        self.assertEqual((unit, function, length), (request.unit, request.function, len(payload)))
        if request.function.reads_bits:
            return [payload[number // 8] >> number % 8 & 1 for number in range(request.count)]
        return list(unpack(f">{request.count}H", bytes(payload)))

    def test_identity(self) -> None:
        self.assertEqual(self.device.identity(), self.identity)

    def test_before_login(self) -> None:
        self.assertEqual(self.device.reading(), "")
        self.assertEqual(self.full_upload(), "")
        self.assertIsNone(self.change_upload())

    def test_what_was_read_last(self) -> None:
        self.device.follow(PLAN, 1)
        self.assertEqual(self.full_upload(), self.device.reading())

    def test_the_plan_of_the_field(self) -> None:
        self.device.follow(PLAN, 1)
        frames = [open_frame(frame) for frame in split_frames(self.full_upload())]
        self.assertEqual([frame[:3] for frame in frames], [b"\x01\x01\x0c", b"\x01\x03\x5a", b"\x01\x03\x14"])
        self.assertEqual(frames[0][3:], b"\x05" + bytes(11))
        self.assertEqual(frames[2][3:5], (1046).to_bytes(2, "big"))

    @given(requests())
    def test_any_request(self, request: ReadRequest) -> None:
        known = {Function.READ_COILS: [1, 0, 1] + [0] * 87, Function.READ_HOLDING_REGISTERS: self.genset.registers}
        image = known.get(request.function, [])
        wanted = image[request.address : request.address + request.count]
        self.assertEqual(self.values(request), wanted + [0] * (request.count - len(wanted)))

    def test_requests_across_the_end(self) -> None:
        registers = self.values(ReadRequest(1, Function.READ_HOLDING_REGISTERS, REGISTERS - 2, 4))
        self.assertEqual(registers, [1054, 1055, 0, 0])
        self.genset.coils = 1 << COILS - 1
        self.assertEqual(self.values(ReadRequest(7, Function.READ_COILS, COILS - 2, 5)), [0, 1, 0, 0, 0])

    def test_a_plan_that_is_none(self) -> None:
        self.assertRaises(ModbusFrameError, self.device.follow, "01010000005ABC32", 1)

    def test_changes(self) -> None:
        self.device.follow(PLAN, 0)
        self.full_upload()
        self.assertIsNone(self.change_upload())
        self.genset.registers[0] = 0x00EF
        self.genset.registers[50] = 5000
        self.genset.coils = 1 << 41 | 0b101
        self.assertEqual(
            self.change_upload(),
            ChangeParams(f01=[{"0028": "02"}], f03=[{"0000": "00EF"}, {"0032": "1388"}]),
        )
        self.assertIsNone(self.change_upload())

    def test_changes_without_a_full_upload_before(self) -> None:
        self.device.follow("01030000002D85D7", 0)
        changes = self.change_upload()
        assert changes is not None
        self.assertEqual(len(changes.f03), 45)

    def test_a_full_upload_is_the_new_base(self) -> None:
        self.device.follow(PLAN, 0)
        self.genset.registers[0] = 1
        self.full_upload()
        self.assertIsNone(self.change_upload())

    @given(st.lists(requests(), max_size=4), st.integers(0, 2**32))
    def test_changes_lead_to_the_next_full_upload(self, plan: list[ReadRequest], seed: int) -> None:
        """What a server makes of a full upload and the changes after it is what a full upload would say."""
        random = Random(seed)
        self.device.follow(";".join(request.to_hex() for request in plan), 0)
        self.full_upload()
        images = {function: self.image(function) for function in Function}
        for _ in range(5):
            self.genset.registers[random.randrange(REGISTERS)] = random.randrange(0x10000)
            self.genset.coils ^= 1 << random.randrange(COILS)
            changes = self.change_upload()
            if changes is not None:
                self.assertEqual((changes.f02, changes.f04, changes.packetnum), ([], [], None))
                for change in changes.f01:
                    for address, value in change.items():
                        for bit in range(8):
                            images[Function.READ_COILS][int(address, 16) + bit] = int(value, 16) >> bit & 1
                for change in changes.f03:
                    for address, value in change.items():
                        images[Function.READ_HOLDING_REGISTERS][int(address, 16)] = int.from_bytes(
                            bytes.fromhex(value), "big"
                        )
        for request in plan:
            image = images[request.function]
            now = self.image(request.function)
            for place in range(request.address, request.address + request.count):
                self.assertEqual(image.get(place, 0), now.get(place, 0))

    def image(self, function: Function) -> dict[int, int]:
        if function is Function.READ_COILS:
            return {address: self.genset.coils >> address & 1 for address in range(COILS)}
        if function is Function.READ_HOLDING_REGISTERS:
            return dict(enumerate(self.genset.registers))
        return {}

    def test_a_real_genset_changes_little(self) -> None:
        clock = Clock()
        self.device = SimulatedDevice(self.identity, Genset(Random(3), clock.seconds))
        self.device.follow(PLAN, 0)
        self.full_upload()
        for _ in range(20):
            clock.advance(3)
            changes = self.change_upload()
            if changes is not None:
                self.assertLess(len(changes.f03), 20)


class OrderTests(DeviceTestCase):
    """Writes and changes of the wiring (section 4.6)."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.genset = Genset(Random(1), self.clock.seconds, running=False, mains_schedule=False)
        (identity,) = identities(1, 1, "HGM6120N")
        self.device = SimulatedDevice(identity, self.genset)

    def write(self, frame: str) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.device.write(frame)))

    def set_port(self, port: int | None, baud: int | None) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.device.set_port(port, baud)))

    def wiring(self) -> tuple[int | None, int | None]:
        return self.device.identity().modulePort, self.device.identity().moduleBaud

    def test_the_commands_of_the_field(self) -> None:
        for frame, mode in (
            ("00050001FF00DC2B", "stop"),
            ("00050002FF002C2B", "test"),
            ("00050003FF007DEB", "auto"),
            ("00050004FF00CC2A", "manual"),
        ):
            self.assertTrue(self.write(frame))
            self.assertEqual(self.genset.mode, mode)
        self.assertTrue(self.write("00050000FF008DEB"))
        self.assertEqual(self.genset.engine_state, 1)
        self.assertFalse(self.write("00050005FF009DEA"))  # the generator does not run yet
        self.assertTrue(self.write("00050006FF006DEA"))
        self.clock.advance(60)
        self.assertTrue(self.write("00050005FF009DEA"))

    def test_inhibited(self) -> None:
        """Every order is refused but a stop, which has to be the whole order."""
        start, stop, manual = (WriteCoilRequest(1, coil, True).to_hex() for coil in (0, 1, 4))
        self.assertTrue(self.write(manual))
        self.assertTrue(self.write(start))
        self.assertEqual(self.device.inputs(), NO_INPUTS)
        self.device.input_states = InputStates(inhibit_remote=1)
        self.assertEqual(self.device.inputs(), self.device.input_states)
        self.assertEqual((self.write(start), self.write(stop), self.set_port(1, 1)), (False, False, False))
        self.assertEqual([self.device.is_stop(frame) for frame in (start, stop, "x")], [False, True, False])
        self.assertEqual(self.genset.mode, "manual")
        self.assertFalse(self.stop(start))
        self.assertTrue(self.stop(stop))
        self.assertEqual(self.genset.mode, "stop")

    def stop(self, frame: str) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.device.stop(frame, 5.0)))

    def test_start_is_refused_in_auto(self) -> None:
        self.assertFalse(self.write("00050000FF008DEB"))
        self.assertEqual(self.genset.engine_state, 0)

    def test_units(self) -> None:
        for unit, done in ((0, True), (1, True), (2, False), (255, False)):
            self.assertEqual(self.write(WriteCoilRequest(unit, 2, True).to_hex()), done)

    def test_what_is_no_command(self) -> None:
        for frame in (
            "",
            "garbage",
            "00050003FF007DEC",  # the sum is wrong
            "00050003FF007DEB;00050003FF007DEB",
            WriteCoilRequest(0, 3, False).to_hex(),
            WriteCoilRequest(0, 7, True).to_hex(),
            WriteCoilRequest(0, 0xFFFF, True).to_hex(),
            WriteRegisterRequest(0, 3, 0xFF00).to_hex(),
            WriteCoilsRequest(0, 2, (True,)).to_hex(),
            ReadRequest(1, Function.READ_COILS, 0, 90).to_hex(),
        ):
            with self.subTest(frame=frame):
                self.assertFalse(self.write(frame))
        self.assertEqual((self.genset.mode, self.genset.engine_state), ("auto", 0))

    @given(st.text(max_size=40))
    def test_garbage(self, frame: str) -> None:
        self.assertFalse(self.write(frame))

    def test_locked(self) -> None:
        self.genset.inject("remote_lock")
        self.assertFalse(self.write("00050001FF00DC2B"))
        self.assertEqual(self.genset.mode, "auto")

    def test_the_next_upload_shows_it(self) -> None:
        self.device.follow(PLAN, 0)
        self.full_upload()
        self.write("00050002FF002C2B")
        changes = self.change_upload()
        assert changes is not None
        self.assertIn({"0028": "01"}, changes.f01)
        self.assertIn({"0022": "0001"}, changes.f03)

    def test_wiring(self) -> None:
        self.assertEqual(self.wiring(), (2, 0))
        for port, baud, wired in (
            (1, 2, (1, 2)),
            (0, None, (0, 2)),
            (None, 1, (0, 1)),
            (None, None, (0, 1)),
            (4, 0, (4, 0)),
        ):
            self.assertTrue(self.set_port(port, baud))
            self.assertEqual(self.wiring(), wired)
        for port, baud in ((5, 0), (-1, 0), (0, 3), (0, -1), (99, None), (None, 9600)):
            self.assertFalse(self.set_port(port, baud))
            self.assertEqual(self.wiring(), (4, 0))

    def test_what_says_otherwise_does_nothing(self) -> None:
        (identity,) = identities(1, 1, "HGM6120N")
        for manner, said in (("pretends", True), ("refuses", False)):
            self.device = SimulatedDevice(identity, self.genset, FaultProfile(parse_turns(manner), Random(1)))
            self.assertIs(self.write("00050001FF00DC2B"), said)
            self.assertIs(self.set_port(1, 1), said)
            self.assertEqual((self.genset.mode, self.wiring()), ("auto", (2, 0)))


class WireTests(LinkTestCase):
    """Orders as they come from a server, and what it gets for them (sections 4.6 and 4.8)."""

    def setUp(self) -> None:
        super().setUp()
        self.live = self.attached()

    def feeding(self) -> SimulatedDevice:
        self.genset = Genset(Random(1), self.clock.seconds, running=False, mains_schedule=False)
        (self.identity,) = identities(1, 1, "HGM6120N")
        return SimulatedDevice(self.identity, self.genset)

    def answer(self, **order: Any) -> dict[str, Any]:
        """What one order is answered with, as soon as it can have a segment of its own."""
        run(self.clock, 0.2)
        before = len(self.live.of("writeConfig"))
        self.live.send({"datatype": 1, "uid": "100042", "method": "writeConfig", **order})
        answer: dict[str, Any] = dict(*self.live.of("writeConfig")[before:])
        self.assertEqual((answer.pop("method"), answer.pop("hostid")), ("writeConfig", self.identity.hostid))
        self.assertEqual(answer.pop("uid"), "100042")
        return answer

    def test_a_command_acts_on_the_engine_and_the_next_upload_shows_it(self) -> None:
        manual, start, stop = "00050004FF00CC2A", "00050000FF008DEB", "00050001FF00DC2B"
        self.assertEqual(self.answer(result=manual), {"params": manual + ",1"})
        self.assertEqual(self.answer(result=start), {"params": start + ",1"})
        run(self.clock, 60)
        self.assertEqual((self.genset.mode, self.genset.engine_state), ("manual", 9))
        coils, registers, _ = split_frames(self.live.of("reqdata")[-1]["params"])
        self.assertEqual(open_frame(coils)[3 + 42 // 8] >> 42 % 8 & 1, 1)
        self.assertEqual(open_frame(registers)[3 + 2 * 34 : 5 + 2 * 34], b"\x00\x09")
        self.assertEqual(self.answer(result=stop), {"params": stop + ",1"})
        self.assertEqual(self.genset.engine_state, 10)

    def test_each_frame_is_answered_in_its_place(self) -> None:
        """What the controller does not do is 0: a start in auto mode, a wrong sum, no frame, another function."""
        start, manual, wrong_sum, other = "00050000FF008DEB", "00050004FF00CC2A", "00050003FF007DEC", "00060003FF0039EB"
        frames = [start, manual, wrong_sum, "nonsense", other, start.lower()]
        wanted = ";".join(f"{frame},{flag}" for frame, flag in zip(frames, (0, 1, 0, 0, 0, 1), strict=True))
        self.assertEqual(self.answer(result="; ".join(frames)), {"params": wanted})
        self.assertEqual((self.genset.mode, self.genset.engine_state), ("manual", 1))

    def test_wiring(self) -> None:
        self.assertEqual(self.answer(modulePort=1, moduleBaud=2), {"modulePort": 1, "moduleBaud": 2})
        self.assertEqual(self.answer(moduleBaud=1), {"moduleBaud": 1})
        self.assertEqual(self.answer(modulePort=5, moduleBaud=0), {"params": ",0"})
        self.live.send(RESET)
        run(self.clock, 2)
        params = self.server.connections[2].of("login")[0]["params"]
        self.assertEqual((params["modulePort"], params["moduleBaud"]), (1, 1))

    def test_reset_leads_through_login_again(self) -> None:
        self.answer(result="00050002FF002C2B")
        self.live.send(RESET)
        run(self.clock, 2)
        self.assertEqual(self.live.of("reset"), [{"method": "reset", "hostid": self.identity.hostid}])
        self.assertEqual([one.address for one in self.server.connections[2:]], [LOGIN_SERVER, LIVE_SERVER])
        self.assertEqual(self.server.last.methods[0], "LongCon")
        self.assertEqual((self.link.counters.online, self.link.counters.failures), (1, 0))
        self.assertEqual(self.genset.mode, "test")  # the module was reset, not the controller
        self.live = self.server.last
        self.assertEqual(self.answer(result="00050003FF007DEB"), {"params": "00050003FF007DEB,1"})
