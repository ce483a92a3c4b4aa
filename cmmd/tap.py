"""``twistd cmmd``: the options, and the one place that wires the server up."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogPublisher
from twisted.python import usage
from twisted.python.failure import Failure

from cmmd import __version__, config, parts, process
from cmmd.control.control_server import ControlServer, DoorError
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.counters.error_counter import count_bugs, limit_tracebacks
from cmmd.fleet.devices.enrolment import KeptPolicy
from cmmd.fleet.devices.passwords import BackgroundThreads, Passwords, usable_cores
from cmmd.fleet.devices.strangers import Strangers
from cmmd.fleet.events import Kind
from cmmd.fleet.fleet import CommandTerms, Fleet
from cmmd.fleet.history.retention import Retention
from cmmd.fleet.service.operations import ControlService
from cmmd.fleet.service.security import SecurityLog
from cmmd.server.context import Context
from cmmd.server.direct_reads import read_directly
from cmmd.server.door import DeviceDoor, DeviceDoorTerms
from cmmd.server.listeners import DeviceListeners, ListenError
from cmmd.server.login import Advertised, LoginHandler, UploadTerms
from cmmd.server.peer_log import PeerLog
from cmmd.server.receiver import Limits
from cmmd.server.unfinished import MOST_UNFINISHED
from cmmd.service_manager import tell_service_manager
from cmmd.stall_detector import StallDetector
from cmmd.store.interface import Health, StoreError
from cmmd.store.outbox.spooled import SpooledStore
from cmmd.store.served import ServedStore
from cmmd.store.tools.copying import source_of
from cmmd.tls.server import TLSEndpoint
from cmmd.web.metrics.metrics import Monitoring
from cmmd.web.service import Web, WebError

__all__ = ["Options", "Server", "makeService"]

log = Logger()


class Options(process.CommandLine):
    """Command line of ``twistd cmmd``. What is wrong ends the process with one line and exit status 1.

    :ivar settings: the configuration.
    :ivar state: the state directory.
    """

    command = "cmmd"
    synopsis = "[--config FILE] [--state DIR]"
    longdesc = "Serves SmartGen CMM modules: they register, keep their connections and upload here."
    optParameters = [  # noqa: RUF012 - usage.Options wants it so
        ["config", "c", None, "Configuration file (TOML); without one every option has its default."],
        ["state", "s", "var", "Directory for everything that is kept; created where it is missing."],
    ]
    optFlags = [  # noqa: RUF012 - the same
        [
            "sign-in-link",
            None,
            "Print a link that signs in once, where no token does.",
        ],
        ["accept-new-store", None, "Go on with a store that is not the one which was served before; for one start."],
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml"), "state": usage.CompleteDirs()})

    settings: config.Config
    state: Path

    def postOptions(self) -> None:
        """Read the configuration and look at all of it before anything is begun."""
        process.prepare_foreground(self.parent)
        self.state = Path(self["state"]).absolute()
        try:
            self.settings = config.load(None if self["config"] is None else Path(self["config"]))
        except config.ConfigError as error:
            raise usage.UsageError(str(error)) from None


class Server(Service):
    """The whole daemon as one service.

    :param settings: the configuration.
    :param state: directory for everything that is kept.
    :param reactor: what everything runs on.
    :param foreground: whether a failed start ends the process with its one line.
    :param print_link: whether a link that signs in is printed where no token does.
    :param accept_new_store: whether the store may be another one than before, or have lost its devices.
    :param owns_log: whether the process's log is this daemon's, so that it limits the tracebacks there.
    :ivar counters: what has been counted.
    :ivar fleet: all devices and what is known of them; None: not started.
    :raises ConfigError: a value cannot be used.
    """

    def __init__(
        self,
        settings: config.Config,
        state: Path,
        reactor: Any,
        *,
        foreground: bool = True,
        owns_log: bool = False,
        print_link: bool = False,
        accept_new_store: bool = False,
    ) -> None:
        self._settings = settings
        self._owns_log = owns_log
        self._print_link = print_link
        self._served = ServedStore(state)
        self._accept_new_store = accept_new_store
        self._foreground = foreground
        self._state = state
        self._reactor = reactor
        self._lock: IO[str] | None = None
        self._listeners = parts.device_listeners(settings.server, state, reactor)
        self._accept = parts.accept_rules_of(settings.enrolment.accept)
        self._exempt = parts.networks_of("server.exempt", settings.server.exempt)
        self._catalog = parts.catalog_of(settings.controllers.path, state)
        self._store = parts.store_of(settings.store, state, reactor)
        self._threads: BackgroundThreads | None = None
        self._doors = parts.control_doors(settings.control, state, reactor)
        self._programs: ControlServer | None = None
        self._web_doors = parts.web_doors(settings.web, state, reactor)
        self._tiles = parts.tiles_of(settings.web)
        self._web: Web | None = None
        self._unhook: Callable[[], None] = lambda: None
        self._count_no_more: Callable[[], None] = lambda: None
        self._sessions: DeviceListeners | None = None
        self._retention: Retention | None = None
        self._stall_detector = StallDetector(reactor)
        self.counters = Counters()
        self.fleet: Fleet | None = None

    def startService(self) -> None:
        """Open the store, take in what it has, listen.

        :raises SystemExit: one of these is impossible; nothing is left running.
        :raises StartFailed: the same in the background, where twistd reports it to its parent.
        """
        super().startService()
        if self._owns_log:
            limit_tracebacks(globalLogPublisher, self._reactor)  # before bugs are counted: the counter is not limited
        self._count_no_more = count_bugs(self.counters)
        self._stall_detector.startService()
        outcome: list[object] = []
        # Nothing in here waits: what cannot be had is known before the reactor runs, and twistd says so.
        Deferred.fromCoroutine(self._start()).addBoth(outcome.append)
        failure = (
            outcome[0] if outcome else Failure(process.StartFailed("an endpoint or the store cannot be had at once"))
        )
        if not isinstance(failure, Failure):
            return
        for listening in (self._sessions, self._programs, self._web):
            if listening is not None:
                Deferred.fromCoroutine(listening.stop())
        self._let_go()
        if not failure.check(
            process.StartFailed, StoreError, process.StateInUse, ListenError, DoorError, WebError, OSError
        ):
            failure.raiseException()
        process.end_start("cmmd", failure.value, foreground=self._foreground)

    async def _start(self) -> None:
        settings = self._settings
        most_connections = process.connections_that_fit(settings.server.max_connections)
        self._lock = process.lock_state(self._state)
        kept = await self._served.open(self._store, accept_new=self._accept_new_store)
        if source_of(kept.writer) is not None:
            raise process.StartFailed(
                "the store is an unfinished copy: do the same `cmmctl store copy` again, until it is done"
            )
        cores = usable_cores()
        self._threads = BackgroundThreads(self._reactor, cores, "passwords")
        self._threads.start()
        kept_policy = KeptPolicy(self._state / "enrolment.json", settings.enrolment.policy)
        fleet = self.fleet = Fleet(
            store=self._store,
            kept=kept,
            catalog=self._catalog,
            # One more for each thread, so that none waits for the reactor between two.
            passwords=Passwords(self._threads.submit, 2 * cores, self._reactor),
            now=time.time,
            clock=self._reactor,
            counters=self.counters,
            policy=kept_policy.read(),
            accept=self._accept,
            keep_policy=kept_policy.write,
            max_devices=settings.enrolment.max_devices,
            strangers=Strangers(self._reactor, settings.server.unknown_per_minute, self._exempt),
            interval_s=settings.history.interval,
            retention_days=settings.history.retention_days,
            reconnect_grace_s=settings.server.reconnect_grace,
            commands=CommandTerms(
                enabled=settings.commands.enabled,
                timeout_s=settings.commands.timeout,
                most_waiting=settings.commands.queue,
                raw=settings.commands.raw,
                stood_still=self._stall_detector.stood_still_s,
            ),
            store_health=self._store.health if isinstance(self._store, SpooledStore) else Health,
        )
        terms = UploadTerms(
            data_mode=settings.upload.data_mode,
            online_rate=settings.upload.online_rate,
            offline_rate=settings.upload.offline_rate,
            reset_packet_num=settings.upload.reset_packet_num,
        )
        advertised = Advertised(settings.server.advertise_live, settings.server.advertise_historic)
        around = Context(
            limits=Limits(
                idle_timeout=settings.server.idle_timeout,
                login_timeout=settings.server.login_timeout,
                max_frame=settings.server.max_frame,
                max_depth=settings.server.max_depth,
                max_frame_errors=settings.server.max_frame_errors,
                gap=settings.commands.gap,
            ),
            clock=self._reactor,
            now=time.time,
            door=DeviceDoor(
                fleet.registry,
                fleet.events,
                fleet.strangers,
                time.time,
                DeviceDoorTerms(
                    fresh_connections=settings.server.fresh_connections,
                    exempt=self._exempt,
                    bind_session=settings.server.bind_session,
                    bind_hours=settings.server.bind_hours,
                    most_unfinished=max(MOST_UNFINISHED, 4 * settings.server.max_frame),
                ),
            ),
            presence=fleet.presence,
            uploads=fleet.uploads,
            history_rights=fleet.history_rights,
            events=fleet.events,
            desk=LoginHandler(
                fleet.registry,
                fleet.logged_in,
                fleet.may_set_port,
                fleet.events,
                terms,
                advertised,
                time.time,
                self.counters,
            ),
            counters=self.counters,
            peer_log=PeerLog(self._reactor),
            ours=fleet.uids.ours,
        )
        self._sessions = DeviceListeners(around, most_connections)
        await self._sessions.listen(self._listeners)
        tcp_port = self._sessions.tcp_port
        advertised.live_ports = [port for string in settings.server.live if (port := tcp_port(string))]
        advertised.historic_ports = [port for string in settings.server.historic if (port := tcp_port(string))]
        file = settings.security.file
        operations = ControlService(
            fleet=fleet,
            dispatch=fleet.dispatch,
            store=self._store,
            counters=self.counters,
            now=time.time,
            security=SecurityLog(
                fleet.events, to_syslog=settings.security.syslog, file=self._state / file if file else None
            ),
        )
        self._programs = ControlServer(self._doors, operations, self._reactor)
        await self._programs.listen()
        if self._web_doors:
            self._web = Web(
                self._web_doors,
                operations,
                catalog=self._catalog,
                state=self._state,
                monitoring=Monitoring(
                    fleet=fleet,
                    counters=self.counters,
                    connections=self._sessions.by_role,
                    now=time.time,
                    monotonic=time.monotonic,
                    clock=self._reactor,
                    max_age_s=settings.web.device_metrics_max_age,
                ),
                now=time.time,
                reactor=self._reactor,
                tiles=self._tiles,
                instance=process.instance_of(self._state),
            )
            await self._web.listen()
            link = self._web.first_link(self._state) if self._print_link else None
            if link is not None:
                log.info("sign in as administrator, once, within 24 hours: {link}", link=link)
        self._unhook = process.on_hangup(self._reactor, self._reload)
        self._retention = Retention(
            self._store,
            state=self._state,
            days=settings.history.retention_days,
            newest_at=max((last.at for last in kept.uploads), default=None),
            now=time.time,
            monotonic=time.monotonic,
            clock=self._reactor,
        )
        self._retention.startService()
        self._served.follow(fleet.events.subscribe, fleet.registry)
        fleet.events.emit(Kind.SERVER_STARTED, "", version=__version__)
        log.info(
            "cmmd {version} serves; {count} devices are registered, state is in {state}",
            version=__version__,
            count=len(fleet.registry),
            state=self._state,
        )

    def _reload(self) -> None:
        """Read certificates and tokens again; what cannot be used leaves those from before in use."""
        log.info("reading certificates and tokens again")
        endpoints = [*(one.endpoint for one in self._listeners), *(one.endpoint for one in self._web_doors)]
        for endpoint in endpoints:
            if isinstance(endpoint, TLSEndpoint):
                endpoint.tls.reload()
        if self._programs is not None:
            self._programs.reload()
        if self._web is not None:
            self._web.access.tokens.reload()

    def stopService(self) -> Deferred[None]:
        """Take no more, close what is open, keep what was confirmed."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            if self._retention is not None:
                self._retention.stopService()
            if self.fleet is not None:
                self.fleet.dispatch.stop()
            if self._sessions is not None:
                await self._sessions.stop()
            if self._programs is not None:
                await self._programs.stop()
            if self._web is not None:
                await self._web.stop()
            if self.fleet is not None:
                self.fleet.presence.stop()
                self.fleet.events.emit(Kind.SERVER_STOPPED, "")
                await self.fleet.save()
        finally:
            await self._let_go()
            self._unhook()
        log.info("cmmd has stopped")

    def _let_go(self) -> Deferred[None]:
        self._stall_detector.stopService()
        self._count_no_more()
        if self._threads is not None:
            self._threads.stop()
            self._threads = None
        return self._store.close().addBoth(self._unlock)

    def _unlock(self, outcome: Failure | None) -> Failure | None:
        """Leave the state directory to others: only when nothing more is written there."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        return outcome


def makeService(options: Options) -> Server:
    """The service that twistd runs.

    :raises SystemExit: a value of the configuration cannot be used.
    """
    from twisted.internet import reactor

    process.steady_timers(reactor)
    read_directly(reactor)
    try:
        server = Server(
            options.settings,
            options.state,
            reactor,
            foreground=options.in_foreground,
            owns_log=True,
            print_link=bool(options["sign-in-link"]),
            accept_new_store=bool(options["accept-new-store"]),
        )
    except config.ConfigError as error:
        where = f"{options['config']}: " if options["config"] else ""
        raise SystemExit(f"cmmd: {where}{error}") from None
    process.end_orderly_on_signals(reactor)
    tell_service_manager(reactor)
    process.calm_collector()
    return server
