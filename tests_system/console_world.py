"""A daemon with simulated gensets, as "make demo" has them, and people of every role."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.request import Request, urlopen

from cmmd.fleet.roles import ROLES
from cmmd.fleet.service.tokens import Tokens
from tests.daemon import DEADLINE_S, Daemon, Sections, endpoint, service_port, until
from tests.fleet_process import FleetProcess
from tests_system.tile_server import TileServer

__all__ = ["ConsoleWorld"]

COMMAND_TIMEOUT_S = 3.0


class ConsoleWorld:
    """It runs.

    :param devices: how many. :param options: more of the simulator's command line. :param tiles: whether the map's
        ground comes from a server of tiles.
    :ivar url: of the console. :ivar tokens: by role. :ivar tiles: this server, if there is one.
    """

    def __init__(self, devices: int, options: Sequence[str] = (), tiles: bool = False) -> None:
        self.folder = Path(mkdtemp(prefix="cmmd-console-"))
        self._port = service_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.tiles = TileServer() if tiles else None
        ground = {"tiles": self.tiles.url + "/{z}/{x}/{y}.png", "tiles_credit": "© Somebody"} if self.tiles else {}
        sections: Sections = {
            "web": {"listen": [endpoint(self._port)], **ground},
            "history": {"interval": 1.0},
            "commands": {"timeout": COMMAND_TIMEOUT_S},
        }
        self._options = options
        self.daemon = Daemon(self.folder, sections)
        self.start()
        kept = Tokens(self.daemon.state)
        self.tokens = {role: kept.add(f"the-{role}", role) for role in ROLES}
        self.fleet: FleetProcess | None = None
        if devices:
            self.begin_fleet(devices)

    def start(self) -> None:
        """Start the daemon, for the first time or again."""
        self.daemon.start([self.daemon.port, self._port])

    def begin_fleet(self, devices: int) -> None:
        """Have simulated devices report."""
        self.fleet = FleetProcess(self.folder, self.daemon.port, devices, *self._options)
        until(lambda: sum(one["upload"] > 0 for one in self.devices()) == devices, "devices with values")

    def end_fleet(self) -> None:
        """Have them go."""
        if self.fleet is not None:
            self.fleet.terminate()
        self.fleet = None

    def close(self) -> None:
        """End all of it."""
        self.end_fleet()
        self.daemon.kill()
        if self.tiles is not None:
            self.tiles.close()
        shutil.rmtree(self.folder)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API as an administrator; gives what JSON it answers, None for no content."""
        headers = {"Authorization": f"Bearer {self.tokens['admin']}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        said = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/api/v1{path}", said, headers, method=method)
        with urlopen(request, timeout=DEADLINE_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def devices(self) -> list[dict[str, Any]]:
        """All devices in rows."""
        found: list[dict[str, Any]] = self.ask("GET", "/devices?limit=1000")["devices"]
        return found

    def send(self, hostid: str, name: str) -> dict[str, Any]:
        """Have a command carried out; gives it when its outcome is known."""
        body = {"kind": "named", "name": name}
        sent: dict[str, Any] = self.ask("POST", f"/devices/{hostid}/commands?wait=30", body)
        return sent

    def device_with_alarm(self) -> str:
        """The hostid of a device that has an open alarm which nobody has acknowledged; waits for one."""
        found: list[str] = []

        def look() -> bool:
            alarms = self.ask("GET", "/alarms?limit=1000")["alarms"]
            found[:] = [one["hostid"] for one in alarms if one["acknowledged_at"] is None]
            return bool(found)

        until(look, "an alarm", 2 * DEADLINE_S)
        return found[0]
