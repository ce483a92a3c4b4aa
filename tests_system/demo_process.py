"""``make demo`` as whoever tries cmmd out runs it: with its own ports, and nothing configured."""

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.daemon import DEADLINE_S, REPOSITORY, environment, until

__all__ = ["DemoProcess"]

DEVICES_PORT = 21318
WEB_PORT = 21380


class DemoProcess:
    """It runs, and people can come in.

    :param folder: where its state and its output go.
    :ivar url: what it says that people should look at, without a slash at the end. :ivar state: the daemon's directory.
    """

    url = f"http://localhost:{WEB_PORT}"

    def __init__(self, folder: Path) -> None:
        self.state = folder / "demo"
        self._output = folder / "output"
        installed = folder / "installed"  # what would be installed is this Python's already
        installed.touch()
        inherited = {name: value for name, value in environment().items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
        for port in (DEVICES_PORT, WEB_PORT):
            until(partial(_is_free, port), f"port {port}, which the demo needs, is free")
        given = (f"BIN={Path(sys.executable).parent}", f"CAN_RUN={installed}", f"STATE={folder}")
        with self._output.open("wb") as sink:
            self._process = subprocess.Popen(
                # Where trial runs in the background of a script, SIGINT is ignored, and what it starts inherits that.
                ["env", "--default-signal=INT", "make", "--no-print-directory", "demo", *given],
                cwd=REPOSITORY,
                env=inherited,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self._says_where, "it says where to look")

    def _says_where(self) -> bool:
        assert self._process.poll() is None, f"it ended:\n{self.log}"
        return f"{self.url}/" in self.log

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait until there is nothing left of it.

        :return: make's exit status.
        """
        os.killpg(self._process.pid, signal.SIGINT)
        status = self._process.wait(DEADLINE_S)
        until(lambda: not self._signal(0), "all its processes have ended")
        return status

    def kill(self) -> None:
        """End whatever is left of it."""
        self._signal(signal.SIGKILL)
        self._process.wait(DEADLINE_S)

    def _signal(self, number: int) -> bool:
        """Whether there was a process of it to get this."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
