"""A database that goes away under a daemon: nothing acknowledged is lost or doubled, and nobody is cut off."""

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import DEADLINE_S
from tests.outage import Outage, Report
from tests.plain_device import PlainDevice, message, register
from tests.postgres import stoppable_server

INTERVAL_S = 1.0


class WithAFleet(SynchronousTestCase):
    """Provide a server, a fleet and a daemon, which is not started.

    :cvar well_s: how long all is well before and after the outage. :cvar outage_s: how long the server is stopped.
    """

    devices = 30
    well_s = 1.2
    outage_s = 2.0

    def setUp(self) -> None:
        self.server = stoppable_server()
        self.server.thaw()
        if not self.server.runs:
            self.server.start()
        folder = Path(tempfile.mkdtemp(prefix="cmmd"))  # a socket's path may have 107 characters
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.outage = Outage(folder, self.server, self.devices, INTERVAL_S)
        self.daemon = self.outage.daemon
        self.addCleanup(self.daemon.kill)

    def live(self, *, kill: bool) -> Report:
        """Have an outage, in which nothing is lost, doubled or refused.

        :param kill: whether the daemon is killed meanwhile.
        """
        report = self.outage.run(self.well_s, self.outage_s, self.well_s, kill=kill, deadline_s=DEADLINE_S)
        self.assertEqual((report.lost, report.doubled, report.refused), (0, 0, 0))
        self.assertGreater(report.acknowledged, self.devices)  # how many more, a busy machine decides
        self.assertNotIn("Traceback", self.daemon.log)
        return report


class StopTests(WithAFleet):
    def test_stopped_and_started(self) -> None:
        report = self.live(kill=False)
        self.assertEqual(report.cut_off, 0)
        self.assertGreater(report.backlog, 0)
        said = self.daemon.log
        self.assertEqual(said.count("the database is unavailable"), 1, said)
        self.assertEqual(said.count("the store takes rows again"), 1, said)
        self.assertNotIn("s3cret", said)


class StartTests(WithAFleet):
    def test_a_start_without_the_database(self) -> None:
        """Devices that are known log in and upload; others have to wait; a start that knows nothing is impossible."""
        self.server.stop()
        self.daemon.begin()
        self.assertEqual(self.daemon.ended(), 1)
        self.assertIn("cmmd: ", self.daemon.log)
        self.server.start()
        self.daemon.start()
        self.assertEqual(register(self.daemon.port, "KNOWN")["retcode"], "000000")
        self.assertEqual(self.daemon.terminate(), 0)
        self.server.stop("immediate")
        self.daemon.start()
        self.assertEqual(register(self.daemon.port, "KNOWN")["retcode"], "000000")
        self.assertEqual(register(self.daemon.port, "UNKNOWN")["retcode"], "000006")
        with PlainDevice(self.daemon.port) as device:
            for sent in (message("LongCon", "KNOWN"), message("reqdata", "KNOWN", params="")):
                self.assertEqual(device.ask(sent)["retcode"], "000000")
        self.assertFalse(self.outage.status()["store_up"])
        self.server.start()
        self.outage.wait_until_nothing_waits(DEADLINE_S)
        self.assertEqual(register(self.daemon.port, "UNKNOWN")["retcode"], "000000")
        self.assertEqual(self.daemon.terminate(), 0)
        self.assertNotIn("Traceback", self.daemon.log)
