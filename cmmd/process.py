"""Everything that a well-behaved process under twistd needs and Twisted leaves to the application."""

import fcntl
import gc
import os
import re
import resource
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python import usage

from cmmd import __version__
from cmmd.log_thread import write_log_in_thread
from cmmd.stall_detector import ticks_s
from cmmd.wire.quoting import quoted

__all__ = [
    "CommandLine",
    "StartFailed",
    "StateInUse",
    "calm_collector",
    "connections_that_fit",
    "end_orderly_on_signals",
    "end_start",
    "instance_of",
    "lock_state",
    "on_hangup",
    "prepare_foreground",
    "raise_file_limit",
    "steady_timers",
]

log = Logger()

_ENDING = (signal.SIGTERM, signal.SIGINT)
_HARMLESS = (signal.SIGUSR1, signal.SIGUSR2)
"""They would end a process that has no use for them; a tool that sends one to the wrong process stops no fleet."""


class CommandLine(usage.Options):
    """The options of one of cmmd's twistd commands. An error ends the process with one line and exit status 1.

    :cvar command: its name.
    """

    command: str

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line; an error ends the process.

        :raises SystemExit: it is wrong.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"{self.command}: {error}") from None

    def opt_version(self) -> None:
        """Print the version of cmmd and exit."""
        sys.stdout.write(f"cmmd {__version__}\n")
        raise SystemExit(0)

    @property
    def in_foreground(self) -> bool:
        """Tell whether the process stays at the terminal: twistd -n, or options that are parsed by themselves."""
        return self.parent is None or bool(self.parent["nodaemon"])

    def parseArgs(self, *words: str) -> None:
        """Take nothing but options."""
        if words:
            raise usage.UsageError(f"{quoted(words[0])} is not an option")


class StartFailed(Exception):
    """The process cannot start; one line that says why."""


def end_start(command: str, why: object, *, foreground: bool) -> NoReturn:
    """End a start that is impossible, with one line.

    :raises SystemExit: in the foreground.
    :raises StartFailed: in the background, where twistd reports it to its parent.
    """
    if foreground:
        raise SystemExit(f"{command}: {why}") from None
    raise StartFailed(str(why)) from None


SPARE_FILES = 500
"""Open files beside the connections of devices: store, logs, libraries, the console, programs and people."""


class StateInUse(Exception):
    """Another process serves from this state directory."""


def end_orderly_on_signals(reactor: IReactorCore) -> None:
    """Let SIGTERM and SIGINT end the process with exit status 0 once everything has stopped, and SIGUSR1, SIGUSR2 not.

    twistd's own handlers stop the reactor too, but have the process kill itself with the same signal afterwards. Before
    they stand, a signal would kill it at once, while it starts and takes connections already: so one that comes then
    waits until the reactor runs.
    """
    stopping = False
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_ENDING, *_HARMLESS))

    def stop(*_: object) -> None:
        cast("IReactorFromThreads", reactor).callFromThread(stop_once)

    def stop_once() -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            reactor.stop()

    def install() -> None:
        for number in _ENDING:
            signal.signal(number, stop)
        for number in _HARMLESS:
            if signal.getsignal(number) is signal.SIG_DFL:  # twistd --logfile rotates on SIGUSR1
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_ENDING, *_HARMLESS))

    reactor.callWhenRunning(install)


def on_hangup(reactor: IReactorFromThreads, reload: Callable[[], None]) -> Callable[[], None]:
    """Have something read again on SIGHUP, which would end the process otherwise.

    :return: call it to have SIGHUP do what it did before.
    """
    before = signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reload))

    def unhook() -> None:
        signal.signal(signal.SIGHUP, before)

    return unhook


def prepare_foreground(parent: Any) -> None:
    """Prepare twistd's own options for a process in the foreground.

    It writes no ``twistd.pid``, unless one was requested: that keeps two commands from running in one folder, and a
    stale one may name a stranger's process after a crash. Its log is written in a thread.

    :param parent: twistd's own options, those above the subcommand's.
    """
    if parent is not None and parent.get("nodaemon") and parent.get("pidfile") == "twistd.pid":
        parent["pidfile"] = ""
    write_log_in_thread(parent)


def calm_collector() -> None:
    """Let the cyclic garbage collector look at what is young, often enough, and hardly ever at everything.

    A full collection stops the reactor for as long as there are devices: 0.1 s with 10,000 connections. What lives long
    here holds no cycles when it ends.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 1000)


def steady_timers(reactor: IReactorTime) -> None:
    """Let the reactor's time go on evenly from here on, whatever the calendar is set to.

    Twisted's timers go by the calendar: one that is set forward ends every session as idle, and one that is set back (a
    hardware clock in local time, until NTP has an answer) stops polls, heartbeats and time limits for as long. Time in
    which the machine slept counts: what waited has waited.
    """
    offset = reactor.seconds() - ticks_s()
    clock_gettime, boottime = time.clock_gettime, time.CLOCK_BOOTTIME  # as ticks_s, a call less: for each message
    reactor.seconds = lambda: offset + clock_gettime(boottime)  # type: ignore[method-assign]


def lock_state(state: Path) -> IO[str]:
    """Take the state directory for this process; the lock ends with the returned file or the process.

    :param state: the directory; created where it is missing.
    :raises StateInUse: another process holds it.
    :raises OSError: it cannot be made, written or locked.
    """
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    file = (state / "cmmd.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(20).strip() or "unknown"
        file.close()
        raise StateInUse(f"{state} is in use by process {holder}") from None
    file.truncate(0)
    with suppress(OSError):  # of a full disk: it is only told to operators
        os.write(file.fileno(), f"{os.getpid()}\n".encode())
    return file


def instance_of(state: Path) -> str:
    """Give the name of the daemon of a state directory, which stays: 8 hex digits, no secret.

    :param state: the directory, locked.
    """
    file = state / "instance"
    with suppress(OSError, ValueError):
        name = file.read_text(encoding="ascii").strip()
        if re.fullmatch("[0-9a-f]{8}", name):
            return name
    name = secrets.token_hex(4)
    file.write_text(f"{name}\n", encoding="ascii")
    return name


def connections_that_fit(wanted: int) -> int:
    """Raise the limit of open files for connections of devices, beside those that everything else needs.

    :param wanted: connections.
    :return: how many of them fit, at least one.
    :raises StartFailed: not one of them fits.
    """
    allowed = raise_file_limit(wanted + SPARE_FILES)
    fitting = min(wanted, allowed - SPARE_FILES)
    remedy = "raise it (LimitNOFILE= in systemd, ulimit -Hn)"
    if fitting <= 0:
        raise StartFailed(
            f"the limit of open files is {allowed}; {SPARE_FILES} are kept for the store, the console and programs, and"
            f" none is left for a device: {remedy}"
        )
    if fitting < wanted:
        log.warn(
            "only {fitting} connections of devices are taken, not the {wanted} of server.max_connections, since the"
            " limit of open files is {allowed}: {remedy}",
            fitting=fitting,
            wanted=wanted,
            allowed=allowed,
            remedy=remedy,
        )
    return fitting


def raise_file_limit(wanted: int) -> int:
    """Raise the limit of open files towards what is wanted, as far as the hard limit allows.

    :param wanted: file descriptors.
    :return: the limit in force.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= ceiling:
        return soft if soft != resource.RLIM_INFINITY else wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return ceiling
