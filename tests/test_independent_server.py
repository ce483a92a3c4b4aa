"""The server that is not ours, with a device whose behaviour is known: a simulated one, in a process of its own."""

import ast
import shutil
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests import independent_server
from tests.daemon import until
from tests.fleet_process import FleetProcess
from tests.independent_server import IndependentServer

AUTO = "00050003FF007DEB"
REWIRED = {"method": "writeConfig", "modulePort": 2, "moduleBaud": 1}


class IndependentServerTests(SynchronousTestCase):
    def test_it_knows_nothing_of_cmmd(self) -> None:
        tree = ast.parse(Path(independent_server.__file__).read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        known = {"collections.abc", "contextlib", "json", "pathlib", "socket", "threading", "time", "typing"}
        self.assertEqual(imported, known)

    def test_a_device_lives_with_it(self) -> None:
        server = IndependentServer()
        self.addCleanup(server.stop)
        folder = Path(mkdtemp(prefix="cmmd-independent-"))
        self.addCleanup(shutil.rmtree, folder)
        fleet = FleetProcess(folder, server.port, 1, "--seed", "1")
        self.addCleanup(fleet.terminate)

        for method in ("login", "LongCon", "timing", "HB", "reqdata"):
            until(lambda: server.of(method), method)  # noqa: B023 - called before the next turn
        hostid = server.of("LongCon")[0]["hostid"]
        self.assertEqual(server.of("login")[0]["params"]["hostid"], hostid)
        frames = server.of("reqdata")[0]["params"].split(";")
        shapes = [(frame[:6], len(frame)) for frame in frames]
        self.assertEqual(shapes, [("01010C", 34), ("01035A", 190), ("010314", 50)])

        server.write_config()
        until(lambda: server.of("writeConfig"), "the answer to a write")
        written = {"method": "writeConfig", "params": f"{AUTO},1", "hostid": hostid, "uid": "action"}
        self.assertEqual(server.of("writeConfig"), [written])

        server.write_port(2, 1, uid="wiring")
        until(lambda: len(server.of("writeConfig")) == 2, "the answer to another wiring")
        self.assertEqual(server.of("writeConfig")[1], {**REWIRED, "hostid": hostid, "uid": "wiring"})

        server.reset()
        until(lambda: len(server.of("LongCon")) == 2, "the device is back after a reset")
        self.assertEqual(server.of("reset"), [{"method": "reset", "hostid": hostid}])
        self.assertEqual(server.of("login")[1]["params"]["moduleBaud"], 1)

        before = len(server.of("LongCon"))
        server.hang_up()
        until(lambda: len(server.of("LongCon")) > before, "the device is back after its connection was lost")
