"""The client: typed, reconnecting, for cmmctl and for owners' programs. docs/control.md says how to use it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.protocols import amp

from cmmd.control import commands
from cmmd.control.enrolment import EnrolmentCalls
from cmmd.control.errors import CannotConnect
from cmmd.control.link import Ask, Link, Notification, client_endpoint
from cmmd.fleet.service.records import Changes, DeviceDetails, DeviceRow, Ended, LiveNow, ReadingRow, StatusNow
from cmmd.fleet.telemetry.live import Monitor
from cmmd.store.records import Alarm, Command, Event

if TYPE_CHECKING:
    from cmmd.tls.files import TLSFiles

__all__ = ["ControlClient"]


class ControlClient(EnrolmentCalls):
    """Talks to a daemon. Use it as an asynchronous context manager, or call ``start`` and ``stop``.

    The connection is made again when it is lost, but nothing is asked again: what was unanswered then fails with
    OutcomeUnknown. While there is no connection everything fails with CannotConnect, and nothing is sent later.

    All methods raise ControlError, by its kinds (:mod:`cmmd.control.errors`): what the daemon refused, CannotConnect,
    OutcomeUnknown, NotUnderstood. Lists are requested page by page while they are iterated over.

    :param where: the daemon's state directory, or an endpoint string: ``unix:PATH`` or
        ``tls:HOST:PORT:ca=FILE:certificate=FILE:key=FILE``.
    :param tls: the files, where the string does not name them.
    :param requester: who asks, for the audit.
    :raises ValueError: no such endpoint, or files that cannot be used.
    """

    def __init__(self, where: Path | str, reactor: Any, *, tls: "TLSFiles | None" = None, requester: str = "") -> None:
        self._requester = requester
        self._link = Link(client_endpoint(where, reactor, tls), reactor, hear=self._heard, greet=self._greet)
        self._hear: Callable[[Notification], object] | None = None
        self._watch: dict[str, Any] = {}
        self._watched = False

    def start(self) -> None:
        """Connect, and stay connected."""
        self._link.start()

    async def connected(self) -> None:
        """Wait for the end of the first attempt after ``start``: requests never wait for a connection.

        :raises CannotConnect: it has failed, or a later one has.
        """
        await self._link.connected()

    def stop(self) -> Deferred[None]:
        """End the connection; fires when it has ended."""
        return self._link.stop()

    async def __aenter__(self) -> "ControlClient":
        """Connect to the daemon.

        :raises CannotConnect: the first attempt has failed.
        """
        self.start()
        try:
            await self.connected()
        except CannotConnect:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect from the daemon."""
        await self.stop()

    # --- what there is -----------------------------------------------------------------------------------------------

    async def status(self) -> StatusNow:
        """Get the state of the daemon."""
        status: StatusNow = (await self._link.ask(commands.Status))["status"]
        return status

    def devices(self, *, online: bool | None = None) -> AsyncIterator[DeviceRow]:
        """The devices, by registration number; ``online``: only those that are, or are not."""
        return self._pages(commands.ListDevices, "devices", online=online)

    async def device(self, hostid: str) -> DeviceDetails:
        """Get one device in detail."""
        return _device(await self._link.ask(commands.GetDevice, hostid=hostid))

    async def live(self, hostid: str, *, raw: bool = False) -> LiveNow:
        """Get the live record of a device; ``raw``: with all known coils and registers."""
        live: LiveNow = (await self._link.ask(commands.GetLive, hostid=hostid, raw=raw))["live"]
        return live

    async def monitor(self, hostid: str) -> Monitor:
        """The live record of a device as the paper of the protocol has it: raw."""
        monitor: Monitor = (await self._link.ask(commands.GetMonitor, hostid=hostid))["monitor"]
        return monitor

    def history(
        self,
        hostid: str,
        *,
        points: list[str] | None = None,
        since: int | None = None,
        until: int | None = None,
        newest_first: bool = False,
    ) -> AsyncIterator[ReadingRow]:
        """The kept uploads of a device, ``since <= at < until``, milliseconds UTC; ``points``: only these."""
        return self._pages(
            commands.GetHistory,
            "readings",
            hostid=hostid,
            points=None if points is None else ",".join(points),
            since=since,
            until=until,
            newestFirst=newest_first,
        )

    def events(
        self,
        hostid: str | None = None,
        *,
        since: int | None = None,
        until: int | None = None,
        newest_first: bool = False,
    ) -> AsyncIterator[Event]:
        """Get the events of a device or of all."""
        return self._pages(
            commands.ListEvents, "events", hostid=hostid, since=since, until=until, newestFirst=newest_first
        )

    def security_events(
        self, *, since: int | None = None, until: int | None = None, newest_first: bool = False
    ) -> AsyncIterator[Event]:
        """Get security events, as an administrator."""
        return self._pages(commands.ListSecurityEvents, "events", since=since, until=until, newestFirst=newest_first)

    def alarms(
        self,
        hostid: str | None = None,
        *,
        ended: bool = False,
        since: int | None = None,
        until: int | None = None,
        newest_first: bool = False,
    ) -> AsyncIterator[Alarm]:
        """The open alarms, of a device or of all; ``ended``: all there ever were. The other arguments are for these."""
        return self._pages(
            commands.ListAlarms,
            "alarms",
            hostid=hostid,
            ended=ended,
            since=since,
            until=until,
            newestFirst=newest_first,
        )

    async def acknowledge(self, alarm: int, *, requester: str | None = None) -> Alarm:
        """Acknowledge an open alarm.

        :param alarm: its number.
        :param requester: who asks, where that is another one than for the rest. The same below.
        """
        asked = self._link.ask(commands.AcknowledgeAlarm, alarm=alarm, requester=self._who(requester))
        acknowledged: Alarm = (await asked)["alarm"]
        return acknowledged

    async def _pages(self, command: type[amp.Command], name: str, **arguments: Any) -> AsyncIterator[Any]:
        after: str | None = None
        while True:
            page = await self._link.ask(command, after=after, **arguments)
            for one in page[name]:
                yield one
            after = page["next"]
            if after is None:
                return

    # --- devices -----------------------------------------------------------------------------------------------------

    async def set_device(self, hostid: str, changes: Changes, *, requester: str | None = None) -> DeviceDetails:
        """Change an owner's settings of a device."""
        return _device(
            await self._link.ask(commands.SetDevice, hostid=hostid, changes=changes, requester=self._who(requester))
        )

    async def enrol(
        self,
        hostid: str,
        *,
        hostname: str | None = None,
        moduletype: str | None = None,
        password: str | None = None,
        requester: str | None = None,
    ) -> DeviceDetails:
        """Make a device known ahead of its first login. Without a password the first one it comes with is taken."""
        return _device(
            await self._link.ask(
                commands.Enrol,
                hostid=hostid,
                hostname=hostname,
                moduletype=moduletype,
                password=password,
                requester=self._who(requester),
            )
        )

    # --- people beside the machine -----------------------------------------------------------------------------------

    async def lock(self, hostid: str, reason: str, *, requester: str | None = None) -> DeviceDetails:
        """Lock a device for maintenance: nothing but stop and reset is sent to it until it is unlocked.

        :raises Locked: another caller has locked it. :raises Unavailable: it is locked, and that could not be kept.
        """
        return _device(
            await self._link.ask(commands.LockDevice, hostid=hostid, reason=reason, requester=self._who(requester))
        )

    async def unlock(self, hostid: str, *, force: bool = False, requester: str | None = None) -> DeviceDetails:
        """Remove a maintenance lock.

        :param force: also one that another caller has set.
        :raises AdminOnly: another caller has set it.
        """
        return _device(
            await self._link.ask(commands.UnlockDevice, hostid=hostid, force=force, requester=self._who(requester))
        )

    async def clear_input(self, hostid: str, name: str, *, requester: str | None = None) -> DeviceDetails:
        """Forget what a device last said of one of its own inputs, such as ``remote_inhibited``."""
        return _device(
            await self._link.ask(commands.ClearInput, hostid=hostid, input=name, requester=self._who(requester))
        )

    # --- to a device -------------------------------------------------------------------------------------------------

    async def send_command(
        self,
        hostid: str,
        name: str,
        *,
        timeout: float | None = None,
        override: str | None = None,
        requester: str | None = None,
    ) -> Ended:
        """Have a command of the device's profile carried out, such as ``auto``.

        :param timeout: seconds to wait for the device's answer; None: as the daemon is configured. The same below.
        :param override: the code of a refusal, ``remote_inhibited``, that does not count for this one command.
            The same below.
        :raises NotAllowed: nothing was sent. The same below.
        :raises OutcomeUnknown: it may have been carried out: look into the audit (``commands``) before another try.
            The same below.
        """
        return await self._to_device(commands.SendCommand, hostid, timeout, requester, name=name, override=override)

    async def write_config(
        self,
        hostid: str,
        frames: str,
        *,
        timeout: float | None = None,
        override: str | None = None,
        requester: str | None = None,
    ) -> Ended:
        """Have Modbus writes carried out: in hex, separated by ``;``, with CRC or without."""
        return await self._to_device(
            commands.WriteConfig, hostid, timeout, requester, result=frames, datatype=1, override=override
        )

    async def write_port(
        self,
        hostid: str,
        port: int,
        baud: int,
        *,
        timeout: float | None = None,
        override: str | None = None,
        requester: str | None = None,
    ) -> Ended:
        """Change the module's wiring to the controller, in the codes of protocol section 4.1."""
        return await self._to_device(
            commands.WritePort, hostid, timeout, requester, modulePort=port, moduleBaud=baud, override=override
        )

    async def reset(
        self,
        hostid: str,
        *,
        timeout: float | None = None,
        override: str | None = None,
        requester: str | None = None,
    ) -> Ended:
        """Restart the module of a device."""
        return await self._to_device(commands.Reset, hostid, timeout, requester, override=override)

    async def _to_device(
        self,
        command: type[amp.Command],
        hostid: str,
        timeout: float | None,
        requester: str | None,
        **arguments: object,
    ) -> Ended:
        answer = await self._link.ask(
            command,
            hostid=hostid,
            requester=self._who(requester),
            timeout=None if timeout is None else float(timeout),
            **arguments,
        )
        return Ended(
            number=answer["commandId"],
            uid=answer["uid"],
            outcome=answer["outcome"],
            reply=answer["reply"],
            seconds=answer["seconds"],
            recorded=answer.get("recorded") is not False,
        )

    def commands(
        self,
        hostid: str | None = None,
        *,
        since: int | None = None,
        until: int | None = None,
        newest_first: bool = False,
    ) -> AsyncIterator[Command]:
        """The audit, of a device or of all; it may be a moment behind."""
        return self._pages(
            commands.ListCommands, "commands", hostid=hostid, since=since, until=until, newestFirst=newest_first
        )

    async def command(self, number: int) -> Command:
        """One command, under way or among the last 10,000."""
        command: Command = (await self._link.ask(commands.GetCommand, commandId=number))["command"]
        return command

    async def cancel(self, number: int, *, requester: str | None = None) -> Command:
        """Take a command back that waits behind another one."""
        asked = self._link.ask(commands.CancelCommand, commandId=number, requester=self._who(requester))
        command: Command = (await asked)["command"]
        return command

    @property
    def unrecorded(self) -> bool:
        """Tell whether the last answer is not durable yet: the daemon's store does not answer."""
        return self._link.unrecorded

    def _who(self, requester: str | None) -> str:
        return self._requester if requester is None else requester

    # --- news --------------------------------------------------------------------------------------------------------

    async def watch(
        self,
        hear: Callable[[Notification], object],
        *,
        hostid: str | None = None,
        live: bool = False,
        commands: bool = False,
    ) -> None:
        """Hear what happens, also after the connection was made again: the first news then are ``interrupted``.

        :param hear: is given news; where it returns a Deferred, the next ones come when that has fired.
        :param hostid: only of this device.
        :param live: devices with new uploads, too.
        :param commands: changes of commands, too.
        """
        self._hear, self._watched = hear, False
        self._watch = {"hostid": hostid, "live": live, "commands": commands}
        await self._ask_for_news(self._link.ask)

    async def unwatch(self) -> None:
        """Stop the notifications of this client."""
        self._hear = None
        await self._link.ask(commands.Unwatch)

    async def _greet(self, ask: Ask) -> None:
        await ask(commands.Status)  # with TLS, only an answer shows that the daemon takes our certificate
        if self._hear is not None:
            await self._ask_for_news(ask)

    async def _ask_for_news(self, ask: Ask) -> None:
        await ask(commands.Watch, **self._watch)
        hear, again, self._watched = self._hear, self._watched, True
        if again and hear is not None:
            hear(Notification(events=[], live={}, commands=[], missed=0, interrupted=True))

    def _heard(self, news: Notification) -> object:
        return None if self._hear is None else self._hear(news)


def _device(answer: dict[str, Any]) -> DeviceDetails:
    device: DeviceDetails = answer["device"]
    return device
