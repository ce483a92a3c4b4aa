"""What the emulated controller answers, frame by frame: pymodbus over a genset whose time stands still."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random

from fastcrc.crc16 import modbus as crc16
from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.emulator.controller import EmulatedController
from cmmd.simulator.genset.controller import Mode
from cmmd.simulator.genset.genset import Genset
from cmmd.simulator.genset.panel import panel_of

TURNS_OF_THE_LOOP = 10
"""More than pymodbus takes to answer."""


def frame(body: str) -> bytes:
    """A frame, with its CRC."""
    octets = bytes.fromhex(body)
    return octets + crc16(octets).to_bytes(2, "little")


class Bench:
    """A controller, and what it has answered."""

    def __init__(self, model: str = "HGM6120N", unit: int = 1) -> None:
        self.now = 0.0
        self.answers: list[bytes] = []
        self.genset = Genset(Random(1), lambda: self.now, running=False, mains_schedule=False, model=model)
        self.controller = EmulatedController(self.genset, panel_of(model), unit=unit, answer=self.answers.append)

    async def hear(self, octets: bytes) -> str:
        """What is answered, in hex without its CRC; several: one after the other; empty: nothing."""
        self.answers.clear()
        self.controller.hear(octets)
        for _ in range(TURNS_OF_THE_LOOP):
            await asyncio.sleep(0)
        for answer in self.answers:
            assert answer == frame(answer[:-2].hex()), "its CRC"
        return " ".join(answer[:-2].hex().upper() for answer in self.answers)

    async def ask(self, body: str) -> str:
        return await self.hear(frame(body))


class ControllerTests(SynchronousTestCase):
    def with_bench(self, test: Callable[[Bench], Coroutine[None, None, None]], **how: object) -> None:
        async def run() -> None:
            await test(Bench(**how))  # type: ignore[arg-type]

        asyncio.run(run())

    def assert_answers(self, expected: dict[str, str], **how: object) -> None:
        """Each of these requests, by itself."""

        async def test(bench: Bench) -> None:
            for request, answer in expected.items():
                self.assertEqual(await bench.ask(request), answer, request)

        self.with_bench(test, **how)

    def test_what_the_vendors_cloud_polls(self) -> None:
        async def test(bench: Bench) -> None:
            picture = bench.genset.look()
            coils = (picture.coils & (1 << 90) - 1).to_bytes(12, "little").hex().upper()
            words = "".join(f"{register:04X}" for register in picture.registers)
            self.assertNotEqual(int(coils, 16), 0)
            self.assertEqual(await bench.hear(bytes.fromhex("01010000005ABC31")), f"01010C{coils}")
            self.assertEqual(await bench.hear(bytes.fromhex("01030000002D85D7")), f"01035A{words[:180]}")
            self.assertEqual(await bench.hear(bytes.fromhex("0103002E000AA5C4")), f"010314{words[184:224]}")

        self.with_bench(test)

    def test_the_truth(self) -> None:
        async def test(bench: Bench) -> None:
            picture = bench.genset.look()
            self.assertEqual(bench.controller.registers, list(picture.registers))
            coils = bench.controller.coils
            self.assertEqual(len(coils), 96)
            self.assertEqual([coil for coil, on in enumerate(coils) if on], [6, 41, 65, 74, 76])

        self.with_bench(test)

    def test_values_are_those_of_the_moment(self) -> None:
        async def test(bench: Bench) -> None:
            before = await bench.ask("010300000001")
            bench.genset.fail_mains()
            self.assertNotEqual(before, "0103020000")
            self.assertEqual(await bench.ask("010300000001"), "0103020000")
            self.assertEqual(await bench.ask("010100400001"), "01010101")  # mains fault

        self.with_bench(test)

    def test_parts_of_it(self) -> None:
        async def test(bench: Bench) -> None:
            register = bench.genset.look().registers[55]
            self.assertEqual(await bench.ask("010300370001"), f"010302{register:04X}")
            self.assertEqual(await bench.ask("010100290001"), "01010101")  # auto mode
            self.assertEqual(await bench.ask("0101002A0001"), "01010100")

        self.with_bench(test)

    def test_what_it_does_not_have(self) -> None:
        self.assert_answers(
            {
                "010300000039": "018302",  # one register too many
                "010300380001": "018302",
                "0103FFFF0001": "018302",
                "010100000061": "018102",  # one coil too many
                "010100600001": "018102",
                "01020000000A": "018201",
                "01040000000A": "018401",
                "010600000001": "018601",
                "010F0000000801FF": "018F01",
                "0110000000010200FF": "019001",
                "0116000000F20025": "019601",
                "0111": "019101",
                "01080000A537": "018801",
            }
        )

    def test_a_command_that_is_obeyed_is_echoed(self) -> None:
        async def test(bench: Bench) -> None:
            self.assertEqual(await bench.ask("01050004FF00"), "01050004FF00")
            self.assertIs(bench.genset.mode, Mode.MANUAL)
            self.assertEqual(await bench.ask("01050000FF00"), "01050000FF00")
            self.assertEqual(bench.genset.engine_state, 1)
            self.assertEqual(bench.controller.writes, [(4, True), (0, True)])
            self.assertEqual(await bench.ask("010100000008"), "01010140")  # not what was written: mains on load

        self.with_bench(test)

    def test_a_command_that_is_not(self) -> None:
        async def test(bench: Bench) -> None:
            self.assertEqual(await bench.ask("01050000FF00"), "018504")  # start, in auto mode
            self.assertEqual(bench.genset.engine_state, 0)
            self.assertEqual(await bench.ask("010500040000"), "018503")
            self.assertEqual(await bench.ask("01050007FF00"), "018502")
            self.assertEqual(await bench.ask("01050060FF00"), "018502")
            self.assertIs(bench.genset.mode, Mode.AUTO)
            self.assertEqual(bench.controller.writes, [(0, False)])

        self.with_bench(test)

    def test_a_broadcast_is_obeyed_and_not_answered(self) -> None:
        async def test(bench: Bench) -> None:
            self.assertEqual(await bench.hear(bytes.fromhex("00050004FF00CC2A")), "")
            self.assertIs(bench.genset.mode, Mode.MANUAL)
            self.assertEqual(await bench.ask("00030000000A"), "")
            self.assertEqual(await bench.ask("000600000001"), "")
            self.assertEqual(bench.controller.writes, [(4, True)])

        self.with_bench(test)

    def test_other_units(self) -> None:
        self.assert_answers({"010300370001": "", "020300370001": "", "070300370001": "0703020000"}, unit=7)

        async def test(bench: Bench) -> None:
            self.assertEqual(await bench.ask("02050004FF00"), "")
            self.assertIs(bench.genset.mode, Mode.AUTO)

        self.with_bench(test)

    def test_what_is_no_frame_is_over_with_the_silence(self) -> None:
        async def test(bench: Bench) -> None:
            whole = frame("010300370001")
            wrong = whole[:-1] + bytes([whole[-1] ^ 1])
            more_to_come = frame("01100000000A14")[:-2]  # 20 bytes of values would follow
            for broken in (b"", b"\x01", b"\x00", whole[:5], whole[:-1], wrong, more_to_come, b"\x01\x41\x00\x00"):
                self.assertEqual(await bench.hear(broken), "", broken)
                self.assertEqual(await bench.hear(whole), "0103020000", broken)

        self.with_bench(test)

    def test_noise_does_nothing(self) -> None:
        async def test(bench: Bench) -> None:
            chance = Random(2)
            for _ in range(3000):
                self.assertEqual(await bench.hear(b"\x01" + chance.randbytes(chance.randrange(40))), "")
            self.assertEqual(bench.controller.writes, [])
            self.assertIs(bench.genset.mode, Mode.AUTO)

        self.with_bench(test)

    def test_another_model(self) -> None:
        async def test(bench: Bench) -> None:
            self.assertEqual(len(bench.controller.registers), 82)
            self.assertEqual(len(bench.controller.coils), 96)
            self.assertTrue((await bench.ask("010300000052")).startswith("0103A4"))
            self.assertEqual(await bench.ask("01050002FF00"), "018502")  # it has no test mode

        self.with_bench(test, model="HGM4020N")
