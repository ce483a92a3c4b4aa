"""``twistd cmmd``: the options, and the one place that wires the server up."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cmmd import __version__, config
from cmmd.daemon import (
    StateInUse,
    calm_collector,
    end_orderly_on_signals,
    foreground_without_pidfile,
    lock_state,
    raise_file_limit,
)
from cmmd.fleet.passwords import Passwords
from cmmd.fleet.presence import Presence
from cmmd.fleet.registry import Registry
from cmmd.fleet.tally import Tally
from cmmd.fleet.throttle import Throttle
from cmmd.server.login import Advertised, LoginDesk, UploadTerms
from cmmd.server.peerlog import PeerLog
from cmmd.server.receiver import Limits
from cmmd.server.session import Surroundings
from cmmd.server.sessions import Role, Sessions, roles_by_endpoint
from cmmd.store.interface import IStore, StoreError
from cmmd.store.memory import MemoryStore
from cmmd.store.sqlite import SQLiteStore

__all__ = ["Options", "Server", "makeService"]

log = Logger()

SPARE_FILES = 200
"""Open files beside the connections of devices: store, logs, libraries, programs and people."""

BACKLOG = 4096
"""Connections that the kernel may hold for us, as far as its somaxconn lets it: a whole fleet comes back at once."""

Listeners = list[tuple[IStreamServerEndpoint, frozenset[Role]]]


class Options(usage.Options):
    """Command line of ``twistd cmmd``. What is wrong ends the process with one line and exit status 1.

    :ivar settings: the configuration.
    :ivar state: the state directory.
    """

    synopsis = "[--config FILE] [--state DIR]"
    longdesc = "Serves SmartGen CMM modules: they register, keep their connections and upload here."
    optParameters = [  # noqa: RUF012 - usage.Options wants it so
        ["config", "c", None, "Configuration file (TOML); without one every option has its default."],
        ["state", "s", "var", "Directory for everything that is kept; created where it is missing."],
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml"), "state": usage.CompleteDirs()})

    settings: config.Config
    state: Path

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line.

        :raises SystemExit: it, or the configuration, is wrong.
        """
        try:
            super().parseOptions(options)
        except (usage.UsageError, config.ConfigError) as error:
            raise SystemExit(f"cmmd: {error}") from None

    def postOptions(self) -> None:
        """Read the configuration and look at all of it before anything is begun."""
        foreground_without_pidfile(self.parent)
        self.state = Path(self["state"]).absolute()
        self.settings = config.load(None if self["config"] is None else Path(self["config"]))


class Server(Service):
    """The whole daemon.

    :param settings: the configuration.
    :param state: directory for everything that is kept.
    :param reactor: what everything runs on.
    :ivar tally: what has been counted.
    :ivar presence: who is connected.
    :raises ConfigError: a value cannot be used.
    """

    def __init__(self, settings: config.Config, state: Path, reactor: Any) -> None:
        self._settings = settings
        self._state = state
        self._reactor = reactor
        self._lock: IO[str] | None = None
        self._listeners = _listeners(settings.server, reactor)
        self._store = _store(settings.store.url, state, reactor)
        self._threads: ThreadPool | None = None
        self._sessions: Sessions | None = None
        self.tally = Tally()
        self.presence = Presence()

    def startService(self) -> None:
        """Open the store, take in what it has, listen.

        :raises SystemExit: one of these is impossible; nothing is left running.
        """
        super().startService()
        outcome: list[object] = []
        # Nothing in here waits: what cannot be had is known before the reactor runs, and twistd says so.
        Deferred.fromCoroutine(self._start()).addBoth(outcome.append)
        if not outcome:
            raise AssertionError("the start waits for something")
        failure = outcome[0]
        if isinstance(failure, Failure):
            self._let_go()
            if failure.check(StoreError, StateInUse, CannotListenError, OSError):
                raise SystemExit(f"cmmd: {failure.value}")
            failure.raiseException()

    async def _start(self) -> None:
        settings = self._settings
        allowed = raise_file_limit(settings.server.max_connections + SPARE_FILES)
        if allowed < settings.server.max_connections + SPARE_FILES:
            log.warn(
                "the limit of open files, {allowed}, is too low for server.max_connections = {wanted}",
                allowed=allowed,
                wanted=settings.server.max_connections,
            )
        self._lock = lock_state(self._state)
        devices = await self._store.open()
        cores = os.cpu_count() or 1
        self._threads = ThreadPool(0, cores, "passwords")
        self._threads.start()
        registry = Registry(
            store=self._store,
            devices=devices,
            passwords=Passwords(partial(deferToThreadPool, self._reactor, self._threads), cores),
            throttle=Throttle(self._reactor),
            now=time.time,
            policy=settings.enrolment.policy,
            max_devices=settings.enrolment.max_devices,
        )
        terms = UploadTerms(
            data_mode=settings.upload.data_mode,
            online_rate=settings.upload.online_rate,
            offline_rate=settings.upload.offline_rate,
            reset_packet_num=settings.upload.reset_packet_num,
        )
        advertised = Advertised(settings.server.advertise_live, settings.server.advertise_historic)
        around = Surroundings(
            limits=Limits(
                idle_timeout=settings.server.idle_timeout,
                login_timeout=settings.server.login_timeout,
                max_frame=settings.server.max_frame,
            ),
            clock=self._reactor,
            now=time.time,
            registry=registry,
            presence=self.presence,
            desk=LoginDesk(registry, terms, advertised, time.time, self.tally),
            tally=self.tally,
            peerlog=PeerLog(self._reactor),
        )
        self._sessions = Sessions(around, advertised, settings.server.max_connections)
        await self._sessions.listen(self._listeners)
        log.info(
            "cmmd {version} serves; {count} devices are registered, state is in {state}",
            version=__version__,
            count=len(registry),
            state=self._state,
        )

    def stopService(self) -> Deferred[None]:
        """Take no more, close what stands, keep what was confirmed."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._sessions is not None:
            await self._sessions.stop()
        await self._let_go()
        log.info("cmmd has stopped")

    def _let_go(self) -> Deferred[None]:
        if self._threads is not None:
            self._threads.stop()
            self._threads = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        return self._store.close()


def makeService(options: Options) -> Server:
    """The service that twistd runs.

    :raises SystemExit: a value of the configuration cannot be used.
    """
    from twisted.internet import reactor

    try:
        server = Server(options.settings, options.state, reactor)
    except config.ConfigError as error:
        raise SystemExit(f"cmmd: {error}") from None
    end_orderly_on_signals(reactor)
    calm_collector()
    return server


def _listeners(settings: config.Server, reactor: object) -> Listeners:
    listeners: Listeners = []
    roles = roles_by_endpoint({Role.LOGIN: settings.login, Role.LIVE: settings.live, Role.HISTORIC: settings.historic})
    for string, its_roles in roles.items():
        try:
            listeners.append((serverFromString(reactor, _with_backlog(string)), its_roles))
        except Exception as error:  # endpoint parsers, some of them plugins, raise what they like
            raise config.ConfigError(f"server.{min(its_roles)}: endpoint {string!r}: {error}") from None
    return listeners


def _with_backlog(string: str) -> str:
    scheme, _, _ = string.partition(":")
    if scheme not in ("tcp", "tcp6", "ssl") or "backlog=" in string:
        return string
    return f"{string}:backlog={BACKLOG}"


def _store(url: str, state: Path, reactor: Any) -> IStore:
    scheme, _, rest = url.partition(":")
    make = _STORES.get(scheme)
    if make is None:
        raise config.ConfigError(f"store.url: {scheme!r} is none of {', '.join(sorted(_STORES))}")
    return make(rest, state, reactor)


def _sqlite(path: str, state: Path, reactor: Any) -> IStore:
    if not path:
        raise config.ConfigError("store.url: sqlite:FILE needs the file")
    return SQLiteStore(state / path, reactor)


_STORES: dict[str, Callable[[str, Path, Any], IStore]] = {
    "memory": lambda _rest, _state, _reactor: MemoryStore(),
    "sqlite": _sqlite,
}
