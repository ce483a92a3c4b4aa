"""Power cuts: what was acknowledged as kept is in the database, whenever the daemon is killed."""

import contextlib
import random
import sqlite3
import time
from collections import Counter
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Daemon, until
from tests.plain_device import register
from tests.serial_fleet import SerialFleet, Upload, serial_of

INTERVAL_S = 1.0


def kept(state: Path) -> list[Upload]:
    """What the database has, as anybody may read it."""
    with contextlib.closing(sqlite3.connect(state / "cmmd.sqlite")) as database:
        rows = database.execute("SELECT hostid, image FROM reading").fetchall()
    return [(hostid, serial_of(image)) for hostid, image in rows]


def has_more(fleet: SerialFleet, uploads: float) -> bool:
    return len(fleet.acknowledged) > uploads


class PowerCutTests(SynchronousTestCase):
    power_cuts = 3
    devices = 60

    def test_what_was_acknowledged_as_kept_is_kept(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        daemon = Daemon(folder, {"history": {"interval": INTERVAL_S}})
        self.addCleanup(daemon.kill)
        hostids = [f"CUT{number}" for number in range(self.devices)]
        serials = dict.fromkeys(hostids, 0)
        acknowledged: list[Upload] = []
        for cut in range(self.power_cuts):
            daemon.start()
            if cut == 0:
                for hostid in hostids:
                    register(daemon.port, hostid)
            with SerialFleet(daemon.port, hostids, INTERVAL_S, serials) as fleet:
                enough = random.uniform(0.3, 1.8) * self.devices
                until(partial(has_more, fleet, enough), "uploads")
                time.sleep(random.uniform(0.0, 0.1))
                daemon.kill()
            serials = fleet.serials
            acknowledged += fleet.acknowledged
            self.assertEqual(fleet.refused, [])
            there = Counter(kept(daemon.state))
            lost = [upload for upload in acknowledged if upload not in there]
            self.assertEqual(lost, [], f"after power cut {cut + 1}, of {len(acknowledged)} acknowledged ones")
            self.assertEqual([upload for upload, times in there.items() if times > 1], [], "kept twice")
        self.assertGreater(len(acknowledged), self.devices * self.power_cuts / 4, "there was load")
