"""A device that is nothing but a blocking TCP socket: it shows what is on the wire, and nothing is done for it."""

import json
import socket
import struct
from types import TracebackType
from typing import Any

__all__ = ["TIMEOUT_S", "PlainDevice", "login", "message", "register"]

TIMEOUT_S = 30.0
"""How long one receive may take."""

_DATA_SEGMENTS_IN = 152  # where struct tcp_info of <linux/tcp.h> has tcpi_data_segs_in, a 32 bit number
_decoder = json.JSONDecoder()


def message(method: str, hostid: str, **more: object) -> bytes:
    """A message as a device writes it."""
    return json.dumps({"method": method, **more, "hostid": hostid}).encode()


def login(hostid: str, password: str = "123456", **more: object) -> bytes:
    """A login."""
    params = {"hostid": hostid, "hostname": "Genset", "password": password, "moduletype": "HGM6120N", **more}
    return json.dumps({"method": "login", "params": params}).encode()


class PlainDevice:
    """One connection.

    :param port: of 127.0.0.1.
    :param address: the client's own; any of 127.0.0.0/8.
    """

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S, source_address=(address, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = ""

    def __enter__(self) -> "PlainDevice":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *documents: bytes) -> None:
        """Send documents in one segment, if they fit."""
        self.socket.sendall(b"".join(documents))

    def receive(self) -> bytes:
        """The next document, byte for byte; it must come without anything before it.

        :raises AssertionError: the server closes first.
        """
        while True:
            assert self._received[:1] in ("", "{"), f"between documents: {self._received!r}"
            try:
                _, end = _decoder.raw_decode(self._received)
            except json.JSONDecodeError:
                piece = self.socket.recv(65536)
                assert piece, f"closed after {self._received!r}"
                self._received += piece.decode("utf-8", "surrogateescape")
            else:
                document, self._received = self._received[:end], self._received[end:]
                return document.encode("utf-8", "surrogateescape")

    def ask(self, *documents: bytes) -> dict[str, Any]:
        """Send, and take one answer."""
        self.send(*documents)
        answer: dict[str, Any] = json.loads(self.receive())
        return answer

    def rest(self) -> bytes:
        """All that comes until the server closes in order.

        :raises ConnectionResetError: it does not.
        """
        received, self._received = self._received.encode("utf-8", "surrogateescape"), ""
        while piece := self.socket.recv(65536):
            received += piece
        return received

    @property
    def data_segments(self) -> int:
        """TCP segments with data in them that have come; the kernel counts them, however they are read."""
        report = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (count,) = struct.unpack_from("=I", report, _DATA_SEGMENTS_IN)
        return int(count)

    def reset(self) -> None:
        """Break the connection off: the server gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def register(port: int, hostid: str, password: str = "123456", **more: object) -> dict[str, Any]:
    """Log in on a short connection.

    :return: the answer.
    :raises AssertionError: more than the answer comes.
    """
    with PlainDevice(port) as device:
        device.send(login(hostid, password, **more))
        answer: dict[str, Any] = json.loads(device.rest())
        return answer
