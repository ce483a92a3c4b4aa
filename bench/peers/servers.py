"""Servers to measure, each in a process of its own, and the load programs."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from tests.daemon import REPOSITORY, endpoint, service_port, toml, until

__all__ = [
    "CORES",
    "Server",
    "cmmd",
    "load",
    "load_average",
    "main_thread_seconds",
    "reference",
    "registered",
    "resident_kib",
    "result_of",
    "start_load",
]

HERE = Path(__file__).resolve().parent
PROGRAMS = REPOSITORY / "build" / "bench"
"""Where ``make bench`` puts what it compiles."""

SOURCES = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]
"""Addresses that devices come from, in turn, as bench/peers/common.h has them: each has 28,000 ports."""

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES, LOAD_CORES = CORES[:1], CORES[-1:]
SETTLED_CPU_SHARE = 0.05


class Server:
    """A running server process.

    :param name: what the table calls it.
    :param command: starts it, with its port.
    :param output: the file that gets what it says.
    :param environment: of the process.
    :param cores: those it may use.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        port: int,
        output: Path,
        *,
        environment: dict[str, str] | None = None,
        cores: Sequence[int] = SERVER_CORES,
    ) -> None:
        self.name = name
        self.port = port
        self._output = output
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                [*_on(cores), *command],
                cwd=output.parent,  # no checkout: what is imported is what the environment says
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def wait_until_it_says(self, words: str) -> Self:
        """Wait for these words in its output."""
        until(lambda: words in self.log or self._process.poll() is not None, f"{words!r} from {self.name}")
        assert self._process.poll() is None, f"{self.name} ended:\n{self.log}"
        return self

    def settle(self) -> None:
        """Wait until the server has finished the work that the last load left behind."""
        used = cpu_seconds(self.pid)
        while True:
            time.sleep(0.2)
            before, used = used, cpu_seconds(self.pid)
            if used - before < 0.2 * SETTLED_CPU_SHARE:
                return

    def stop(self) -> None:
        """End the server as an operator does."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(60)


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def main_thread_seconds(pid: int) -> float:
    """CPU time of the first thread of a process, which runs the reactor."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


def resident_kib(pid: int) -> int:
    """Resident memory of a process now."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def _on(cores: Sequence[int]) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, cores))]


def cmmd(
    folder: Path,
    name: str = "cmmd",
    *,
    checkout: Path = REPOSITORY,
    cores: Sequence[int] = SERVER_CORES,
    history_interval_s: float = 60.0,
) -> Server:
    """The daemon as it is shipped, with its embedded store and its web port.

    :param folder: its state and configuration go there; what is there is used again.
    :param checkout: the code.
    """
    port = service_port()
    folder.mkdir(exist_ok=True)
    config, output = folder / "cmmd.toml", folder / f"output-{port}"
    doors = {role: [endpoint(port)] for role in ("login", "live", "historic")}
    config.write_text(
        toml(
            {
                "server": doors,
                "history": {"interval": history_interval_s},
                "control": {"listen": []},
                "web": {"listen": [endpoint(service_port())]},
            }
        ),
        encoding="utf-8",
    )
    twistd = Path(sys.executable).with_name("twistd")
    server = Server(
        name,
        [twistd, "--nodaemon", "--pidfile=", "cmmd", "--config", config, "--state", folder / "state"],
        port,
        output,
        environment={**os.environ, "PYTHONPATH": str(checkout)},
        cores=cores,
    )
    return server.wait_until_it_says(" serves; ")


def reference(name: str, folder: Path) -> Server:
    """A server that parses and answers, and does nothing else: ``C``, ``Node``, ``Twisted`` or ``Twisted, tuned``."""
    port = service_port()
    commands: dict[str, list[str | Path]] = {
        "C": [PROGRAMS / "reference", str(port)],
        "Node": ["node", HERE / "reference.js", str(port)],
        "Twisted": [sys.executable, HERE / "reference_twisted.py", str(port)],
        "Twisted, tuned": [sys.executable, HERE / "reference_twisted.py", str(port), "tuned"],
    }
    server = Server(name, commands[name], port, folder / f"output-{port}")
    until(lambda: _listens(port), f"{name} on port {port}")
    return server


def _listens(port: int) -> bool:
    """Ask the kernel for a listener on a port, without a connection to it."""
    wanted = f":{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text(encoding="ascii")


def start_load(
    program: str, server: Server, options: dict[str, object], *, cores: Sequence[int] = LOAD_CORES
) -> "subprocess.Popen[str]":
    """Start a load program.

    :param options: by their letters.
    :param cores: those it may use.
    """
    given = {"p": server.port, "P": server.pid, "s": len(SOURCES), **options}
    arguments = [text for letter, value in given.items() for text in (f"-{letter}", str(value))]
    return subprocess.Popen([*_on(cores), PROGRAMS / program, *arguments], stdout=subprocess.PIPE, text=True)


def result_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Wait for a load program and return its measurements.

    :raises AssertionError: an answer was wrong or missing.
    """
    output, _ = process.communicate()
    assert process.returncode == 0, f"{process.args!r} ended with {process.returncode}: {output}"
    result: dict[str, Any] = json.loads(output)
    return result


def load(program: str, server: Server, options: dict[str, object], **more: Any) -> dict[str, Any]:
    """Run a load program to its end; see :func:`start_load` and :func:`result_of`."""
    return result_of(start_load(program, server, options, **more))


def registered(folder: Path, devices: int, **more: Any) -> Path:
    """Make the state of a daemon that has these devices: one logs in, and its row is copied.

    So many first logins would take minutes of scrypt; all of the devices have the same password.

    :param more: see :func:`cmmd`.
    :return: the folder, for :func:`cmmd`.
    """
    with cmmd(folder, **more) as server:
        load("logins", server, {"n": 1, "a": 0}, cores=CORES)
    with closing(sqlite3.connect(folder / "state" / "cmmd.sqlite")) as connection, connection:
        cursor = connection.execute("SELECT * FROM device")
        names = [name for name, *_ in cursor.description]
        first = dict(zip(names, cursor.fetchone(), strict=True))
        rows = (
            {
                **first,
                "number": number + 1,
                "hostid": hostid(number),
                "last_login_address": SOURCES[number % len(SOURCES)],  # from elsewhere it would be a stranger
            }
            for number in range(1, devices)
        )
        places = ", ".join(f":{name}" for name in names)
        connection.executemany(f"INSERT INTO device ({', '.join(names)}) VALUES ({places})", rows)
    return folder


def hostid(device: int) -> str:
    """The same hostids as bench/peers/common.h."""
    return f"3439333633355115{device + 1:08X}"


def load_average() -> float:
    """Return the average number of runnable processes in the last minute."""
    return os.getloadavg()[0]
