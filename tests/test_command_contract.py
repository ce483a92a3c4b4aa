"""The contract of commands, at every door. That of a gateway's orders is in test_gateway_command_contract."""

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import command_contract
from tests.command_contract import CASES, SAFETY, Scene, check
from tests.doors import AmpDoor, CmmctlDoor, Door, HttpDoor, Serving


class DocumentTests(SynchronousTestCase):
    def test_the_tables_are_the_contract(self) -> None:
        text = SAFETY.read_text(encoding="utf-8")
        self.assertEqual(command_contract.written(text), text, "python -m tests.command_contract")


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

    def test_a_viewer_may_look_and_nothing_else(self) -> None:
        for command in command_contract.COMMANDS:
            scene = Scene()
            device = scene.comes()
            door = HttpDoor(Serving(scene.world, Path(self.mktemp())), role="viewer")
            self.assertEqual((door.command(command), device.got), ("forbidden", []), command)
