"""A real ``twistd -n cmm-sim`` in a process of its own, for tests and benchmarks."""

import re
from pathlib import Path

from tests.child import Child
from tests.daemon import environment, twistd_words, until

__all__ = ["FleetProcess"]


class FleetProcess(Child):
    """Simulated devices that report to a port of 127.0.0.1.

    :param folder: where its output goes.
    :param options: more of the command line.
    """

    def __init__(self, folder: Path, port: int, devices: int, *options: str) -> None:
        super().__init__(folder / "fleet")
        self.devices = devices
        words = twistd_words("cmm-sim", "--server", f"127.0.0.1:{port}", "--devices", str(devices), *options)
        self._launch(words, cwd=folder, env=environment())

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
