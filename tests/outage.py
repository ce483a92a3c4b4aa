"""A database that goes away under a fleet of counting devices, and what becomes of their readings."""

import json
import socket
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from twisted.protocols import amp

from cmmd.control.commands import Status
from tests.daemon import Daemon, until
from tests.plain_device import register
from tests.postgres import PostgresServer
from tests.serial_fleet import SerialFleet, Upload, serial_of

__all__ = ["Outage", "Report"]


@dataclass(frozen=True)
class Report:
    """What an outage has done.

    :ivar acknowledged: uploads that were; :ivar refused: those that were not, though they came.
    :ivar lost: acknowledged ones that are not in the database; :ivar doubled: those that are there twice.
    :ivar cut_off: connections that ended.
    :ivar backlog: most rows that waited.
    :ivar drained_s: seconds from the start of the database until none waited.
    """

    acknowledged: int
    refused: int
    lost: int
    doubled: int
    cut_off: int
    backlog: int
    drained_s: float


class Outage:
    """One run.

    :param folder: an empty directory, for the daemon.
    :param server: runs.
    :param devices: how many. :param interval_s: between two readings of each.
    """

    def __init__(self, folder: Path, server: PostgresServer, devices: int, interval_s: float) -> None:
        self._server = server
        self._interval_s = interval_s
        self._hostids = [f"34393336336333551150{number:04X}" for number in range(devices)]
        self._url = server.new_database()
        self.daemon = Daemon(
            folder,
            {
                "store": {"url": self._url, "spool_spare": 0},
                "history": {"interval": interval_s},
                "control": {"listen": ["unix:control.sock:mode=600"]},
            },
        )

    def run(self, before_s: float, outage_s: float, after_s: float, *, kill: bool, deadline_s: float) -> Report:
        """Let the fleet live, stop the database at once, start it again, wait until nothing waits, and count.

        :param kill: kill the daemon in the middle of the outage, and start it again.
        :raises AssertionError: the backlog is not gone in time.
        """
        self.daemon.start()
        for hostid in self._hostids:
            register(self.daemon.port, hostid)
        with SerialFleet(self.daemon.port, self._hostids, self._interval_s) as fleet:
            time.sleep(before_s)
            self._server.stop("immediate")
            time.sleep(outage_s / 2)
            if kill:
                self.daemon.kill()
                self.daemon.start()
            time.sleep(outage_s / 2)
            backlog = int(self.status()["backlog"])
            self._server.start()
            started = time.monotonic()
            until(lambda: self.status()["backlog"] < len(self._hostids) / 10, "the backlog is gone", deadline_s)
            drained_s = time.monotonic() - started
            time.sleep(after_s)
        self.wait_until_nothing_waits(deadline_s)
        there = Counter(self.kept())
        return Report(
            acknowledged=len(fleet.acknowledged),
            refused=len(fleet.refused),
            lost=sum(upload not in there for upload in fleet.acknowledged),
            doubled=sum(times > 1 for times in there.values()),
            cut_off=fleet.lost,
            backlog=backlog,
            drained_s=drained_s,
        )

    def wait_until_nothing_waits(self, deadline_s: float) -> None:
        """Wait until the store is back, and has everything."""
        until(lambda: self.status()["store_up"] and self.status()["backlog"] == 0, "nothing waits", deadline_s)

    def status(self) -> dict[str, Any]:
        """Ask the daemon through its control socket; a process of cmmctl would cost half a second each time."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.daemon.state / "control.sock"))
            control.sendall(amp.AmpBox({amp.ASK: b"1", amp.COMMAND: Status.commandName}).serialize())
            answer = b""
            while not answer.endswith(b"\0\0"):
                piece = control.recv(65536)
                assert piece, f"closed after {answer!r}"
                answer += piece
        (box,) = amp.parseString(answer)
        status: dict[str, Any] = json.loads(box[b"status"])
        return status

    def kept(self) -> list[Upload]:
        """The uploads that the database has."""
        with psycopg2.connect(self._url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT hostid, image FROM reading")
            return [(hostid, serial_of(bytes(image))) for hostid, image in cursor.fetchall()]
