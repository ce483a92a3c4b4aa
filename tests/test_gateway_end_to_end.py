"""An emulated controller (pymodbus) on a pseudo-terminal, the gateway and cmmd, all of them real processes.

Port, speed, cable, outages, TLS, a server that is not ours: tests_slow. Every wait in here has its own limit.
"""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Sections, until
from tests.gateway_chain import HOSTID, GatewayChain
from tests.listening import listening_ports

AUTO = 3
"""The coil of a command (docs/controllers.md)."""

AUTO_FRAME = "00050003FF007DEB"


class ChainTestCase(SynchronousTestCase):
    def folder(self) -> Path:
        folder = Path(mkdtemp(prefix="cmmd-gateway-"))
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def chain(self, gateway: Sections | None = None, daemon: Sections | None = None) -> GatewayChain:
        chain = GatewayChain(self.folder(), gateway, daemon)
        self.addCleanup(chain.end)
        return chain


class CmmdTests(ChainTestCase):
    def test_a_controller_reports_and_obeys(self) -> None:
        chain = self.chain().start()
        for _ in range(2):  # on a busy machine values may be late: what was not sent may be asked for once more
            chain.emulator.ask("freeze")
            until(chain.agrees, "cmmd knows what the controller shows")
            chain.emulator.ask("thaw")
            called = chain.cmmctl("send", HOSTID, "auto")
            if called.said["outcome"] != "not sent":
                break
        self.assertEqual(
            (called.status, called.said["outcome"], called.said["confirmed"]), (0, "done", True), called.said
        )
        self.assertEqual(called.said["reply"], f"{AUTO_FRAME},1")
        self.assertEqual(chain.emulator.writes, [(AUTO, True)])
        self.assertIn(chain.daemon.port, listening_ports(chain.daemon.pid))
        for child in (chain.gateway, chain.emulator):
            self.assertEqual(listening_ports(child.pid), [], "a port that a page in a browser could reach")
        self.assertEqual(chain.gateway.terminate(), 0)
        self.assertNotIn("Traceback", chain.gateway.log + chain.daemon.log)
