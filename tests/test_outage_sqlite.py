"""Outages: while somebody holds the database, a real daemon acknowledges uploads as kept, and they come there later."""

import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Daemon, until
from tests.plain_device import register
from tests.serial_fleet import SerialFleet, Upload
from tests.test_durability import INTERVAL_S, kept

DEVICES = 40
LOGGED = ("the database is unavailable, rows are buffered in the spool", "the store takes rows again")


class OutageTests(SynchronousTestCase):
    """Outages.

    :cvar well_s: how long all is well before and after.
    :cvar waiting: how many uploads of each device wait, on the average, before the database is let go.
    :cvar restarts: how often the daemon is killed and started again meanwhile, before it is killed for the last time.
    """

    well_s = 0.5
    waiting = 1.2
    restarts = 0

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.daemon = Daemon(folder, {"history": {"interval": INTERVAL_S}})
        self.addCleanup(self.daemon.kill)
        self.daemon.start()
        self.hostids = [f"OUT{number}" for number in range(DEVICES)]
        for hostid in self.hostids:
            register(self.daemon.port, hostid)
        self.serials = dict.fromkeys(self.hostids, 0)
        self.acknowledged: list[Upload] = []
        self.connect()

    def connect(self) -> None:
        self.fleet = SerialFleet(self.daemon.port, self.hostids, INTERVAL_S, self.serials).__enter__()

    def disconnect(self) -> None:
        self.fleet.stop()
        self.serials = self.fleet.serials
        self.acknowledged += self.fleet.acknowledged
        self.assertEqual(self.fleet.refused, [])

    def kill(self) -> None:
        self.daemon.kill()
        self.disconnect()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The database lets nobody write."""
        with contextlib.closing(sqlite3.connect(self.daemon.state / "cmmd.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    def in_the_spool(self, what: str = "count(*)") -> int:
        with contextlib.closing(sqlite3.connect(self.daemon.state / "spool.sqlite")) as spool:
            ((value,),) = spool.execute(f"SELECT {what} FROM reading").fetchall()
        return int(value)

    def until_rows_wait(self, of_each: float) -> None:
        """Wait until the spool has got so many more readings of each device."""
        enough = self.in_the_spool() + of_each * DEVICES
        until(lambda: self.in_the_spool() > enough, "rows in the spool")

    def empty(self) -> bool:
        return not self.in_the_spool()

    def assert_kept(self) -> None:
        """All that was acknowledged is in the database, once, and nothing waits any more."""
        self.disconnect()
        self.assertEqual(self.daemon.terminate(), 0, self.daemon.log)
        there = Counter(kept(self.daemon.state))
        lost = [upload for upload in self.acknowledged if upload not in there]
        self.assertEqual(lost, [], f"of {len(self.acknowledged)} acknowledged ones")
        self.assertEqual([upload for upload, times in there.items() if times > 1], [], "kept twice")
        self.assertTrue(self.empty())
        self.assertNotIn("Traceback", self.daemon.log)

    def test_uploads_are_acknowledged_and_come_there_later(self) -> None:
        time.sleep(self.well_s)
        with self.held():
            before = len(kept(self.daemon.state))
            self.until_rows_wait(self.waiting)
            self.assertEqual(len(kept(self.daemon.state)), before)
            self.assertEqual(register(self.daemon.port, "OUT1", hostname="renamed")["retcode"], "000000")
            self.assertEqual(register(self.daemon.port, "NEW1")["retcode"], "000006")
        until(self.empty, "an empty spool")
        time.sleep(self.well_s)
        self.assertEqual(register(self.daemon.port, "NEW1")["retcode"], "000000")
        self.assertEqual([self.daemon.log.count(line) for line in LOGGED], [1, 1], self.daemon.log)
        self.assert_kept()
        with contextlib.closing(sqlite3.connect(self.daemon.state / "cmmd.sqlite")) as database:
            ((hostname,),) = database.execute("SELECT hostname FROM device WHERE hostid = 'OUT1'").fetchall()
        self.assertEqual(hostname, "renamed")

    def test_killed_meanwhile_and_started_again(self) -> None:
        time.sleep(self.well_s)
        with self.held():
            for _ in range(self.restarts):
                self.until_rows_wait(random.uniform(0.1, self.waiting))
                self.kill()
                self.daemon.start()
                self.connect()
            self.until_rows_wait(self.waiting)
            self.kill()
        self.daemon.start()
        self.connect()
        time.sleep(self.well_s)
        until(self.empty, "an empty spool")
        self.assert_kept()
