"""The contract of commands, at every door that there is."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control import commands
from cmmd.control.connection import Around
from cmmd.control.doors import unix_doors
from cmmd.control.programs import Programs
from cmmd.control.responder import DOOR
from cmmd.fleet.loglimit import LogLimit
from cmmd.web.service import Web
from tests import command_contract
from tests.cmmctl_world import Called, CallingTestCase
from tests.command_contract import CASES, RAW, SAFETY, Case, Play, Scene, check
from tests.control_world import Plain, folder, now, until
from tests.web_world import Client
from tests.world import CATALOG, HOSTID

reactor: Any = _reactor


class AmpDoor:
    """The control port."""

    name = DOOR

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._client = Plain(self)

    def around(self) -> Around:
        clock = self._scene.clock
        return Around(operations=self._scene.operations, clock=clock, log_limit=LogLimit(clock))

    def ask(self, command: str, override: str | None) -> Callable[[], str]:
        kinds: dict[str, tuple[Any, dict[str, Any]]] = {
            "write": (commands.WriteConfig, {"result": RAW}),
            "port": (commands.WritePort, {"modulePort": 2, "moduleBaud": 0}),
            "reset": (commands.Reset, {}),
        }
        kind, arguments = kinds.get(command, (commands.SendCommand, {"name": command}))
        answered: list[str] = []
        asked: Deferred[dict[str, Any]] = self._client.begin(
            kind, hostid=HOSTID, requester="alice", override=override, **arguments
        )
        asked.addCallbacks(lambda answer: answered.append(answer["outcome"]), lambda failure: _note(answered, failure))

        def told() -> str:
            self._client.pump()
            return "".join(answered)

        return told


def _note(answered: list[str], failure: Failure) -> None:
    answered.append(failure.value.code)  # type: ignore[union-attr]


class HttpDoor:
    """The API: a command is asked for, then asked about until it has ended."""

    name = "http"

    def __init__(self, state: Path, scene: Scene) -> None:
        self.web = Web([], scene.operations, catalog=CATALOG, state=state, now=scene.clock.seconds, reactor=scene.clock)
        self._token = self.web.access.tokens.add("alice", "admin")

    def ask(self, command: str, override: str | None) -> Callable[[], str]:
        bodies: dict[str, dict[str, object]] = {
            "write": {"kind": "modbus", "frames": RAW},
            "port": {"kind": "port", "port": 2, "baud": 0},
            "reset": {"kind": "reset"},
        }
        body = bodies.get(command, {"kind": "named", "name": command})
        waiting = [self._request("POST", f"/api/v1/devices/{HOSTID}/commands", {**body, "override": override})]

        ended: list[str] = []

        def told() -> str:
            answer = None if ended else waiting[0].answer()
            if answer is None:
                return "".join(ended)
            if answer.status >= 400:
                ended.append(answer.code)
            elif answer.json["outcome"] is None:
                waiting[0] = self._request("GET", f"/api/v1/commands/{answer.json['number']}?wait=60")
            else:
                ended.append(answer.json["outcome"])
            return "".join(ended)

        return told

    def _request(self, method: str, path: str, body: object = None) -> Client:
        client = Client(self)
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is None:
            client.request(method, path, headers)
        else:
            client.request(method, path, {**headers, "Content-Type": "application/json"}, json.dumps(body).encode())
        return client


class DocumentTests(SynchronousTestCase):
    def test_the_table_is_the_contract(self) -> None:
        text = SAFETY.read_text(encoding="utf-8")
        self.assertEqual(command_contract.written(text), text, "python -m tests.command_contract")


class AmpTests(SynchronousTestCase):
    def test_every_case(self) -> None:
        for case in CASES:
            check(case, AmpDoor)


class HttpTests(SynchronousTestCase):
    def test_every_case(self) -> None:
        states = folder(self)
        for number, case in enumerate(CASES):
            state = states / str(number)
            state.mkdir()
            check(case, partial(HttpDoor, state))


class CmmctlDoor:
    """The command line, over a real socket.

    :ivar programs: what listens on it.
    """

    name = DOOR

    def __init__(self, test: CallingTestCase, scene: Scene) -> None:
        self._test = test
        self._audit = scene.fleet.dispatch.audit
        self._last = 0
        self._answered: list[str] = []
        self.programs = Programs(unix_doors(["unix:control.sock"], test.state, reactor), scene.operations, reactor)
        now(self.programs.listen())

    @property
    def arrived(self) -> bool:
        """Whether the daemon has accepted or refused the command: from then on the scene's time counts."""
        return bool(self._answered) or self._audit.last_number > self._last

    def ask(self, command: str, override: str | None) -> Callable[[], str]:
        self._last = self._audit.last_number
        arguments: dict[str, tuple[str, ...]] = {
            "write": ("write", HOSTID, RAW, "--yes"),
            "port": ("port", HOSTID, "--port", "RS485", "--baud", "9600", "--yes"),
            "reset": ("reset", HOSTID, "--yes", "--confirm", "0"),
        }
        call = arguments.get(command, ("send", HOSTID, command, "--yes", "--confirm", "0"))
        more = () if override is None else ("--override", override)
        self._test.begin("--json", *call, *more).addCallback(self._note)
        return lambda: "".join(self._answered)

    def _note(self, called: Called) -> None:
        outcome = called.json["outcome"] if called.out else called.error["error"]
        status = {"done": 0, "timeout": 3, "lost": 3}.get(outcome, 1)
        self._answered.append(outcome if called.status == status else f"{outcome}, exit status {called.status}")


class CmmctlTests(CallingTestCase):
    timeout = 120

    async def test_every_condition(self) -> None:
        """One command of each sort: what differs within a sort is held at the port that cmmctl goes through."""
        chosen = {"stop", "start", "generator_breaker_toggle", "write", "port", "reset"}
        for case in CASES:
            if case.command in chosen:
                await self.play(case)

    async def play(self, case: Case) -> None:
        self.state = folder(self)
        doors: list[CmmctlDoor] = []

        def door_of(scene: Scene) -> CmmctlDoor:
            doors.append(CmmctlDoor(self, scene))
            return doors[0]

        play = Play(case, door_of)
        await until(lambda: doors[0].arrived)
        while not play.answered:
            play.scene.step()
            await deferLater(reactor, 0)
        play.verified()
        await doors[0].programs.stop()
