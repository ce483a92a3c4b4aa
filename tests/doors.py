"""Every door that a command can come in by, asked in the same words, over one fleet in memory and one clock.

    doors = open_doors(world, state)
    for door in doors:
        assert door.command("start") == "locked"

A device is whatever is attached to ``world.presence``. Time passes only while something is waited for.
"""

import io
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure

from cmmd.cli.main import command_line
from cmmd.cli.output import Output
from cmmd.cli.session import CliContext as CmmctlAround
from cmmd.control import commands
from cmmd.control.connection import ConnectionContext
from cmmd.control.responder import Responder
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.errors import Coded
from cmmd.fleet.roles import ROLES, Role
from cmmd.fleet.service.operations import ControlService
from cmmd.web.service import Web
from tests.control_world import Plain
from tests.web_world import Client
from tests.world import CATALOG, HOSTID, World

__all__ = ["KINDS", "AmpDoor", "Asked", "CmmctlDoor", "Door", "HttpDoor", "Serving", "open_doors"]

STEP_S = 0.05
"""Seconds that pass at once while something is waited for."""

FRAMES = "00050003FF00"
"""What ``write`` writes, where nothing else is named: the HGM6120N's auto."""

NAMED = ("start", "stop", "test", "manual", "auto", "generator_breaker_toggle", "mains_breaker_toggle")
KINDS = (*NAMED, "write", "port", "reset")
"""The kinds of commands, of an HGM6120N."""


class Asked:
    """Something that was asked by a door.

    :param look: gives the outcome or the code of the refusal; None: it is not told yet.
    """

    def __init__(self, look: Callable[[], str | None]) -> None:
        self._look = look
        self._told: str | None = None

    @property
    def told(self) -> str | None:
        """The outcome, or the code of the refusal, as soon as the caller is told; None: it waits."""
        if self._told is None:
            self._told = self._look()
        return self._told


class Serving:
    """A world with what all doors lead to.

    :param state: the directory with the tokens of HTTP; it is made.
    :ivar tokens: of HTTP, by role.
    """

    def __init__(self, world: World, state: Path) -> None:
        self.clock = world.clock
        self.operations = ControlService(
            fleet=world.fleet,
            dispatch=world.fleet.dispatch,
            store=world.store,
            counters=world.counters,
            now=world.clock.seconds,
        )
        self._state = state

    @cached_property
    def web(self) -> Web:
        """The web; it is made when the first HTTP door is used."""
        self._state.mkdir(parents=True, exist_ok=True)
        now = self.clock.seconds
        return Web([], self.operations, catalog=CATALOG, state=self._state, now=now, reactor=self.clock)

    @cached_property
    def tokens(self) -> dict[Role, str]:
        return {role: self.web.access.tokens.add(role, role) for role in ROLES}

    def around(self) -> ConnectionContext:
        return ConnectionContext(operations=self.operations, clock=self.clock, log_limit=LogLimit(self.clock))


class Door:
    """One door.

    :param hostid: of the device that everything is asked of.
    :ivar name: of the door, as the audit calls it; cmmctl comes in by AMP.
    """

    name: ClassVar[str]

    def __init__(self, serving: Serving, hostid: str = HOSTID) -> None:
        self.serving = serving
        self.hostid = hostid

    # --- what every door has -----------------------------------------------------------------------------------------

    def begin(
        self, kind: str, *, override: str | None = None, timeout: float | None = None, frames: str = FRAMES
    ) -> Asked:
        """Ask for a command, and wait for nothing.

        :param kind: one of :data:`KINDS`, or another name of a command. :param frames: of a ``write``.
        """
        raise NotImplementedError

    def begin_lock(self, reason: str) -> Asked:
        raise NotImplementedError

    def begin_unlock(self, *, force: bool) -> Asked:
        raise NotImplementedError

    def begin_clear_input(self, name: str) -> Asked:
        raise NotImplementedError

    # --- the same, and wait ------------------------------------------------------------------------------------------

    def command(
        self,
        kind: str,
        *,
        override: str | None = None,
        timeout: float | None = None,
        frames: str = FRAMES,
        within_s: float = 120.0,
    ) -> str:
        """Ask for a command; its outcome (``done``, ``timeout`` ...), or the code of the refusal."""
        return self.wait(self.begin(kind, override=override, timeout=timeout, frames=frames), within_s)

    def lock(self, reason: str = "oil change") -> str:
        """Lock the device; ``done``, or the code of the refusal. Likewise below."""
        return self.wait(self.begin_lock(reason))

    def unlock(self, *, force: bool = False) -> str:
        """Unlock it; ``force``: also where another caller has locked it, as far as the door has that."""
        return self.wait(self.begin_unlock(force=force))

    def clear_input(self, name: str = "remote_inhibited") -> str:
        return self.wait(self.begin_clear_input(name))

    def wait(self, asked: Asked, within_s: float = 120.0) -> str:
        """Let time pass until the caller is told."""
        clock = self.serving.clock
        until = clock.seconds() + within_s
        while True:
            clock.advance(0)
            if asked.told is not None:
                return asked.told
            assert clock.seconds() < until, f"{self.name}: nothing was told within {within_s:g} s"
            clock.advance(STEP_S)


class AmpDoor(Door):
    """A program of its own at the control port.

    :param known: what the door knows of who is there.
    """

    name = "amp"

    def __init__(self, serving: Serving, hostid: str = HOSTID, known: str = "uid 1000 pid 77") -> None:
        super().__init__(serving, hostid)
        self.plain = Plain(serving, known)

    def begin(
        self, kind: str, *, override: str | None = None, timeout: float | None = None, frames: str = FRAMES
    ) -> Asked:
        more: dict[str, Any] = {"override": override, "timeout": timeout}
        match kind:
            case "write":
                return self._begin(commands.WriteConfig, result=frames, **more)
            case "port":
                return self._begin(commands.WritePort, modulePort=2, moduleBaud=0, **more)
            case "reset":
                return self._begin(commands.Reset, **more)
        return self._begin(commands.SendCommand, name=kind, **more)

    def begin_lock(self, reason: str) -> Asked:
        return self._begin(commands.LockDevice, reason=reason)

    def begin_unlock(self, *, force: bool) -> Asked:
        return self._begin(commands.UnlockDevice, force=force)

    def begin_clear_input(self, name: str) -> Asked:
        return self._begin(commands.ClearInput, input=name)

    def _begin(self, command: type[amp.Command], **arguments: Any) -> Asked:
        told: list[str] = []
        answer = self.plain.begin(command, hostid=self.hostid, **arguments)
        answer.addCallbacks(lambda box: told.append(box.get("outcome", "done")), lambda why: told.append(_code(why)))

        def look() -> str | None:
            self.plain.pump()
            return told[0] if told else None

        return Asked(look)


def _code(failure: Failure) -> str:
    error = failure.value
    assert isinstance(error, Coded), error
    return error.code


class HttpDoor(Door):
    """A program at the HTTP API.

    :param role: of its token.
    """

    name = "http"

    def __init__(self, serving: Serving, hostid: str = HOSTID, role: Role = "engineer") -> None:
        super().__init__(serving, hostid)
        self.role = role

    def begin(
        self,
        kind: str,
        *,
        override: str | None = None,
        timeout: float | None = None,
        frames: str = FRAMES,
        headers: Mapping[str, str] = MappingProxyType({}),
        **body: object,
    ) -> Asked:
        """See Door.

        :param headers: such as ``Idempotency-Key``. :param body: what else stands in the body, such as ``not_after``.
        """
        kinds: dict[str, dict[str, object]] = {
            "write": {"kind": "modbus", "frames": frames},
            "port": {"kind": "port", "port": 2, "baud": 0},
            "reset": {"kind": "reset"},
        }
        whole = {**kinds.get(kind, {"kind": "named", "name": kind}), "override": override, "timeout": timeout, **body}
        return self._begin("POST", f"/devices/{self.hostid}/commands?wait=60", whole, headers=headers)

    def begin_lock(self, reason: str) -> Asked:
        return self._begin("PUT", f"/devices/{self.hostid}/lock", {"reason": reason})

    def begin_unlock(self, *, force: bool) -> Asked:
        """See Door; by force it is an administrator's token that asks."""
        return self._begin("DELETE", f"/devices/{self.hostid}/lock", role="admin" if force else None)

    def begin_clear_input(self, name: str) -> Asked:
        return self._begin("DELETE", f"/devices/{self.hostid}/inputs/{name}")

    def _begin(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        role: Role | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Asked:
        waiting = [self._request(method, path, body, role or self.role, headers)]

        def look() -> str | None:
            answer = waiting[0].answer()
            if answer is None:
                return None
            if answer.status >= 400:
                return answer.code
            if answer.status == 202:  # the outcome is not known within the longest wait that there is
                waiting[0] = self._request("GET", f"/commands/{answer.json['number']}?wait=60", None, "viewer", {})
                return None
            outcome: str | None = answer.json.get("outcome", "done")
            return outcome

        return Asked(look)

    def _request(self, method: str, path: str, body: object, role: Role, headers: Mapping[str, str]) -> Client:
        client = Client(self.serving)
        sent = {"Authorization": f"Bearer {self.serving.tokens[role]}", **headers}
        text = None
        if body is not None:
            text = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        client.request(method, f"/api/v1{path}", sent, text)
        return client


class CmmctlDoor(Door):
    """A call of cmmctl in a script, each by a connection of its own.

    :param known: what the door knows of who is there; each call is another process.
    """

    name = "amp"

    def __init__(self, serving: Serving, hostid: str = HOSTID, known: str = "uid 1000 pid {}") -> None:
        super().__init__(serving, hostid)
        self._known = known
        self._calls = 0

    def begin(
        self, kind: str, *, override: str | None = None, timeout: float | None = None, frames: str = FRAMES
    ) -> Asked:
        """See Door; what is asked first has ``--yes``, a stop needs none."""
        kinds = {
            "write": ("write", self.hostid, *frames.split(";")),
            "port": ("port", self.hostid, "--port", "RS485", "--baud", "9600"),
            "reset": ("reset", self.hostid),
        }
        words = kinds.get(kind, ("send", self.hostid, kind, "--confirm", "0"))
        more = [] if kind == "stop" else ["--yes"]
        more += [] if override is None else ["--override", override]
        more += [] if timeout is None else ["--timeout", str(timeout)]
        return self.call(*words, *more)

    def begin_lock(self, reason: str) -> Asked:
        return self.call("lock", self.hostid, "--reason", reason)

    def begin_unlock(self, *, force: bool) -> Asked:
        """See Door; without force ``not_confirmed`` says that it is another caller's lock."""
        return self.call("unlock", self.hostid, *(["--force"] if force else []))

    def begin_clear_input(self, name: str) -> Asked:
        return self.call("clear-input", self.hostid, name, "--yes")

    def call(self, *arguments: str) -> Asked:
        """Call it with a command line; what is told is the outcome, ``done``, or the code of what is the matter."""
        self._calls += 1
        reactor = _Reactor(self.serving, self._known.format(self._calls))
        out, err, ended = io.StringIO(), io.StringIO(), list[object]()

        def run(work: Callable[[Any], Any]) -> int:
            Deferred.fromCoroutine(work(reactor)).addBoth(ended.append)
            return 0

        status = command_line(["--json", *arguments], CmmctlAround(Output(out, err), io.StringIO(), run))
        assert status == 0, err.getvalue()

        def look() -> str | None:
            if not ended:
                return None
            assert isinstance(ended[0], int), ended[0]
            if not out.getvalue():
                code: str = json.loads(err.getvalue())["error"]
                return code
            told: str = json.loads(out.getvalue()).get("outcome", "done")
            return told

        return Asked(look)


class _Reactor(Clock):
    """The clock of a world, and UNIX sockets that lead to its control port."""

    def __init__(self, serving: Serving, known: str) -> None:
        super().__init__()
        self._serving = serving
        self._known = known
        self.seconds = serving.clock.seconds  # type: ignore[method-assign]
        self.callLater = serving.clock.callLater  # type: ignore[method-assign]

    def connectUNIX(self, address: str, factory: Any, timeout: float = 30, **_: object) -> None:
        """Connect at once."""
        del timeout
        responder = Responder(self._serving.around(), known=lambda _: self._known, gone=lambda _: None)
        near, far = _Pipe(self), _Pipe(self)
        program = factory.buildProtocol(UNIXAddress(address))
        near.ends, far.ends = (program, responder, far), (responder, program, near)
        responder.makeConnection(far)
        program.makeConnection(near)


class _Pipe(StringTransport):
    """A transport whose bytes are at the other end a moment later.

    :ivar ends: the protocol at this end, the one at the other, and its transport.
    """

    ends: tuple[Any, Any, "_Pipe"]

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self._clock = clock
        self._lost = False

    def write(self, data: bytes) -> None:
        self._clock.callLater(0, self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if not self._lost:
            self.ends[1].dataReceived(data)

    def loseConnection(self) -> None:
        self._clock.callLater(0, self._end)

    def abortConnection(self) -> None:
        self.loseConnection()

    def _end(self) -> None:
        here, there, other = self.ends
        for pipe, protocol in ((self, here), (other, there)):
            if not pipe._lost:
                pipe._lost = True
                protocol.connectionLost(Failure(ConnectionDone()))


def open_doors(world: World, state: Path) -> tuple[AmpDoor, HttpDoor, CmmctlDoor]:
    """All doors of one world, as callers who may command: at HTTP with an operator's token.

    :param state: a directory for the tokens.
    """
    serving = Serving(world, state)
    return AmpDoor(serving), HttpDoor(serving), CmmctlDoor(serving)
