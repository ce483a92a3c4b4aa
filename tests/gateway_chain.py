"""A genset that does not exist, a gateway and a cmmd, each a real process. Knows nothing of trial."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.daemon import DEADLINE_S, Daemon, Sections, endpoint, environment, service_port, until
from tests.emulator_process import EmulatorProcess
from tests.gateway_process import GatewayProcess

__all__ = ["HOSTID", "Called", "GatewayChain", "Polled", "cmmctl", "polled"]

HOSTID = "3439333633355115004B003D"

Polled = tuple[list[int], list[int], list[int]]


def polled(coils: Sequence[int], registers: Sequence[int]) -> Polled:
    """Of all coils and registers those that the HGM6120N's plan polls."""
    return list(coils[:90]), list(registers[:45]), list(registers[46:56])


def _certain(value: int | None) -> int:
    return -1 if value is None else value


class Called(NamedTuple):
    """What cmmctl said, and its exit status."""

    status: int
    said: Any


def cmmctl(state: Path, *arguments: object) -> Called:
    """Call cmmctl for JSON.

    :param state: the daemon's state directory.
    """
    done = subprocess.run(
        [sys.executable, "-m", "cmmd.cli", "--state", state, "--json", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        timeout=2 * DEADLINE_S,
        check=False,
        text=True,
    )
    return Called(done.returncode, json.loads(done.stdout) if done.stdout else done.stderr)


class GatewayChain:
    """All three, begun one after the other; uploads come twice a second.

    :param folder: an empty directory, where everything goes.
    :param gateway: more of the gateway's configuration, table by table.
    :param daemon: more of the daemon's.
    """

    def __init__(self, folder: Path, gateway: Sections | None = None, daemon: Sections | None = None) -> None:
        for name in ("emulator", "cmmd"):
            (folder / name).mkdir()
        self.emulator = EmulatorProcess(folder / "emulator")
        self._web = service_port()
        ways_in: Sections = {
            "control": {"listen": ["unix:control.sock:mode=600"]},
            "web": {"listen": [endpoint(self._web)]},
            "upload": {"online_rate": 500},
        }
        self.daemon = Daemon(folder / "cmmd", {**ways_in, **(daemon or {})})
        usual: Sections = {
            "device": {"hostid": HOSTID, "hostname": "Yard 3", "password": "123456"},
            "server": {"login": f"127.0.0.1:{self.daemon.port}"},
            "serial": {"rs485": str(self.emulator.link), "timeout": 0.3, "quiet": 0.1},
        }
        more = gateway or {}
        merged = {name: {**usual.get(name, {}), **more.get(name, {})} for name in {**usual, **more}}
        self.gateway = GatewayProcess(folder / "gateway", merged)

    def start(self) -> "GatewayChain":
        """Start what has not, and wait until the first upload has come."""
        self.emulator.wait_until_plugged()
        self.daemon.start([self.daemon.port, self._web])
        self.gateway.start()
        until(lambda: self.live and self.live["upload"] > 0, "the first upload")
        return self

    def end(self) -> None:
        """End everything, whatever state it is in."""
        self.gateway.kill()
        self.daemon.kill()
        self.emulator.terminate()

    def cmmctl(self, *arguments: object) -> Called:
        """Call cmmctl."""
        return cmmctl(self.daemon.state, *arguments)

    @property
    def live(self) -> dict[str, Any]:
        """What the HTTP API says of its live record; empty: the device is not known."""
        try:
            with urlopen(f"http://127.0.0.1:{self._web}/api/v1/devices/{HOSTID}/live?raw=true", timeout=30) as answer:
                live: dict[str, Any] = json.load(answer)
        except HTTPError:
            return {}
        return live

    @property
    def uploaded(self) -> Polled:
        """What the live record knows of coils and registers, where the plan polls them; -1 where it knows nothing."""
        known: dict[int, dict[int, int]] = {1: {}, 3: {}}
        for run in self.live.get("raw") or []:
            known[run["function"]].update(enumerate(run["values"], run["address"]))
        coils, registers = ([_certain(known[function].get(address)) for address in range(96)] for function in (1, 3))
        return polled(coils, registers)

    @property
    def true(self) -> Polled:
        """What the controller shows."""
        return polled(self.emulator.coils, self.emulator.registers)

    def agrees(self) -> bool:
        """Whether cmmd knows exactly what the controller shows; freeze that before."""
        return self.uploaded == self.true
