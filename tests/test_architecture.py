"""The layers of ARCHITECTURE.md, read off the imports."""

import ast
import configparser
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.support import REPOSITORY

# Who may import which other part of cmmd. What is missing here has no layer yet.
PROTOCOLS = {"wire", "modbus"}
KNOWLEDGE = {"controllers", "store"}
DOMAIN = {"fleet"}
MAY_IMPORT: dict[str, set[str]] = {
    "wire": PROTOCOLS,
    "modbus": PROTOCOLS,
    "controllers": PROTOCOLS,
    "backoff": set(),
    "keep_policy": set(),
    "atomic_file": set(),
    "store": PROTOCOLS | KNOWLEDGE | {"backoff", "atomic_file"},
    "fleet": PROTOCOLS | KNOWLEDGE | {"backoff", "keep_policy", "atomic_file"},
    "server": PROTOCOLS | KNOWLEDGE | DOMAIN,
    "control": PROTOCOLS | KNOWLEDGE | DOMAIN | {"tls", "endpoints"},
    "web": PROTOCOLS | KNOWLEDGE | DOMAIN,
    "gateway": PROTOCOLS | {"controllers", "tls", "stall_detector", "backoff", "keep_policy", "atomic_file"},
    "simulator": PROTOCOLS | {"controllers", "gateway"},
    "cli": PROTOCOLS | KNOWLEDGE | DOMAIN | {"control", "tls", "endpoints"},
    "tls": PROTOCOLS,
    "config": PROTOCOLS,
    "process": PROTOCOLS | {"stall_detector", "log_thread"},
    "stall_detector": set(),
    "service_manager": set(),
    "log_thread": set(),
    "endpoints": PROTOCOLS,
}
WIRES_THE_DAEMON_UP = {Path("cmmd/tap.py"), Path("cmmd/parts.py")}
FOR_TAP_ONLY = {"config", "process", "service_manager", "stall_detector", "log_thread"}
"""What only the modules that wire things up, all called tap, may import."""
MAY_IMPORT_AS_WELL = {
    # cmmctl store opens what the daemon opens while that does not run: from its configuration, under its lock.
    Path("cmmd/cli/store_commands.py"): FOR_TAP_ONLY,
}

FLEET_LAYERS = (
    *("roles", "errors", "counters", "events", "devices", "telemetry", "alarms", "history"),
    *("late_uploads", "uploads", "commands", "fleet", "service"),
)
"""The parts of the domain from the lowest to the highest. A part imports itself and what is below it."""

AT_HOME = {"prometheus_client": "web"}
"""Libraries that only one part may know. What counts on the way of a message counts in plain integers."""

MOST_LINES = 400
"""Of a module of cmmd."""

PURE = ("wire", "modbus", "controllers")
IMPURE_MODULES = {
    *("twisted", "asyncio", "threading", "multiprocessing", "concurrent", "subprocess", "signal"),
    *("time", "datetime", "sched"),
    *("io", "os", "socket", "socketserver", "select", "selectors", "ssl", "http", "urllib", "sqlite3", "logging"),
}
EMPTY_CONTAINERS = {"dict", "list", "set", "deque", "defaultdict", "OrderedDict", "Counter", "WeakValueDictionary"}


@dataclass(frozen=True)
class Import:
    """One imported module or name, in full; ``cmmd.wire.errors.FrameError`` for a name of a module."""

    name: str
    line: int
    at_import_time: bool

    @property
    def part(self) -> str | None:
        """The part of cmmd that this is in; None outside of cmmd, and for cmmd itself."""
        names = self.name.split(".")
        return names[1] if names[0] == "cmmd" and len(names) > 1 and names[1] != "__version__" else None


@dataclass(frozen=True)
class Module:
    """A source file, its path below the root, and what it is made of."""

    path: Path
    tree: ast.Module

    @property
    def part(self) -> str:
        """The folder below cmmd, or the module where it is in cmmd itself."""
        return self.path.parts[1] if len(self.path.parts) > 2 else self.path.stem

    @property
    def wires_up(self) -> bool:
        return self.path.stem == "tap"

    @cached_property
    def imports(self) -> list[Import]:
        return list(self._imports())

    def _imports(self) -> Iterator[Import]:
        inside_functions = {
            id(node)
            for function in ast.walk(self.tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_for_types(function)
            for node in ast.walk(function)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = self._from(node)
                names = [f"{package}.{alias.name}" for alias in node.names]
            else:
                continue
            yield from (Import(name, node.lineno, id(node) not in inside_functions) for name in names)

    def _from(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.path.with_suffix("").parts[: -node.level]
        return ".".join([*package, *([node.module] if node.module else [])])


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def modules(root: Path) -> list[Module]:
    return [
        Module(path.relative_to(root), ast.parse(path.read_text(encoding="utf-8"), str(path)))
        for path in sorted((root / "cmmd").rglob("*.py"))
    ]


# --- the rules: each yields one line for each violation --------------------------------------------------------------


def imports_that_do_not_go_down(module: Module) -> Iterator[str]:
    if module.path in WIRES_THE_DAEMON_UP:
        return
    allowed = MAY_IMPORT.get(module.part, set()) | {module.part}
    if module.wires_up:
        allowed |= FOR_TAP_ONLY
    allowed |= MAY_IMPORT_AS_WELL.get(module.path, set())
    for one in module.imports:
        if one.part is not None and one.part not in allowed:
            yield f"{module.path}:{one.line} imports {one.name}: {module.part} may not know {one.part}"


def imports_up_within_the_fleet(module: Module) -> Iterator[str]:
    if module.part != "fleet" or module.path.stem == "__init__":
        return
    part = module.path.parts[2].removesuffix(".py")
    if part not in FLEET_LAYERS:
        yield f"{module.path}: give {part} a place in FLEET_LAYERS of tests/test_architecture.py"
        return
    allowed = {*FLEET_LAYERS[: FLEET_LAYERS.index(part) + 1]}
    for one in module.imports:
        names = one.name.split(".")
        if names[:2] == ["cmmd", "fleet"] and len(names) > 2 and names[2] not in allowed:
            yield f"{module.path}:{one.line} imports {one.name}: fleet.{names[2]} is above fleet.{part}"


def parts_without_a_place(module: Module) -> Iterator[str]:
    if module.part not in {*MAY_IMPORT, "tap", "parts", "__init__"}:
        yield f"{module.path}: give {module.part} a place in MAY_IMPORT of tests/test_architecture.py"


def impure_imports(module: Module) -> Iterator[str]:
    if module.part in PURE:
        for one in module.imports:
            if one.name.split(".")[0] in IMPURE_MODULES:
                yield f"{module.path}:{one.line} imports {one.name}: {module.part} is without Twisted, clock and I/O"


def libraries_away_from_home(module: Module) -> Iterator[str]:
    for one in module.imports:
        home = AT_HOME.get(one.name.split(".")[0], module.part)
        if module.part != home:
            yield f"{module.path}:{one.line} imports {one.name}: that is for {home} only"


def reactor_imports(module: Module) -> Iterator[str]:
    for one in module.imports:
        if one.name == "twisted.internet.reactor" and one.at_import_time:
            yield f"{module.path}:{one.line} imports the reactor at import time: it is handed in"


def module_state(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield f"{module.path}:{node.lineno} has a global statement: state hangs off the service"
    for statement in module.tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and _is_empty_container(statement.value):
            yield f"{module.path}:{statement.lineno} keeps an empty container at module level: no module state"


def _is_empty_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return not value.args and not value.keywords and ast.unparse(value.func).split(".")[-1] in EMPTY_CONTAINERS
    return (isinstance(value, ast.Dict) and not value.keys) or (isinstance(value, ast.List) and not value.elts)


def too_long(module: Module) -> Iterator[str]:
    """A module is one thought: think again at 350 lines."""
    lines = module.tree.body[-1].end_lineno or 0 if module.tree.body else 0
    if lines > MOST_LINES:
        yield f"{module.path}: {lines} lines, more than {MOST_LINES}: it is more than one thought"


def circles(every: list[Module]) -> list[str]:
    """Find modules that import each other at import time, on whatever way round.

    :return: one line for each circle that a search meets, with the modules in the order of their imports.
    """
    names = {".".join(module.path.with_suffix("").parts): module for module in every}
    below = {
        name: sorted(
            {
                found
                for one in module.imports
                if one.at_import_time
                for found in (one.name, one.name.rpartition(".")[0])
                if found in names and found != name
            }
        )
        for name, module in names.items()
    }
    found: list[str] = []
    finished: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            found.append(" imports ".join([*way[way.index(name) :], name]))
        elif name not in finished:
            for other in below[name]:
                visit(other, (*way, name))
            finished.add(name)

    for name in names:
        visit(name, ())
    return found


RULES = (
    imports_that_do_not_go_down,
    imports_up_within_the_fleet,
    parts_without_a_place,
    impure_imports,
    libraries_away_from_home,
    reactor_imports,
    module_state,
    too_long,
)


def violations(root: Path) -> list[str]:
    return [line for module in modules(root) for rule in RULES for line in rule(module)]


class LayerTests(SynchronousTestCase):
    """The code as it stands."""

    def test_the_rules_hold(self) -> None:
        self.assertNotEqual(modules(REPOSITORY), [])
        found = violations(REPOSITORY)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_no_circles(self) -> None:
        found = circles(modules(REPOSITORY))
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_setup_cfg_lists_the_packages_that_exist(self) -> None:
        parser = configparser.ConfigParser()
        parser.read(REPOSITORY / "setup.cfg", encoding="utf-8")
        listed = set(parser["options"]["packages"].split())
        folders = {path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "cmmd").rglob("*.py")}
        on_disk = {".".join(folder.parts) for folder in folders} | {"twisted.plugins"}
        self.assertEqual(sorted(on_disk - listed), [], "not listed under packages in setup.cfg")
        self.assertEqual(sorted(listed - on_disk), [], "listed under packages in setup.cfg, but not there")
        for folder in folders:
            self.assertTrue((REPOSITORY / folder / "__init__.py").exists(), f"{folder} has no __init__.py")

    def test_plugins_have_no_init(self) -> None:
        """Twisted collects the plugins of all distributions; an __init__.py would hide the others'."""
        for folder in ("twisted", "twisted/plugins"):
            self.assertFalse((REPOSITORY / folder / "__init__.py").exists(), folder)


class PageTests(SynchronousTestCase):
    """ARCHITECTURE.md names what is there, in cells that can be read."""

    def test_modules_of_a_row_are_in_its_folder(self) -> None:
        page = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
        for row in re.findall(r"^\| `cmmd/.*\|$", page, re.MULTILINE):
            where, what = (cell.strip() for cell in row.strip("|").split("|"))
            folder = re.fullmatch(r"`(cmmd/[a-z_/]*)/`", where)
            if folder is None or folder[1] == "cmmd/web/static":
                continue
            for name in re.findall(r"`([a-z_]+)`", what):
                places = (Path(folder[1], name), Path("cmmd", name))
                found = any((REPOSITORY / place).with_suffix(end).exists() for place in places for end in (".py", ""))
                self.assertTrue(found or name == "stop", f"{where} names {name}, which is not there")

    def test_cells_can_be_read(self) -> None:
        page = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
        for row in re.findall(r"^\|.*\|$", page, re.MULTILINE):
            for cell in row.strip("|").split("|"):
                self.assertLessEqual(len(cell.strip()), 200, row)

    def test_each_layer_has_a_diagram(self) -> None:
        page = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
        layers = re.split(r"^## (?=Layer )", page, flags=re.MULTILINE)[1:]
        self.assertEqual(len(layers), 5)
        for layer in layers:
            self.assertIn("```mermaid", layer, layer[:20])

    def test_modules_of_the_text_are_there(self) -> None:
        page = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
        parts = "|".join(sorted(MAY_IMPORT))
        for name in re.findall(rf"`((?:{parts})\.[a-z_.]+)`", page):
            place = REPOSITORY / "cmmd" / name.replace(".", "/")
            self.assertTrue(place.exists() or place.with_suffix(".py").exists(), name)


class RuleTests(SynchronousTestCase):
    """Every rule catches what it is there for, and names file, line and import."""

    def assert_caught(self, path: str, source: str, *expected: str) -> None:
        with TemporaryDirectory() as folder:
            file = Path(folder, path)
            file.parent.mkdir(parents=True)
            file.write_text(source, encoding="utf-8")
            self.assertEqual(violations(Path(folder)), list(expected))

    def test_up(self) -> None:
        self.assert_caught(
            "cmmd/wire/splitter.py",
            "import re\nfrom cmmd.store import records\n",
            "cmmd/wire/splitter.py:2 imports cmmd.store.records: wire may not know store",
        )
        self.assert_caught(
            "cmmd/fleet/telemetry/live.py",
            "def read():\n    import cmmd.server.session\n",
            "cmmd/fleet/telemetry/live.py:2 imports cmmd.server.session: fleet may not know server",
        )

    def test_circles(self) -> None:
        with TemporaryDirectory() as folder:
            for name, source in (
                ("a", "from cmmd import b"),
                ("b", "from cmmd.c import Thing"),
                ("c", "import cmmd.a"),
                ("d", "if TYPE_CHECKING:\n    from cmmd.e import Thing"),
                ("e", "import cmmd.d\ndef f():\n    import cmmd.d"),
            ):
                file = Path(folder, "cmmd", f"{name}.py")
                file.parent.mkdir(exist_ok=True)
                file.write_text(source, encoding="utf-8")
            self.assertEqual(circles(modules(Path(folder))), ["cmmd.a imports cmmd.b imports cmmd.c imports cmmd.a"])

    def test_sideways(self) -> None:
        for part, other in (
            ("server", "control"),
            ("control", "web"),
            ("web", "server"),
            ("web", "gateway"),
            ("gateway", "simulator"),
            ("gateway", "fleet"),
            ("gateway", "store"),
            ("simulator", "server"),
            ("simulator", "store"),
        ):
            self.assert_caught(
                f"cmmd/{part}/module.py",
                f"from cmmd.{other} import thing",
                f"cmmd/{part}/module.py:1 imports cmmd.{other}.thing: {part} may not know {other}",
            )

    def test_libraries(self) -> None:
        self.assert_caught("cmmd/web/metrics/metrics.py", "from prometheus_client import Counter\n")
        self.assert_caught(
            "cmmd/fleet/counters/counters.py",
            "from prometheus_client import Counter\n",
            "cmmd/fleet/counters/counters.py:1 imports prometheus_client.Counter: that is for web only",
        )

    def test_relative(self) -> None:
        self.assert_caught(
            "cmmd/server/login.py",
            "from ..web import api\nfrom .. import control\nfrom . import session\nfrom .session import Session\n",
            "cmmd/server/login.py:1 imports cmmd.web.api: server may not know web",
            "cmmd/server/login.py:2 imports cmmd.control: server may not know control",
        )

    def test_down_and_within(self) -> None:
        self.assert_caught("cmmd/server/login.py", "from cmmd import __version__\nfrom cmmd.server import session\n")
        self.assert_caught("cmmd/fleet/telemetry/live.py", "from cmmd.modbus.frames import Frame\nimport cmmd\n")
        self.assert_caught("cmmd/simulator/device.py", "from cmmd.gateway.link.link import Link\n")

    def test_configuration_is_for_tap(self) -> None:
        self.assert_caught(
            "cmmd/server/login.py",
            "from cmmd.config import Config",
            "cmmd/server/login.py:1 imports cmmd.config.Config: server may not know config",
        )
        self.assert_caught(
            "cmmd/cli/output.py",
            "from cmmd import config",
            "cmmd/cli/output.py:1 imports cmmd.config: cli may not know config",
        )
        self.assert_caught("cmmd/cli/store_commands.py", "from cmmd import config, process\n")
        self.assert_caught("cmmd/tap.py", "from cmmd import config, web\n")
        self.assert_caught("cmmd/gateway/tap.py", "from cmmd import config\n")

    def test_up_within_the_fleet(self) -> None:
        self.assert_caught(
            "cmmd/fleet/telemetry/live.py",
            "from cmmd.fleet.service import records\nfrom cmmd.fleet.alarms import alarms\n",
            "cmmd/fleet/telemetry/live.py:1 imports cmmd.fleet.service.records: fleet.service is above fleet.telemetry",
            "cmmd/fleet/telemetry/live.py:2 imports cmmd.fleet.alarms.alarms: fleet.alarms is above fleet.telemetry",
        )
        self.assert_caught("cmmd/fleet/service/device_rows.py", "from cmmd.fleet.service import records\n")
        self.assert_caught("cmmd/fleet/uploads.py", "from cmmd.fleet.history.journal import Journal\n")
        self.assert_caught("cmmd/web/live.py", "from cmmd.fleet.service import records\n")

    def test_a_new_part_needs_a_place(self) -> None:
        self.assert_caught(
            "cmmd/helper/text.py",
            "",
            "cmmd/helper/text.py: give helper a place in MAY_IMPORT of tests/test_architecture.py",
        )
        self.assert_caught(
            "cmmd/fleet/helper.py",
            "",
            "cmmd/fleet/helper.py: give helper a place in FLEET_LAYERS of tests/test_architecture.py",
        )

    def test_purity(self) -> None:
        for name in ("time", "twisted.internet.defer", "socket", "asyncio", "threading"):
            self.assert_caught(
                "cmmd/modbus/frames.py",
                f"import {name}",
                f"cmmd/modbus/frames.py:1 imports {name}: modbus is without Twisted, clock and I/O",
            )
        self.assert_caught("cmmd/store/sqlite/store.py", "import sqlite3, time\n")

    def test_reactor(self) -> None:
        self.assert_caught(
            "cmmd/server/login.py",
            "from twisted.internet import reactor",
            "cmmd/server/login.py:1 imports the reactor at import time: it is handed in",
        )
        self.assert_caught("cmmd/tap.py", "def makeService(options):\n    from twisted.internet import reactor\n")

    def test_module_state(self) -> None:
        state = "keeps an empty container at module level: no module state"
        self.assert_caught(
            "cmmd/server/login.py",
            "A = {}\nB: list[int] = []\nC = collections.deque()\nD = {1: 2}\nE = set()\n",
            *(f"cmmd/server/login.py:{line} {state}" for line in (1, 2, 3, 5)),
        )
        self.assert_caught(
            "cmmd/server/login.py",
            "def count():\n    global total\n",
            "cmmd/server/login.py:2 has a global statement: state hangs off the service",
        )

    def test_length(self) -> None:
        self.assert_caught("cmmd/server/login.py", "a = 1\n" * 400)
        self.assert_caught(
            "cmmd/server/login.py",
            "a = 1\n" * 401,
            "cmmd/server/login.py: 401 lines, more than 400: it is more than one thought",
        )
