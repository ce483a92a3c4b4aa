"""A real ``twistd -n cmmd`` in a process of its own, for tests and benchmarks. Knows nothing of trial."""

import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.child import DEADLINE_S, Child

__all__ = [
    "DEADLINE_S",
    "REPOSITORY",
    "Daemon",
    "Sections",
    "endpoint",
    "environment",
    "prefer",
    "service_port",
    "toml",
    "twistd_words",
    "until",
]

REPOSITORY = Path(__file__).resolve().parent.parent

POLL_S = 0.02
DEFAULT_PORTS = (21318, 21380)
"""Where a daemon without a configuration listens, as "make demo" does in a test."""
SERVES = " serves; "
"""In the log when all doors are open."""

Sections = Mapping[str, Mapping[str, object]]


def until(holds: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until something holds.

    :param what: names it.
    :raises AssertionError: it does not within the deadline.
    """
    give_up = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        time.sleep(POLL_S)


def service_port() -> int:
    """A free TCP port of 127.0.0.1 below those that the kernel gives to clients, which nobody gets by chance."""
    lowest_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    while True:
        port = random.randrange(min(10_000, lowest_of_clients // 2), lowest_of_clients)
        if port in DEFAULT_PORTS:
            continue
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def endpoint(port: int) -> str:
    """The endpoint string of a port of 127.0.0.1."""
    return f"tcp:{port}:interface=127.0.0.1"


def environment() -> dict[str, str]:
    """The environment of a process that is to import this checkout. Its coverage is not measured: it would be slow."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    path = inherited.get("PYTHONPATH")
    return {**inherited, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *([path] if path else [])])}


def twistd_words(*arguments: str | Path) -> list[str | Path]:
    """The command that starts the ``twistd`` of this Python in the foreground.

    :param arguments: after ``twistd -n``.
    """
    return [Path(sys.executable).with_name("twistd"), "-n", *arguments]


class Daemon(Child):
    """One daemon with its configuration and state; it may be ended and started again on them.

    :param folder: an empty directory, where everything of it goes.
    :param sections: the configuration, table by table. Where it does not say, devices come in at one port of 127.0.0.1,
        and programs and people not at all.
    :ivar port: the TCP port of devices.
    :ivar state: its state directory. :ivar config: its configuration file.
    """

    def __init__(self, folder: Path, sections: Sections | None = None) -> None:
        super().__init__(folder / "output")
        self.port = service_port()
        self.state = folder / "state"
        self._folder = folder
        self.config = folder / "cmmd.toml"
        all_roles = {role: [endpoint(self.port)] for role in ("login", "live", "historic")}
        given = {"control": {"listen": []}, "web": {"listen": []}, **(sections or {})}
        self.config.write_text(toml({**given, "server": all_roles | dict(given.get("server", {}))}), encoding="utf-8")

    def start(self, ports: Sequence[int] = ()) -> "Daemon":
        """Start it and wait until it takes connections, and serves: programs and people come in after devices.

        :param ports: where; none: at ``port``.
        :raises AssertionError: it ends instead.
        """
        before = self.log.count(SERVES)
        self.begin()
        for port in ports or [self.port]:
            until(partial(self._accepts, port), f"connections on port {port}")
        until(lambda: self.log.count(SERVES) > before, f"{SERVES!r} in its log")
        return self

    def begin(self) -> None:
        """Start it and do not wait."""
        words = twistd_words("cmmd", "--config", self.config, "--state", self.state)
        self._launch(words, cwd=self._folder, env=environment())

    def _accepts(self, port: int) -> bool:
        self.assert_alive()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
        except ConnectionRefusedError:
            return False
        return True

    @property
    def resident_kib(self) -> int:
        """Its memory now (VmRSS), in KiB."""
        return self._memory("VmRSS")

    @property
    def peak_kib(self) -> int:
        """The most memory that it ever had (VmHWM), in KiB."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise AssertionError(f"the daemon has no {name}")


def prefer(process: int, priority: int) -> None:
    """Have all threads of a process run before those of other processes, where root runs this.

    For benchmarks: it is as if the other processes were on other machines.
    """
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(PermissionError):
            os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(priority))


def toml(sections: Sections) -> str:
    """TOML; the values that a configuration has look the same in JSON."""
    lines = []
    for name, table in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join([*lines, ""])
