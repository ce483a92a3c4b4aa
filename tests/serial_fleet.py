"""Devices that count: each upload bears its serial number, and is one that has to be kept. Knows nothing of trial."""

import json
import random
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from cmmd.modbus.frames import Function
from cmmd.modbus.image import RegisterImage
from cmmd.wire.messages import encode
from tests.plain_device import TIMEOUT_S, message
from tests.uploads import STANDBY, full_upload

__all__ = ["SerialFleet", "Upload", "serial_of"]

SERIAL = 47  # a register
PACE = 1.05
RECONNECT_S = 0.5
OK = b'{"method":"reqdata","message":"OK","retcode":"000000"}'

Upload = tuple[str, int]
"""Hostid, and the serial number that stands in the upload."""


def serial_of(image: bytes) -> int:
    """The serial number in the image of a reading."""
    return RegisterImage.from_bytes(image).register(Function.READ_HOLDING_REGISTERS, SERIAL) or 0


class _Device:
    """Uploads when that is due, and waits for the answer before it does so again.

    An upload is due when it is the first after a start, and when more than the interval has passed since the last
    kept one: so each of these is, and its acknowledgement says that it is kept.
    """

    def __init__(self, hostid: str, serial: int) -> None:
        self.hostid = hostid
        self.serial = serial
        self.socket: socket.socket | None = None
        self.due = 0.0
        self.waits = False

    def connect(self, port: int) -> bool:
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(message("LongCon", self.hostid))
            answer = self.socket.recv(1000)
        except ConnectionError:
            answer = b"{}"
        if answer and json.loads(answer).get("retcode") == "000000":
            return True
        self.close()
        return False

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self.waits = False

    def send(self) -> None:
        assert self.socket is not None, "it is connected"
        self.serial += 1
        self.waits = True
        self.socket.sendall(encode(full_upload({**STANDBY, SERIAL: self.serial}, hostid=self.hostid)))


class SerialFleet:
    """Registered devices in a thread of their own, which connect again when they are cut off. A context manager.

    :param port: of 127.0.0.1.
    :param hostids: the devices; all are registered.
    :param interval_s: of the daemon's history.
    :param serials: where each goes on to count; none: at 0.
    :ivar acknowledged: the uploads that were.
    :ivar refused: other answers than that.
    :ivar lost: connections that ended.
    """

    def __init__(
        self, port: int, hostids: Sequence[str], interval_s: float, serials: dict[str, int] | None = None
    ) -> None:
        self._port = port
        self._interval_s = interval_s
        self._devices = [_Device(hostid, (serials or {}).get(hostid, 0)) for hostid in hostids]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.acknowledged: list[Upload] = []
        self.refused: list[bytes] = []
        self.lost = 0

    def __enter__(self) -> "SerialFleet":
        now = time.monotonic()
        for device in self._devices:
            assert device.connect(self._port), f"{device.hostid} is not let in"
            device.due = now + random.uniform(0, self._interval_s)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Hang up."""
        self._stopping.set()
        self._thread.join()
        for device in self._devices:
            device.close()

    @property
    def serials(self) -> dict[str, int]:
        """How far each has counted."""
        return {device.hostid: device.serial for device in self._devices}

    @property
    def online(self) -> int:
        """How many are connected."""
        return sum(device.socket is not None for device in self._devices)

    def _live(self) -> None:
        with selectors.DefaultSelector() as selector:
            for device in self._devices:
                self._watch(selector, device)
            while not self._stopping.is_set():
                now = time.monotonic()
                for device in self._devices:
                    if device.due <= now and not device.waits:
                        self._act(selector, device)
                for key, _ in selector.select(timeout=0.005):
                    self._receive(selector, key.data)

    def _watch(self, selector: selectors.BaseSelector, device: _Device) -> None:
        assert device.socket is not None, "it is connected"
        selector.register(device.socket, selectors.EVENT_READ, device)

    def _act(self, selector: selectors.BaseSelector, device: _Device) -> None:
        if device.socket is None:
            if device.connect(self._port):
                self._watch(selector, device)
            device.due = time.monotonic() + random.uniform(1, 2) * RECONNECT_S
            return
        try:
            device.send()
        except ConnectionError:
            self._cut_off(selector, device)

    def _receive(self, selector: selectors.BaseSelector, device: _Device) -> None:
        assert device.socket is not None, "it is connected"
        try:
            answer = device.socket.recv(1000)
        except ConnectionError:
            answer = b""
        if not answer:
            self._cut_off(selector, device)
            return
        if answer == OK:
            self.acknowledged.append((device.hostid, device.serial))
        else:
            self.refused.append(answer)
        device.waits = False
        device.due = time.monotonic() + self._interval_s * PACE

    def _cut_off(self, selector: selectors.BaseSelector, device: _Device) -> None:
        assert device.socket is not None, "it was connected"
        self.lost += 1
        selector.unregister(device.socket)
        device.close()
        device.due = time.monotonic() + random.uniform(1, 2) * RECONNECT_S
