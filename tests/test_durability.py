"""Power cuts: what was acknowledged as kept is in the database, whenever the daemon is killed."""

import contextlib
import json
import random
import selectors
import socket
import sqlite3
import time
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.modbus.frames import Function
from cmmd.modbus.image import RegisterImage
from cmmd.wire.messages import encode
from tests.daemon import DEADLINE_S, Daemon
from tests.plain_device import message, register
from tests.uploads import STANDBY, full_upload

POWER_CUTS = 20
DEVICES = 120
INTERVAL_S = 1.0
SERIAL = 47  # a register: the number of starts

Upload = tuple[str, int]
"""Hostid, and the serial number that stands in the upload."""


class Device:
    """Uploads each time that one is due, as soon as the one before was acknowledged.

    An upload is due when it is the first after a start, and when more than the interval has passed since the last
    kept one: so each of these is, and its acknowledgement says that it is kept.
    """

    def __init__(self, hostid: str, port: int, serial: int) -> None:
        self.hostid = hostid
        self.serial = serial
        self.acknowledged: list[Upload] = []
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(message("LongCon", hostid))
        assert json.loads(self.socket.recv(1000))["retcode"] == "000000"
        self.due = time.monotonic() + random.uniform(0, INTERVAL_S / 2)
        self.waits = False

    def send(self) -> None:
        self.serial += 1
        self.waits = True
        self.socket.sendall(encode(full_upload({**STANDBY, SERIAL: self.serial}, hostid=self.hostid)))

    def receive(self) -> None:
        answer = self.socket.recv(1000)
        assert answer == b'{"method":"reqdata","message":"OK","retcode":"000000"}', answer
        self.acknowledged.append((self.hostid, self.serial))
        self.waits = False
        self.due = time.monotonic() + INTERVAL_S * 1.05


def live(devices: list[Device], seconds: float) -> None:
    """Let devices upload for so long."""
    with selectors.DefaultSelector() as selector:
        for device in devices:
            selector.register(device.socket, selectors.EVENT_READ, device)
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for device in devices:
                if not device.waits and device.due <= now:
                    device.send()
            for key, _ in selector.select(timeout=0.005):
                key.data.receive()


def kept(state: Path) -> list[Upload]:
    """What the database has, as anybody may read it."""
    with contextlib.closing(sqlite3.connect(state / "cmmd.sqlite")) as database:
        rows = database.execute("SELECT hostid, image FROM reading").fetchall()
    holding = Function.READ_HOLDING_REGISTERS
    return [(hostid, RegisterImage.from_bytes(image).register(holding, SERIAL) or 0) for hostid, image in rows]


class PowerCutTests(SynchronousTestCase):
    def test_what_was_acknowledged_as_kept_is_kept(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        daemon = Daemon(folder, {"history": {"interval": INTERVAL_S}})
        self.addCleanup(daemon.kill)
        hostids = [f"CUT{number}" for number in range(DEVICES)]
        serials = dict.fromkeys(hostids, 0)
        acknowledged: list[Upload] = []
        for cut in range(POWER_CUTS):
            daemon.start()
            if cut == 0:
                for hostid in hostids:
                    register(daemon.port, hostid)
            devices = [Device(hostid, daemon.port, serials[hostid]) for hostid in hostids]
            live(devices, random.uniform(0.2, 2.0))
            daemon.kill()
            for device in devices:
                device.socket.close()
                serials[device.hostid] = device.serial
                acknowledged += device.acknowledged
            there = Counter(kept(daemon.state))
            lost = [upload for upload in acknowledged if upload not in there]
            self.assertEqual(lost, [], f"after power cut {cut + 1}, of {len(acknowledged)} acknowledged ones")
            self.assertEqual([upload for upload, times in there.items() if times > 1], [], "kept twice")
        self.assertGreater(len(acknowledged), DEVICES * POWER_CUTS / 4, "there was load")
