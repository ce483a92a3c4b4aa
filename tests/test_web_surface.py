"""The web as its users meet it: a real daemon, real devices, real sockets. Every wait in here has its own limit."""

import atexit
import contextlib
import http.client
import json
import re
import shlex
import shutil
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.service.tokens import Tokens
from tests.daemon import DEADLINE_S, REPOSITORY, Daemon, endpoint, service_port, until
from tests.fleet_process import FleetProcess

DEVICES = 3
CERTAIN = ("outcome", "code", "status", "role", "field", "requester", "door", "store")
"""Values that the examples have as they are."""


class Running:
    """A daemon with simulated devices.

    :ivar token: of the role admin.
    """

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="cmmd-web-"))
        atexit.register(self._end)
        self.port = service_port()
        self.daemon = Daemon(self.folder, {"web": {"listen": [endpoint(self.port)]}})
        self.daemon.start([self.daemon.port, self.port])
        self.fleet = FleetProcess(self.folder, self.daemon.port, DEVICES)
        self.token = Tokens(self.daemon.state).add("me", "admin")
        until(lambda: len(self.hostids) == DEVICES, "devices with values")

    def _end(self) -> None:
        self.fleet.terminate()
        self.daemon.kill()
        shutil.rmtree(self.folder)

    @property
    def with_json(self) -> dict[str, str]:
        """Headers of a request with a body."""
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    @property
    def hostids(self) -> list[str]:
        """Of devices that have uploaded something."""
        status, body = self.ask("GET", "/api/v1/devices")
        assert status == 200, body
        return [one["hostid"] for one in json.loads(body)["devices"] if one["upload"]]

    def ask(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Ask, with the token unless there are other headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@cache
def running() -> Running:
    """The same for all tests."""
    return Running()


class DocumentTests(SynchronousTestCase):
    """The examples of docs/api.md, in their order."""

    def setUp(self) -> None:
        self.running = running()

    def test_examples(self) -> None:
        text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
        blocks = re.findall(r"^    \$ (curl .*)\n((?:    (?!\$).*\n)*)", text, re.MULTILINE)
        self.assertGreater(len(blocks), 15)
        for call, shown in blocks:
            said = self.curl(call)
            answer = " ".join(line.strip() for line in shown.splitlines())
            if answer.startswith("{"):
                self.assert_like(json.loads(said), json.loads(answer), call)
            else:
                self.assertEqual(said.split("\r\n")[0], answer, call)

    def curl(self, call: str) -> str:
        """What curl would say."""
        values = {
            "CMMD": f"http://127.0.0.1:{self.running.port}",
            "HOSTID": self.running.hostids[0],
            "TOKEN": self.running.token,
        }
        program, *words = shlex.split(Template(call).substitute(values))
        self.assertEqual(program, "curl")
        method, body, headers, address = "GET", None, {}, ""
        left = iter(words)
        for word in left:
            match word:
                case "-s":
                    pass
                case "-X":
                    method = next(left)
                case "-d":
                    body = next(left)
                case "-H":
                    name, _, value = next(left).partition(": ")
                    headers[name] = value
                case _:
                    address = word
        parts = urlsplit(address)
        path = parts.path + ("?" + parts.query if parts.query else "")
        _, said = self.running.ask(method, path, body, headers or {"Accept": "*/*"})
        return said

    def assert_like(self, said: Any, shown: Any, where: str) -> None:
        """What is shown is there, and of the same kind; what is said for certain is the same."""
        if isinstance(shown, dict):
            for key, value in shown.items():
                self.assertIn(key, said, where)
                self.assert_like(said[key], value, f"{where}: {key}")
        elif isinstance(shown, list):
            self.assertIsInstance(said, list, where)
            for one, other in zip(shown, said, strict=False):
                self.assert_like(other, one, where)
        elif shown is not None and said is not None:
            kinds = (int, float) if isinstance(shown, int | float) and not isinstance(shown, bool) else type(shown)
            self.assertIsInstance(said, kinds, f"{where}: {said!r}, {shown!r}")
            if where.rpartition(": ")[2] in CERTAIN:
                self.assertEqual(said, shown, where)


class WebDaemonTestCase(SynchronousTestCase):
    def prepared(self) -> tuple[Daemon, int]:
        folder = Path(mkdtemp(prefix="cmmd-web-"))
        self.addCleanup(shutil.rmtree, folder)
        port = service_port()
        daemon = Daemon(folder, {"web": {"listen": [endpoint(port)]}})
        self.addCleanup(daemon.kill)
        return daemon, port


class EndTests(WebDaemonTestCase):
    longest_end_s = DEADLINE_S

    def test_ends_with_open_streams(self) -> None:
        daemon, port = self.prepared()
        daemon.start([port])
        connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S) for _ in range(3)]
        for one in connections[:2]:
            self.addCleanup(one.close)
            one.request("GET", "/api/v1/events", headers={"Accept": "text/event-stream"})
            self.assertEqual(one.getresponse().status, 200)
        connections[2].connect()
        self.addCleanup(connections[2].close)
        began = time.monotonic()
        self.assertEqual(daemon.terminate(), 0, daemon.log)
        self.assertLess(time.monotonic() - began, self.longest_end_s)
        self.assertNotIn("Traceback", daemon.log)
