"""One call of cmmctl: which daemon, who asks, and the reactor that it runs on."""

import os
import pwd
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from cmmd.cli.exit_status import Ends, ExitStatus, ending
from cmmd.cli.output import Output
from cmmd.control.client import ControlClient
from cmmd.control.link import SOCKET
from cmmd.endpoints import split_endpoint

if TYPE_CHECKING:
    from cmmd.tls.files import TLSFiles

__all__ = ["CliContext", "CliSession", "Where", "Work", "run_reactor"]

LONGEST_SOCKET = 107
"""Bytes of the path of a UNIX socket."""

Work = Callable[[ControlClient], Coroutine[Deferred[Any], Any, int]]
"""What a command does with a connection; its result is the exit status."""


class CliContext(Struct, frozen=True):
    """The surroundings of one call: output, input, and the run of the reactor.

    :ivar run: runs the reactor until the work is done, and tells its result.
    :ivar inp: where answers to questions come from.
    """

    output: Output
    inp: TextIO
    run: Callable[[Callable[[Any], Coroutine[Deferred[Any], Any, int]]], int]


class Where(Struct, frozen=True):
    """The daemon to connect to: a state directory or an endpoint string; and the files for TLS, all or none.

    :ivar files: ``ca``, ``certificate`` and ``key``.
    """

    place: Path | str
    files: dict[str, Path]

    def client(self, reactor: Any) -> ControlClient:
        """A client for it.

        :raises Ends: there is no such place, or the files cannot be used.
        """
        path = self._socket()
        if len(os.fsencode(path)) > LONGEST_SOCKET:
            raise Ends(ExitStatus.NO_CONNECTION, "cannot_connect", f"{path}: a path so long no socket can have")
        try:
            return ControlClient(self.place, reactor, tls=self._tls(), requester=requester())
        except ValueError as error:
            raise Ends(ExitStatus.USAGE, "usage", str(error)) from None
        except ImportError as error:
            raise Ends(ExitStatus.NO_CONNECTION, "cannot_connect", f"TLS is not installed here: {error}") from None

    def _socket(self) -> Path:
        """Find the path of the UNIX socket; None: the endpoint is none."""
        if isinstance(self.place, Path):
            return self.place / SOCKET
        scheme, places, _ = split_endpoint(self.place)
        return Path(*places) if scheme == "unix" else Path()

    def _tls(self) -> "TLSFiles | None":
        if not self.files:
            return None
        from cmmd.tls.files import TLSFiles  # slow to import, and not needed on a UNIX socket

        return TLSFiles(**self.files)


class CliSession:
    """The values from the command line that a command works with."""

    def __init__(self, around: CliContext, where: Where) -> None:
        self.output = around.output
        self.inp = around.inp
        self.where = where
        self._run = around.run
        self.reactor: Any = None

    def carry_out(self, work: Work) -> int:
        """Connect, do it, and say so where it cannot be done.

        :return: the exit status.
        """

        async def connected(reactor: Any) -> int:
            self.reactor = reactor
            async with self.where.client(reactor) as client:
                return await work(client)

        return self.carry_out_here(connected)

    def carry_out_here(self, work: Callable[[Any], Coroutine[Deferred[Any], Any, int]]) -> int:
        """The same without a daemon: what is done gets the reactor."""

        async def whole(reactor: Any) -> int:
            try:
                return await work(reactor)
            except Exception as error:
                return self._ended(error)

        return self._run(whole)

    def carry_out_at_once(self, work: Callable[[], int]) -> int:
        """The same without a daemon and without a reactor."""
        try:
            return work()
        except KeyboardInterrupt:
            return self._ended(CancelledError())
        except Exception as error:
            return self._ended(error)

    def _ended(self, error: Exception) -> int:
        end = ending(error, self.where.place)
        if str(end):
            self.output.failed(end)
        return end.status


def requester() -> str:
    """Name the caller as far as this side can; the daemon knows better, and the audit has both."""
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = f"uid {os.getuid()}"
    return f"{name} cmmctl"


def run_reactor(work: Callable[[Any], Coroutine[Deferred[Any], Any, int]]) -> int:
    """Run the process's reactor until this is done. SIGINT and SIGTERM cancel it, and it can say how that ends.

    :return: its result.
    :raises Exception: as it does.
    """
    from twisted.internet import reactor as the_reactor

    reactor: Any = the_reactor
    outcome: list[Any] = []
    ended: Deferred[None] = Deferred()

    def begin() -> None:
        running = Deferred.fromCoroutine(work(reactor))
        reactor.addSystemEventTrigger("before", "shutdown", interrupted, running)
        running.addBoth(finished)

    def finished(result: object) -> None:
        outcome.append(result)
        ended.callback(None)
        if not stopping:
            reactor.stop()

    stopping: list[bool] = []

    def interrupted(running: Deferred[int]) -> Deferred[None]:
        stopping.append(True)
        running.cancel()  # nothing happens where it has ended
        return ended

    reactor.callWhenRunning(begin)
    reactor.run()
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: int = outcome[0]
    return result
