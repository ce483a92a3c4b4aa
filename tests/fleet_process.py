"""A real ``twistd -n cmm-sim`` in a process of its own, for tests and benchmarks."""

import re
import signal
import subprocess
from pathlib import Path

from tests.daemon import DEADLINE_S, twistd, until

__all__ = ["FleetProcess"]


class FleetProcess:
    """Simulated devices that report to a port of 127.0.0.1.

    :param folder: where its output goes.
    :param options: more of the command line.
    """

    def __init__(self, folder: Path, port: int, devices: int, *options: str) -> None:
        self.devices = devices
        self._output = folder / "fleet"
        self._process: subprocess.Popen[bytes] = twistd(
            folder,
            "cmm-sim",
            *("--server", f"127.0.0.1:{port}", "--devices", str(devices), *options),
            output=self._output,
        )

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def online(self) -> int:
        """How many devices were online when it last said so, once a second at most."""
        said = re.findall(r"(\d+) of \d+ devices online", self.log)
        return int(said[-1]) if said else 0

    def wait_until_all_are(self, online: bool, deadline_s: float) -> None:
        """Wait until all devices are online, or none is.

        :raises AssertionError: not within the deadline.
        """
        wanted = self.devices if online else 0
        until(lambda: self.online == wanted, f"{wanted} devices online", deadline_s)

    def terminate(self) -> int:
        """End it.

        :return: the exit status.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
