"""``make demo`` as whoever tries cmmd out runs it: with its own ports, and nothing configured."""

import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path

from tests.child import Child
from tests.daemon import REPOSITORY, environment, until

__all__ = ["DemoProcess"]

DEVICES_PORT = 21318
WEB_PORT = 21380


class DemoProcess(Child):
    """It runs, and people can come in.

    :param folder: where its state and its output go.
    :ivar url: what it says that people should look at, without a slash at the end. :ivar state: the daemon's directory.
    """

    url = f"http://localhost:{WEB_PORT}"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "output")
        self.state = folder / "demo"
        installed = folder / "installed"  # what would be installed is this Python's already
        installed.touch()
        inherited = {name: value for name, value in environment().items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
        for port in (DEVICES_PORT, WEB_PORT):
            until(partial(_is_free, port), f"port {port}, which the demo needs, is free")
        given = (f"BIN={Path(sys.executable).parent}", f"CAN_RUN={installed}", f"STATE={folder}")
        # Where trial runs in the background of a script, SIGINT is ignored, and its children inherit that.
        words = ["env", "--default-signal=INT", "make", "--no-print-directory", "demo", *given]
        self._launch(words, cwd=REPOSITORY, env=inherited, start_new_session=True)
        self._group = self.pid
        until(self._says_where, "it says where to look")

    def _says_where(self) -> bool:
        self.assert_alive()
        return f"{self.url}/" in self.log

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait until there is nothing left of it.

        :return: make's exit status.
        """
        os.killpg(self._group, signal.SIGINT)
        status = self.ended()
        until(lambda: not self._signal(0), "all its processes have ended")
        return status

    def kill(self) -> None:
        """End every process that is left of the demo."""
        self._signal(signal.SIGKILL)
        super().kill()

    def _signal(self, number: int) -> bool:
        """Whether there was a process of it to get this."""
        try:
            os.killpg(self._group, number)
        except ProcessLookupError:
            return False
        return True


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
