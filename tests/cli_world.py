"""A daemon's fleet behind a real socket, and cmmctl: in this process, or in one of its own."""

import io
import json
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from cmmd.cli.main import command_line
from cmmd.cli.output import Output
from cmmd.cli.session import CliContext
from cmmd.control.control_server import ControlServer
from cmmd.control.listeners import unix_doors
from tests.control_world import ControlWorld, Sent, folder, opened, until
from tests.daemon import environment
from tests.support import REPOSITORY

__all__ = ["Called", "CallingTestCase", "CmmctlTestCase", "Process", "Terminal"]

reactor: Any = _reactor

SCREEN = {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
PROGRAM = ["-m", "cmmd.cli"]


class Called:
    """What a call of cmmctl has said, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """The one JSON document."""
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> Any:
        """The JSON on standard error, which has one line."""
        (line,) = self.err.splitlines()
        return json.loads(line)


class Terminal:
    """A terminal of 100 columns, with somebody in front of it."""

    def __init__(self, test: TestCase) -> None:
        self._master, slave = pty.openpty()
        os.set_blocking(self._master, False)
        self.out: TextIO = os.fdopen(os.dup(slave), "w")
        self.inp: TextIO = os.fdopen(slave)
        self._seen = b""
        test.addCleanup(self._close)
        before = {name: os.environ.get(name) for name in SCREEN}
        os.environ.update(SCREEN)
        test.addCleanup(_put_back, before)

    @property
    def seen(self) -> str:
        """All that was written so far."""
        try:
            while more := os.read(self._master, 65536):
                self._seen += more
        except BlockingIOError:
            pass
        return self._seen.decode()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def _close(self) -> None:
        self.out.close()
        self.inp.close()
        os.close(self._master)


def _put_back(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


class CallingTestCase(TestCase):
    """Calls cmmctl for a state directory.

    :ivar state: it; a test case sets it up.
    """

    timeout = 180
    state: Path

    def begin(
        self, *arguments: str, out: TextIO | None = None, err: TextIO | None = None, inp: TextIO | None = None
    ) -> Deferred[Called]:
        """Call cmmctl in this process."""
        said, complained = out or io.StringIO(), err or io.StringIO()

        def run(work: Callable[[Any], Any]) -> int:
            return cast(int, Deferred.fromCoroutine(work(reactor)))

        around = CliContext(Output(said, complained), inp or io.StringIO(), run)
        ended: Any = command_line(["--state", str(self.state), *arguments], around)

        def called(status: int) -> Called:
            texts = [one.getvalue() if isinstance(one, io.StringIO) else "" for one in (said, complained)]
            return Called(status, *texts)

        if isinstance(ended, Deferred):
            return ended.addCallback(called)
        done: Deferred[Called] = Deferred()
        done.callback(called(ended))
        return done

    async def call(self, *arguments: str) -> Called:
        return await self.begin(*arguments)

    async def done(self, *arguments: str) -> Called:
        """A call that does what it should, and has nothing to complain about."""
        called = await self.call(*arguments)
        self.assertEqual((called.status, called.err), (0, ""))
        return called

    # --- in a process of its own -------------------------------------------------------------------------------------

    async def process(self, *arguments: str, env: dict[str, str] | None = None) -> Called:
        """Call cmmctl in a process of its own, without a terminal."""
        out, err, status = await getProcessOutputAndValue(
            sys.executable, [*PROGRAM, *arguments], {**environment(), **(env or {})}, str(REPOSITORY)
        )
        return Called(status, out.decode(), err.decode())

    def spawn(self, *arguments: str, terminal: bool = False) -> "Process":
        """The same, and do not wait."""
        process = Process()
        reactor.spawnProcess(
            process,
            sys.executable,
            [sys.executable, *PROGRAM, *arguments],
            {**environment(), **SCREEN},
            str(REPOSITORY),
            usePTY=terminal,
        )
        return process


class CmmctlTestCase(CallingTestCase):
    """Has a daemon with one device that is online, and does what the test tells it."""

    control: ControlWorld
    programs: ControlServer

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        """Open the door. Whatever the device reports may confirm a command."""
        self.state = folder(self)
        self.control = ControlWorld()
        self.control.online()
        self.control.fleet.uploads.subscribe(self.control.dispatch.confirmations.uploaded)
        await self.open()
        await self.prepare()

    async def prepare(self) -> None:
        """What a test case needs besides."""

    async def open(self) -> None:
        self.programs = await opened(self, self.control, unix_doors(["unix:control.sock"], self.state, reactor))

    async def sent(self) -> Sent:
        """What the device was sent last, as soon as it is there."""
        await until(lambda: self.control.sent)
        return self.control.sent[-1]

    async def watched(self) -> None:
        """Wait until somebody watches."""
        connections = [factory.connections for factory in self.programs._factories]
        await until(lambda: any(getattr(one, "_watcher", None) for standing in connections for one in standing))


class Process(ProcessProtocol):
    """A process under way."""

    transport: Any

    def __init__(self) -> None:
        self.out = ""
        self.err = ""
        self.ended: Deferred[int] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.out += data.decode(errors="replace")

    def errReceived(self, data: bytes) -> None:
        self.err += data.decode(errors="replace")

    def processEnded(self, reason: Failure) -> None:
        assert isinstance(reason.value, ProcessDone | ProcessTerminated)
        self.ended.callback(-1 if reason.value.exitCode is None else reason.value.exitCode)
