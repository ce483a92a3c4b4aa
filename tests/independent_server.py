"""A server that is not ours: threads, blocking sockets and json, made of the examples in docs/protocol.md alone.

It imports nothing of cmmd. It takes what one receive gives for whole messages (on a busy machine TCP joins two that
were sent apart, and nobody has promised otherwise), sends its answers without a newline, and has one port for
everything. Its answer to a login is the one that the vendor's cloud has sent.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

EXAMPLES = json.loads(Path(__file__).with_name("vectors").joinpath("field.json").read_text("utf-8"))["examples"]
LOGIN_ANSWER: str = next(e["wire"] for e in EXAMPLES if e["name"].startswith("vendor cloud login answer"))
VENDORS_ADDRESS = "8.136.108.133:21318"
OK = {
    "LongCon": {"method": "LongCon", "message": "OK", "retcode": "000000"},
    "HB": {"method": "HB", "message": "OK", "retcode": "000000"},
    "reqdata": {"method": "reqdata", "message": "OK", "retcode": "000000"},
    "reqdatachange": {"method": "reqdata", "message": "OK", "retcode": "000000"},
}


class IndependentServer:
    """Listens on a port of 127.0.0.1 as soon as it is made.

    :ivar told: every message, as it was parsed, in order; :ivar garbled: each receive that was not whole messages.
    """

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.garbled: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._long: socket.socket | None = None  # the newest long connection
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # stopped
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):  # broken off, or stopped
            while received := connection.recv(65536):
                for message in self._messages(received):
                    self.told.append(message)
                    if message["method"] == "LongCon":
                        self._long = connection
                    connection.sendall(self._answer(message["method"]).encode())

    def _messages(self, received: bytes) -> Iterator[dict[str, Any]]:
        rest = received.decode()
        while rest := rest.lstrip():
            try:
                message, end = json.JSONDecoder().raw_decode(rest)
            except ValueError:
                self.garbled.append(received)
                return
            yield message
            rest = rest[end:]

    def _answer(self, method: str) -> str:
        if method == "login":
            return LOGIN_ANSWER.replace(VENDORS_ADDRESS, f"127.0.0.1:{self.port}")
        if method == "timing":
            result = str(round(time.time() * 1000))
            return json.dumps({"message": "ok", "retcode": "000000", "method": "timing", "result": result})
        return json.dumps(OK[method]) if method in OK else ""

    def of(self, method: str) -> list[dict[str, Any]]:
        """What came with this method."""
        return [message for message in self.told if message["method"] == method]

    def push(self, **message: object) -> None:
        """Send something by itself, on the newest long connection."""
        assert self._long is not None, "no device is there"
        self._long.sendall(json.dumps(message).encode())

    def write_config(self, frame: str = "00050003FF007DEB", uid: str = "action") -> None:
        """Order a Modbus write, the vendor's way: unit 00, a word as uid."""
        self.push(result=frame, datatype=1, uid=uid, method="writeConfig")

    def write_port(self, port: int, baud: int, uid: str = "action") -> None:
        """Order another wiring."""
        self.push(modulePort=port, moduleBaud=baud, datatype=1, uid=uid, method="writeConfig")

    def reset(self) -> None:
        """Order a reset."""
        self.push(message="ok", retcode="000000", method="reset")

    def hang_up(self) -> None:
        """Close all connections; new ones are taken."""
        for connection in self._connections:
            with suppress(OSError):  # it is gone already
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections = []

    def stop(self) -> None:
        """Close everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
