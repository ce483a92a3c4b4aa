"""``twistd -n cmm-gateway``: a controller on a serial port reports to a server; here everything is wired up."""

import time
from pathlib import Path
from random import Random
from typing import IO, Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage

from cmmd import __version__, config
from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.entries import ProfileError
from cmmd.gateway.bus import Bus, port_opener
from cmmd.gateway.checking import Ports, SettingsError, allowed_writes, input_contacts, login_address, server_endpoints
from cmmd.gateway.identity import IdentityError, login_params, own_hostid, own_password
from cmmd.gateway.inputs import Inputs
from cmmd.gateway.link.command_log import CommandLog, names_of
from cmmd.gateway.link.link import Link
from cmmd.gateway.link.report import Report
from cmmd.gateway.link.status import Status
from cmmd.gateway.poller import BusSource
from cmmd.gateway.port_settings import WIRING_FILE, PortSettings, wires_at_start
from cmmd.gateway.settings import Settings
from cmmd.gateway.store_and_forward.buffer import Buffer, ThreadWorker
from cmmd.gateway.store_and_forward.store_and_forward import OutageTerms
from cmmd.process import (
    CommandLine,
    StateInUse,
    end_orderly_on_signals,
    end_start,
    lock_state,
    on_hangup,
    prepare_foreground,
    steady_timers,
)
from cmmd.service_manager import tell_service_manager
from cmmd.stall_detector import StallDetector

__all__ = ["Gateway", "Options", "makeService"]

log = Logger()


class Options(CommandLine):
    """Command line of ``twistd cmm-gateway``. What is wrong ends the process with one line and exit status 1.

    :ivar settings: the configuration.
    :ivar state: the state directory.
    """

    command = "cmm-gateway"
    synopsis = "--config FILE [--state DIR]"
    longdesc = "A CMM module in software: reports the genset controller on a serial port to cmmd or to another server."
    optParameters = [  # noqa: RUF012 - usage.Options wants it so
        ["config", "c", None, "Configuration file (TOML); etc/gateway.toml explains every option. (required)"],
        ["state", "s", "var/gateway", "Directory for everything that is kept; created where it is missing."],
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml"), "state": usage.CompleteDirs()})

    settings: Settings
    state: Path

    def postOptions(self) -> None:
        """Read the configuration of the gateway."""
        prepare_foreground(self.parent)
        if self["config"] is None:
            raise usage.UsageError("--config FILE is required; etc/gateway.toml has every option")
        self.state = Path(self["state"]).absolute()
        try:
            self.settings = config.read(Path(self["config"]), Settings)
        except config.ConfigError as error:
            raise usage.UsageError(str(error)) from None


class Gateway(Service):
    """The whole gateway. Made, it has looked at all of the configuration, and opened nothing.

    :param settings: the configuration.
    :param state: directory for everything that is kept.
    :param reactor: what everything runs on.
    :param foreground: whether a failed start ends the process with its one line.
    :raises ConfigError: a value cannot be used.
    """

    def __init__(self, settings: Settings, state: Path, reactor: Any, *, foreground: bool = True) -> None:
        self._settings = settings
        self._state = state
        self._reactor = reactor
        self._foreground = foreground
        device = settings.device
        try:
            self._login = login_address(settings.server)
            self._endpoints = server_endpoints(settings.server.tls, self._login, state, reactor)
            self._ports = Ports(settings.serial)
            self._inputs = Inputs(input_contacts(settings.inputs), log)
            self._password = own_password(device, state)
            self._catalog = load_catalog(state / settings.controllers.path if settings.controllers.path else None)
            self._allowed = allowed_writes(settings, self._catalog)
            login_params(device, device.hostid or "DERIVED", self._password)
        except (SettingsError, IdentityError) as error:
            raise config.ConfigError(str(error)) from None
        except ProfileError as error:
            raise config.ConfigError(f"controllers.path: {error}") from None
        self._lock: IO[str] | None = None

    def startService(self) -> None:
        """Open the port, the buffer and the link.

        :raises SystemExit: that is impossible; nothing is left running.
        :raises StartFailed: the same in the background, where twistd reports it to its parent.
        """
        super().startService()
        try:
            self._start()
        except (StateInUse, IdentityError, OSError) as error:
            self._unlock()
            end_start("cmm-gateway", error, foreground=self._foreground)

    def _start(self) -> None:
        settings, state, clock = self._settings, self._state, self._reactor
        self._lock = lock_state(state)
        params = login_params(settings.device, settings.device.hostid or own_hostid(state), self._password)
        kept, configured = state / WIRING_FILE, self._ports.configured
        wires = wires_at_start(kept, configured, self._ports, log)
        random = Random()  # noqa: S311 - jitter
        self._bus = Bus(self._ports.line(wires), clock=clock, random=random, open_port=port_opener(clock), log=log)
        wiring = PortSettings(
            wires,
            configured=configured,
            file=kept,
            bus=self._bus,
            there=self._ports,
            line_of=self._ports.line,
            log=log,
            allowed=settings.orders.allow_port_change,
            back_after=settings.serial.back_after,
        )
        source = BusSource(
            lambda: params,
            self._bus,
            wiring=wiring,
            inputs=self._inputs.read,
            catalog=self._catalog,
            unit=settings.controller.unit,
            objection=self._allowed.objection,
            byte_order=None if settings.controller.byte_order == "profile" else settings.controller.byte_order,
            log=log,
        )
        server = settings.server
        self._stall_detector = StallDetector(clock)
        self._link = Link(
            CommandLog(source, names_of(self._catalog, params.moduletype), log),
            self._login,
            clock=clock,
            endpoints=self._endpoints,
            random=random,
            follow=server.follow,
            follow_hosts=server.follow_hosts,
            data_mode=server.data_mode if isinstance(server.data_mode, int) else None,
            heartbeat_interval=server.heartbeat,
            log=log,
            now=time.time,
            outages=self._outages(),
            stood_still=self._stall_detector.stood_still_s,
            follow_wiring=server.type == "cmmd",
        )
        report = Report(
            login=str(self._login),
            tls=server.tls.enabled,
            link=self._link,
            source=source,
            bus=self._bus,
            wiring=wiring,
            inputs=self._inputs,
        )
        self._status = Status(
            report.describe,
            report.sum_up,
            file=state / settings.status.file if settings.status.file else None,
            interval=settings.status.interval,
            log_interval=settings.status.log_interval,
            clock=clock,
            log=log,
        )
        log.info(
            "cmm-gateway {version}: {hostid} ({hostname}, {moduletype}) on {wires}, {url}, reports to {login} {how};"
            " state is in {state}",
            version=__version__,
            hostid=params.hostid,
            hostname=params.hostname,
            moduletype=params.moduletype,
            wires=str(wires),
            url=self._bus.line.url,
            login=str(self._login),
            how="by TLS" if settings.server.tls.enabled else "without TLS",
            state=str(state),
        )
        self._stall_detector.startService()
        self._bus.start()
        self._link.startService()
        self._status.startService()

    def _outages(self) -> OutageTerms | None:
        buffer = self._settings.buffer
        if not buffer.size:
            return None
        return OutageTerms(
            buffer=Buffer(
                self._state / buffer.file,
                ThreadWorker(self._reactor, "buffer"),
                most_bytes=buffer.size * 2**20,
                log=log,
            ),
            server_type=self._settings.server.type,
            interval_s=buffer.interval,
        )

    def stopService(self) -> Deferred[None]:
        """Leave the server, then the controller; what was begun with it comes to its end."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            if self._lock is not None:
                stopped = self._link.stopService()
                if stopped is not None:
                    await stopped
                await self._bus.stop()
                self._status.stopService()
                self._stall_detector.stopService()
                self._inputs.close()
        finally:
            self._unlock()
        log.info("cmm-gateway has stopped")

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def makeService(options: Options) -> Gateway:
    """The service that twistd runs.

    :raises SystemExit: a value of the configuration cannot be used.
    """
    from twisted.internet import reactor

    steady_timers(reactor)
    try:
        gateway = Gateway(options.settings, options.state, reactor, foreground=options.in_foreground)
    except config.ConfigError as error:
        raise SystemExit(f"cmm-gateway: {options['config']}: {error}") from None
    end_orderly_on_signals(reactor)
    on_hangup(
        cast("Any", reactor), lambda: log.info("certificates are read at each connection: nothing is to be read again")
    )
    tell_service_manager(reactor)
    return gateway
