"""What all targets share: a script of records as input, steps that are timed, and a log that is watched.

An input is bytes. A target for a parser takes it as it is. A target for a connection takes it as a script: records
divided by :data:`RECORD`, of which nearly all are what the peer sends at once, and those that begin with a control
character say what happens otherwise. So what is found, and what the engine makes of it, can be read.
"""

import gc
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from time import thread_time
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from cmmd.fleet.counters.error_counter import is_bug
from tests.transports import MemoryTransport

__all__ = [
    "MOST_TURNS",
    "RECORD",
    "TARGETS",
    "Escape",
    "Peer",
    "Steps",
    "Target",
    "WatchedLog",
    "load_scripts",
    "records",
    "replay",
    "resident_kib",
    "save_scripts",
    "target_kind",
    "time_passes",
    "turn",
]

TARGETS = ("splitter", "lenient", "session", "control", "web")
"""The names of all targets, which are those of their modules."""

RECORD = b"\x1e"
MOST_TURNS = 60

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Escape(Exception):
    """A unit under test did what it must never do, whatever its input is."""


class Steps:
    """Runs each step of a target, and takes its CPU time.

    :ivar longest_s: the longest step since :meth:`reset`, in seconds of this thread's CPU time.
    :ivar times_s: those of all steps since then, where they are kept.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.count = 0
        self.longest_s = 0.0
        self.times_s: list[float] = []
        self._keeps = keep

    def reset(self) -> None:
        """Begin a new input."""
        self.longest_s = 0.0

    def __call__(self, work: Callable[_P, _T], /, *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Take one step, which is what a unit does between two turns of the reactor.

        :return: what it returns.
        """
        began = thread_time()
        try:
            return work(*arguments, **named)
        finally:
            took_s = thread_time() - began
            self.count += 1
            self.longest_s = max(self.longest_s, took_s)
            if self._keeps:
                self.times_s.append(took_s)


@implementer(ILogObserver)
class WatchedLog:
    """Watches the process's log for bugs, and for events that cannot be formatted."""

    def __init__(self) -> None:
        self._bugs: list[str] = []
        globalLogPublisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        if is_bug(event):
            failure = event.get("log_failure") or event.get("failure")
            trace = "" if failure is None else failure.getTraceback()
            self._bugs.append(f"{formatEvent(event)}\n{trace}")
        elif "Unable to format event" in (text := formatEvent(event)):
            self._bugs.append(text)

    def check(self) -> None:
        """Look at what was logged since the last time.

        :raises Escape: a bug was.
        """
        if self._bugs:
            bugs, self._bugs = self._bugs, []
            raise Escape("logged as a bug: " + "\n".join(bugs))

    def stop(self) -> None:
        """Watch no longer."""
        globalLogPublisher.removeObserver(self)


class Target(ABC):
    """A unit under test, for some inputs; then a new one is made, so that nothing piles up.

    :param steps: runs each step of the unit. :param log: the process's.
    :cvar INPUTS: how many inputs one target takes. :cvar LONGEST: bytes of the longest input.
    :cvar WORDS: what the engine puts into inputs, besides what it finds out.
    :cvar LARGE: inputs to begin with that are too long for the files of the corpus.
    """

    INPUTS: ClassVar[int] = 200
    LONGEST: ClassVar[int] = 16 * 1024
    WORDS: ClassVar[Sequence[bytes]] = ()
    LARGE: ClassVar[Sequence[bytes]] = ()

    def __init__(self, steps: Steps, log: WatchedLog) -> None:
        self.steps = steps
        self.log = log

    @abstractmethod
    def run(self, script: bytes) -> None:
        """Give the unit one input.

        :raises Escape: it did what it must never do; any other exception escaped from it.
        """

    def close(self) -> None:  # noqa: B027
        """Remove what is outside of the process, or of this target."""


def target_kind(name: str) -> type[Target]:
    """Import a target by its name."""
    return cast("type[Target]", import_module(f"fuzz.{name}").TARGET)


def records(script: bytes) -> Iterator[bytes]:
    """Divide a script; empty records do nothing and are left out."""
    return (record for record in script.split(RECORD) if record)


class Peer:
    """The other end of a connection in memory, which sends no faster than the unit receives.

    :param transport: of the unit's protocol. :param size: how many bytes that receives in one turn.
    """

    def __init__(self, steps: Steps, transport: MemoryTransport, size: int) -> None:
        self._steps = steps
        self._transport = transport
        self._size = size
        self._waiting = b""

    def say(self, data: bytes) -> None:
        """Send bytes behind those that wait already."""
        self._waiting += data

    @property
    def has_said_all(self) -> bool:
        """Tell whether no bytes wait."""
        return not self._waiting

    def turn(self) -> bool:
        """Let the unit receive once, if it wants to.

        :return: whether it has.
        """
        if self._transport.lost or self._transport.producerState != "producing" or not self._waiting:
            return False
        received, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        self._steps(self._transport.protocol.dataReceived, received)
        return True


def turn(clock: Clock) -> bool:
    """Make the calls that are due now, as a reactor does: those that they ask for have to wait for the next turn.

    :return: False: none was due.
    """
    now = clock.seconds()
    due: list[Any] = [one for one in clock.getDelayedCalls() if one.getTime() <= now]
    for call in due:
        if call.active():
            clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
    return bool(due)


_WAITS_S = (0.01, 0.25, 1.0, 31.0, 181.0)


def time_passes(clock: Clock, record: bytes) -> None:
    """Let as much time pass as the byte behind the first one of a record says."""
    clock.rightNow += _WAITS_S[record[1] % len(_WAITS_S)] if len(record) > 1 else _WAITS_S[0]


def load_scripts(path: Path) -> list[bytes]:
    """Read inputs from a file: a list of texts in JSON, each character a byte."""
    return [text.encode("latin-1") for text in json.loads(path.read_text(encoding="utf-8"))]


def save_scripts(path: Path, scripts: Iterable[bytes]) -> None:
    """Write inputs to a file, one a line."""
    lines = ",\n".join(json.dumps(script.decode("latin-1")) for script in scripts)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def replay(kind: type[Target], scripts: Sequence[bytes]) -> list[float]:
    """Give a new target all these inputs, one after the other.

    :return: seconds of CPU time of each step.
    :raises Exception: it escaped from the unit, or is an :class:`Escape`.
    """
    steps, log = Steps(keep=True), WatchedLog()
    target = kind(steps, log)
    collects = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection of all that tests have made is no part of a step
    try:
        for script in scripts:
            target.run(script)
            log.check()
    finally:
        if collects:
            gc.enable()
        target.close()
        log.stop()
    return steps.times_s


def resident_kib() -> int:
    """Return the resident memory of this process in KiB; 0 where the system does not say it."""
    if sys.platform != "linux":
        return 0
    with Path("/proc/self/statm").open(encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4
