"""What tests of the console stand on: a world for a class, a browser, and answers of somebody else."""

import atexit
import gc
import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from playwright.sync_api import Route
from twisted.trial.unittest import SynchronousTestCase

from tests_system.browser import Visit, Visitor, serious_violations
from tests_system.console_world import ConsoleWorld

DEVICES = 10  # as "make demo" has
MANY = 5000
FIRST_ROWS_S = 2.0

TABS = ("values", "charts", "events", "commands", "settings", "raw")


class Stage:
    """The world of the class whose tests run, and a browser that looks at it. Trial calls no setUpClass."""

    def __init__(self) -> None:
        self._of: type[object] | None = None
        self._world: ConsoleWorld | None = None
        self._visitor: Visitor | None = None
        atexit.register(self.close)

    def set_for(self, tests: "type[ConsoleTestCase]") -> tuple[ConsoleWorld, Visitor]:
        """The world of these tests, which ends that of others."""
        if self._of is not tests:
            self.close()
            self._of = tests
            self._world = ConsoleWorld(tests.devices, tests.options, tests.tiles)
            self._visitor = Visitor(self._world.url)
        assert self._world is not None and self._visitor is not None
        return self._world, self._visitor

    def close(self) -> None:
        """End what there is."""
        self._of = None
        visitor, self._visitor = self._visitor, None
        world, self._world = self._world, None
        if visitor is not None:
            visitor.close()
        if world is not None:
            world.close()


STAGE = Stage()


class Complaints(logging.Handler):
    """What asyncio says of tasks that nobody waits for and that have not ended.

    :ivar said: one line each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        said = record.getMessage()
        if "destroyed but it is pending" in said:
            self.said.append(said)


class ConsoleTestCase(SynchronousTestCase):
    """Has a world and a browser.

    :cvar devices: how many the world has. :cvar options: of the simulator. :cvar tiles: whether the map has some.
    """

    devices: ClassVar[int] = DEVICES
    options: ClassVar[Sequence[str]] = ()
    tiles: ClassVar[bool] = False

    def setUp(self) -> None:
        self.world, self.visitor = STAGE.set_for(type(self))
        asyncio = logging.getLogger("asyncio")
        complaints = Complaints()
        asyncio.addHandler(complaints)
        self.addCleanup(self.assertNothingPending, complaints)
        self.addCleanup(asyncio.removeHandler, complaints)
        self.addCleanup(gc.collect)

    def assertNothingPending(self, complaints: "Complaints") -> None:
        """No request was left without an answer: its task in Playwright would end within some other test."""
        self.assertEqual(complaints.said, [])

    def assertClean(self, visit: Visit) -> None:
        """Nothing went wrong on the page, and it asked nobody but us."""
        self.assertEqual(visit.errors, [])
        self.assertEqual(visit.strangers, [])

    def assertUsable(self, visit: Visit, where: str) -> None:
        """axe-core finds nothing that keeps people out."""
        self.assertEqual(serious_violations(visit.page), [], where)

    def run_module(self, name: str, script: str, *arguments: object) -> Any:
        """What a function makes of a module, and of arguments."""
        with self.visitor.visit() as visit:
            page = visit.open().page
            base = page.get_attribute('meta[name="cmmd-static"]', "content")
            call = f"({script})(await import('{base}js/{name}'), ...given)"
            return page.evaluate(f"async (given) => {call}", list(arguments))

    def host(self, place: int) -> str:
        hostid: str = self.world.devices()[place]["hostid"]
        return hostid


def answering(**answer: Any) -> Callable[[Route], None]:
    return lambda route: route.fulfill(**answer)
