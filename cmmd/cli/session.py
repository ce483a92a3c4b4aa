"""Run a call of cmmctl: where its daemon is, the connection to it, and the exit status that it ends with."""

import os
import pwd
from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from cmmd.cli.output import Output
from cmmd.control.client import ControlClient
from cmmd.control.endpoints import SOCKET
from cmmd.control.errors import CannotConnect, ControlError, InternalError, NotAllowed, NotUnderstood, OutcomeUnknown
from cmmd.endpoints import split_endpoint
from cmmd.store.interface import SchemaTooNew, StoreError, StoreUnavailable
from cmmd.store.tools.copying import CopyRefused

if TYPE_CHECKING:
    from cmmd.tls.files import TLSFiles

__all__ = [
    "ADVICE",
    "BY_OUTCOME",
    "CliContext",
    "CliSession",
    "Ends",
    "ExitStatus",
    "Where",
    "Work",
    "ending",
    "once",
    "run_reactor",
]


_Answer = TypeVar("_Answer")


class ExitStatus(IntEnum):
    """What the caller's shell is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNKNOWN = 3
    NO_CONNECTION = 4
    INTERRUPTED = 130


BY_OUTCOME = {
    "done": ExitStatus.DONE,
    "refused": ExitStatus.FAILED,
    "not sent": ExitStatus.FAILED,
    "timeout": ExitStatus.UNKNOWN,
    "lost": ExitStatus.UNKNOWN,
}
"""Of a command to a device. An outcome that is not in here, of a newer daemon, is unknown, too."""

ADVICE = "outcome unknown, the command may have been carried out: look at `cmmctl commands {hostid}`"


class Ends(Exception):
    """There is nothing more to do. ``code`` is for programs, the text for people; empty: nothing is said."""

    def __init__(self, status: ExitStatus, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


async def once(asking: Awaitable[_Answer], unknown: str) -> _Answer:
    """Wait for the answer to something that changes the world, and is never asked twice.

    :param unknown: what to say where nobody knows whether it was done.
    :raises Ends: so. :raises ControlError: it was not done.
    """
    try:
        return await asking
    except (OutcomeUnknown, InternalError, NotUnderstood) as error:
        raise Ends(ExitStatus.UNKNOWN, OutcomeUnknown.code, f"{unknown} ({error})") from None
    except ControlError:
        raise
    except CancelledError:
        raise Ends(ExitStatus.UNKNOWN, OutcomeUnknown.code, f"{unknown} (interrupted)") from None
    except Exception as error:  # a bug, and still nobody knows
        raise Ends(ExitStatus.UNKNOWN, OutcomeUnknown.code, f"{unknown} ({type(error).__name__}: {error})") from error


def ending(error: Exception, place: object = "the daemon") -> Ends:
    """How it ends with this error.

    :param place: of the daemon.
    :raises Exception: the error itself: it is a bug.
    """
    match error:
        case Ends():
            return error
        case CannotConnect():
            return Ends(ExitStatus.NO_CONNECTION, error.code, f"cannot connect to {place}: {error}")
        case OutcomeUnknown():  # of a question; what changes the world asks by once()
            return Ends(ExitStatus.NO_CONNECTION, "connection_lost", str(error))
        case NotAllowed():
            return Ends(ExitStatus.FAILED, error.code, f"not allowed, nothing was sent: {error}")
        case ControlError():
            return Ends(ExitStatus.FAILED, error.code, str(error) or error.code)
        case StoreUnavailable():
            return Ends(ExitStatus.NO_CONNECTION, "store_unavailable", str(error))
        case SchemaTooNew():
            return Ends(ExitStatus.FAILED, "schema_too_new", str(error))
        case CopyRefused():
            return Ends(ExitStatus.FAILED, "copy_refused", f"nothing was copied: {error}")
        case StoreError():
            return Ends(ExitStatus.FAILED, "store_error", str(error))
        case CancelledError():
            return Ends(ExitStatus.INTERRUPTED, "interrupted", "interrupted")
        case BrokenPipeError():  # who reads has had enough
            return Ends(ExitStatus.FAILED, "output", "")
        case OSError():
            return Ends(ExitStatus.FAILED, "output", f"cannot write: {error.strerror or error}")
    raise error


LONGEST_SOCKET = 107
"""Bytes of the path of a UNIX socket."""

Work = Callable[[ControlClient], Coroutine[Deferred[Any], Any, int]]
"""What a command does with a connection; its result is the exit status."""


class CliContext(Struct, frozen=True):
    """What a call works with.

    :ivar run: runs the reactor until the work is done, and tells its result.
    :ivar inp: where answers to questions come from.
    """

    output: Output
    inp: TextIO
    run: Callable[[Callable[[Any], Coroutine[Deferred[Any], Any, int]]], int]


class Where(Struct, frozen=True):
    """Which daemon: its state directory, or an endpoint string; and the files for TLS, of which all are given or none.

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
        """Where the UNIX socket is; nowhere, if it is none."""
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
    """What a command gets from the command line before it."""

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
    """Who asks, as far as this side can say; the daemon knows better, and the audit has both."""
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
