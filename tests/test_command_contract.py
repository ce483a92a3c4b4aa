"""The contract of commands, at every door. That of a gateway's orders is in test_gateway_command_contract."""

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.fleet import CommandTerms
from tests import command_contract
from tests.command_contract import CASES, SAFETY, Scene, check
from tests.doors import AmpDoor, CmmctlDoor, Door, HttpDoor, Serving


class DocumentTests(SynchronousTestCase):
    def test_the_tables_are_the_contract(self) -> None:
        text = SAFETY.read_text(encoding="utf-8")
        self.assertEqual(command_contract.written(text), text, "python -m tests.command_contract")


def told(scene: Scene, door: Door, command: str, frames: str) -> str | None:
    """Ask for a command, and let time pass until its caller is told."""
    asked = door.begin(command, frames=frames)
    scene.run(lambda: asked.told is not None)
    return asked.told


class ContractTests(SynchronousTestCase):
    def check_all(self, door_of: Callable[[Serving], Door]) -> None:
        folder = Path(self.mktemp())
        for number, case in enumerate(CASES):

            def opened(scene: Scene, state: Path = folder / str(number)) -> Door:
                return door_of(Serving(scene.world, state))

            check(case, opened)

    def test_amp(self) -> None:
        self.check_all(AmpDoor)

    def test_http(self) -> None:
        self.check_all(lambda serving: HttpDoor(serving, role="admin"))

    def test_cmmctl(self) -> None:
        self.check_all(CmmctlDoor)

    def test_roles(self) -> None:
        for role, expected in command_contract.BY_ROLE.items():
            for command, outcome in expected.items():
                scene = Scene()
                device = scene.comes()
                door = HttpDoor(Serving(scene.world, Path(self.mktemp())), role=role)
                self.assertEqual(told(scene, door, command, command_contract.RAW), outcome, (role, command))
                self.assertEqual(len(device.got), outcome == "done", (role, command))

    def test_a_stop_in_raw_frames_is_a_stop_for_every_role(self) -> None:
        for role in ("operator", "engineer"):
            scene = Scene(terms=CommandTerms(raw=False))
            scene.comes()
            door = HttpDoor(Serving(scene.world, Path(self.mktemp())), role=role)
            self.assertEqual(told(scene, door, "write", "00050001FF00"), "done")

    def test_raw_writes_stay_within_the_profile(self) -> None:
        """Another unit, registers and coils that the profile does not know, ranges that begin within and end beyond."""
        elsewhere = ("11050003FF00", "F8060030FFFF", "000600380001", "0005005AFF00")
        across = ("00100036000306000100020003", "000F0058000401FF")
        for frames in (*elsewhere, *across):
            for door_of in (AmpDoor, CmmctlDoor, lambda serving: HttpDoor(serving, role="admin")):
                scene = Scene()
                device = scene.comes()
                door = door_of(Serving(scene.world, Path(self.mktemp())))
                self.assertEqual(told(scene, door, "write", f"00050003FF00;{frames}"), "out_of_range", frames)
                self.assertEqual(device.got, [])
