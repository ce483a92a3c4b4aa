"""Base class of tests of the console: a world for a class or several, a browser, and answers from elsewhere."""

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

TABS = ("values", "charts", "events", "commands", "settings", "raw")


class Stage:
    """The world of the tests that run in this process. Trial calls no setUpClass.

    A worker of ``trial -j`` gets single tests in the order of their classes, so that it changes worlds seldom.
    """

    def __init__(self) -> None:
        self._name = ""
        self._world: ConsoleWorld | None = None
        atexit.register(self.close)

    def set_for(self, tests: "type[ConsoleTestCase]") -> ConsoleWorld:
        """Return the world of these tests; the world of any others ends."""
        name = tests.stage or tests.__name__
        if self._world is None or self._name != name:
            self.close()
            self._name = name
            self._world = ConsoleWorld(tests.devices, tests.options, tests.tiles)
        return self._world

    def close(self) -> None:
        """End the world, where there is one."""
        world, self._world = self._world, None
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

    :cvar stage: classes with the same name share a world: they say the same of the world, and leave it as it was.
        Empty: the class has a world of its own.
    :cvar devices: how many the world has. :cvar options: of the simulator. :cvar tiles: whether the map has some.
    """

    stage: ClassVar[str] = ""
    devices: ClassVar[int] = DEVICES
    options: ClassVar[Sequence[str]] = ()
    tiles: ClassVar[bool] = False

    def setUp(self) -> None:
        self.world = STAGE.set_for(type(self))
        self.visitor = Visitor(self.world.url)
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
