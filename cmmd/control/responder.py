"""Answer the AMP commands of a program."""

from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from cmmd.control import commands
from cmmd.control.boxes import page_of
from cmmd.control.connection import Connection
from cmmd.control.watching import Watcher
from cmmd.fleet.commands import requests
from cmmd.fleet.commands.queue import DATATYPE_MODBUS, Requester, Submitted
from cmmd.fleet.errors import BadArgument
from cmmd.fleet.service.operations import Found, ended, limited
from cmmd.fleet.service.records import Changes, cursor_from
from cmmd.fleet.service.security import is_private
from cmmd.store.records import Event, Query

__all__ = ["DOOR", "Responder"]

DOOR = "amp"
"""How the audit calls this way in."""


class Responder(Connection):
    """Answers the commands of one program."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._do = self.around.operations
        self._watcher: Watcher | None = None

    @property
    def idle(self) -> bool:
        """Tell whether the program waits for nothing, not even for news."""
        return super().idle and self._watcher is None

    # --- what there is -----------------------------------------------------------------------------------------------

    @commands.Status.responder
    def _status(self) -> dict[str, object]:
        return {"status": self._do.status()}

    @commands.ListDevices.responder
    def _list_devices(self, online: bool | None, after: str | None, limit: int | None) -> dict[str, object]:
        return _paged("devices", self._do.devices(online=online, after=cursor_from(after), limit=limited(limit)))

    @commands.GetDevice.responder
    def _get_device(self, hostid: str) -> dict[str, object]:
        return {"device": self._do.device(hostid)}

    @commands.GetLive.responder
    def _get_live(self, hostid: str, raw: bool | None) -> dict[str, object]:
        return {"live": self._do.live(hostid, raw=bool(raw))}

    @commands.GetMonitor.responder
    def _get_monitor(self, hostid: str) -> dict[str, object]:
        return {"monitor": self._do.monitor(hostid)}

    @commands.GetHistory.responder
    async def _get_history(self, points: str | None, **span: Any) -> dict[str, object]:
        names = None if points is None else [name.strip() for name in points.split(",") if name.strip()]
        return _paged("readings", await self._do.history(_query(**span), names))

    @commands.ListEvents.responder
    async def _list_events(self, **span: Any) -> dict[str, object]:
        found = await self._do.events(_query(**span))
        return _paged("events", replace(found, records=[one for one in found.records if not is_private(one)]))

    @commands.ListSecurityEvents.responder
    async def _list_security_events(self, **span: Any) -> dict[str, object]:
        return _paged("events", await self._do.security_events(_query(hostid=None, **span)))

    @commands.ListAlarms.responder
    async def _list_alarms(self, ended: bool | None, **span: Any) -> dict[str, object]:
        return _paged("alarms", await self._do.alarms(_query(**span), ended=bool(ended)))

    @commands.AcknowledgeAlarm.responder
    def _acknowledge_alarm(self, alarm: int, requester: str | None) -> dict[str, object]:
        return {"alarm": self._do.acknowledge(alarm, self._by(requester))}

    # --- devices -----------------------------------------------------------------------------------------------------

    @commands.SetDevice.responder
    async def _set_device(self, hostid: str, changes: Changes, requester: str | None) -> dict[str, object]:
        return {"device": await self._do.set_device(hostid, changes, self._by(requester))}

    @commands.Enrol.responder
    async def _enrol(
        self,
        hostid: str,
        hostname: str | None,
        moduletype: str | None,
        password: str | None,
        requester: str | None,
    ) -> dict[str, object]:
        device = await self._do.enrol(
            hostid,
            hostname=hostname or "",
            moduletype=moduletype or "",
            password=password,
            by=self._by(requester),
        )
        return {"device": device}

    @commands.GetEnrolment.responder
    def _get_enrolment(self) -> dict[str, object]:
        return {"enrolment": self._do.enrolment()}

    @commands.SetEnrolment.responder
    def _set_enrolment(self, policy: str, requester: str | None) -> dict[str, object]:
        return {"enrolment": self._do.set_enrolment(policy, self._by(requester))}

    @commands.ApproveDevice.responder
    async def _approve_device(self, hostid: str, requester: str | None) -> dict[str, object]:
        return {"device": await self._do.approve(hostid, self._by(requester))}

    @commands.RejectDevice.responder
    def _reject_device(self, hostid: str, requester: str | None) -> dict[str, object]:
        self._do.reject(hostid, self._by(requester))
        return {}

    @commands.ForgetDevice.responder
    async def _forget_device(self, hostid: str, requester: str | None) -> dict[str, object]:
        await self._do.forget(hostid, self._by(requester))
        return {}

    @commands.ResetPassword.responder
    async def _reset_password(self, hostid: str, password: str | None, requester: str | None) -> dict[str, object]:
        return {"device": await self._do.reset_password(hostid, password, self._by(requester))}

    # --- people beside the machine -----------------------------------------------------------------------------------

    @commands.LockDevice.responder
    async def _lock_device(self, hostid: str, reason: str, requester: str | None) -> dict[str, object]:
        return {"device": await self._do.lock(hostid, reason, self._by_person(requester))}

    @commands.UnlockDevice.responder
    async def _unlock_device(self, hostid: str, force: bool | None, requester: str | None) -> dict[str, object]:
        by = self._by_person(requester)
        if not force and by.admin:
            by = replace(by, role="operator")  # removing another caller's lock is on purpose only
        return {"device": await self._do.unlock(hostid, by)}

    @commands.ClearInput.responder
    async def _clear_input(self, hostid: str, requester: str | None, **named: str) -> dict[str, object]:
        return {"device": await self._do.clear_input(hostid, named["input"], self._by(requester))}

    # --- to a device -------------------------------------------------------------------------------------------------

    @commands.SendCommand.responder
    async def _send_command(self, hostid: str, requester: str | None, **request: Any) -> dict[str, object]:
        return await self._submit(hostid, requester, requests.Named(**request))

    @commands.WriteConfig.responder
    async def _write_config(
        self, hostid: str, requester: str | None, result: str, datatype: int | None, **terms: Any
    ) -> dict[str, object]:
        if datatype not in (None, DATATYPE_MODBUS):
            raise BadArgument(f"datatype: {DATATYPE_MODBUS} (Modbus) is all that is sent")
        return await self._submit(hostid, requester, requests.Modbus(frames=result, **terms))

    @commands.WritePort.responder
    async def _write_port(self, hostid: str, requester: str | None, **request: Any) -> dict[str, object]:
        port, baud = request.pop("modulePort"), request.pop("moduleBaud")
        return await self._submit(hostid, requester, requests.Port(port=port, baud=baud, **request))

    @commands.Reset.responder
    async def _reset(self, hostid: str, requester: str | None, **terms: Any) -> dict[str, object]:
        return await self._submit(hostid, requester, requests.Reset(**terms))

    async def _submit(self, hostid: str, requester: str | None, request: requests.Request) -> dict[str, object]:
        return await _ended(await self._do.submit(hostid, request, self._by(requester)))

    @commands.ListCommands.responder
    async def _list_commands(self, **span: Any) -> dict[str, object]:
        return _paged("commands", await self._do.commands(_query(**span)))

    @commands.GetCommand.responder
    async def _get_command(self, commandId: int) -> dict[str, object]:  # noqa: N803 - AMP's names, the same below
        return {"command": await self._do.command(commandId)}

    @commands.CancelCommand.responder
    async def _cancel_command(self, commandId: int, requester: str | None) -> dict[str, object]:  # noqa: N803
        return {"command": await self._do.cancel(commandId, self._by(requester))}

    def _by(self, said: str | None) -> Requester:
        return Requester(self.who(said), DOOR, self.role)

    def _by_person(self, said: str | None) -> Requester:
        """The caller by what outlives the program, so that the next call of cmmctl unlocks what one has locked."""
        return Requester(self.who(said, person=True), DOOR, self.role)

    # --- news --------------------------------------------------------------------------------------------------------

    @commands.Watch.responder
    def _watch(self, hostid: str | None, live: bool | None, commands: bool | None) -> dict[str, object]:
        self._stop_watching()
        fleet = self._do.fleet
        watcher = self._watcher = Watcher(
            send=self._tell, give_up=self._give_up, clock=self.around.clock, hostid=hostid
        )

        def tell(event: Event) -> None:
            if not is_private(event):
                watcher.event(event)

        last_event = fleet.told.last_number
        watcher.follow(fleet.told.subscribe(tell))
        if live:
            watcher.follow(fleet.uploads.subscribe(watcher.upload))
        if commands:
            watcher.follow(self._do.dispatch.audit.subscribe(watcher.command))
        return {"lastEvent": last_event}

    @commands.Unwatch.responder
    def _unwatch(self) -> dict[str, object]:
        self._stop_watching()
        return {}

    def _tell(self, news: dict[str, object]) -> Deferred[object]:
        if not self.still_counts:
            self.fault("its certificate is revoked")
        told: Deferred[object] = self.callRemote(commands.Event, **news)
        return told

    def _give_up(self, why: str) -> None:
        self._watcher = None
        self.fault(why)

    def ending(self) -> None:
        """Prepare for the end of the connection."""
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None


def _query(
    hostid: str | None,
    since: int | None,
    until: int | None,
    newestFirst: bool | None,  # noqa: N803 - AMP's name
    after: str | None,
    limit: int | None,
) -> Query:
    return Query(
        hostid=hostid,
        since=since,
        until=until,
        after=cursor_from(after),
        limit=limited(limit),
        newest_first=bool(newestFirst),
    )


def _paged(name: str, found: Found[Any]) -> dict[str, object]:
    page = page_of(found)
    return {name: page.text, "next": page.next}


async def _ended(submitted: Submitted) -> dict[str, object]:
    end = await ended(submitted)
    return {
        "commandId": end.number,
        "uid": end.uid,
        "outcome": end.outcome,
        "reply": end.reply,
        "seconds": end.seconds,
        "recorded": None if end.recorded else False,
    }
