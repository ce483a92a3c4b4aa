"""Operations of the daemon in terms of the fleet, for every caller. This module knows neither AMP nor HTTP."""

from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile, islice
from typing import Generic, TypeVar

from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace
from twisted.logger import Logger

from cmmd.fleet.commands.dispatcher import Dispatcher
from cmmd.fleet.commands.queue import STOP, Requester, Sort, Submitted, who_text
from cmmd.fleet.commands.requests import LONGEST_TIMEOUT_S, Modbus, Named, Request
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.errors import BadArgument, NoSuchCommand, NoSuchDevice
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.history.told import UnrecordedCommand
from cmmd.fleet.service import administration
from cmmd.fleet.service.device_rows import details_of, lock_of, raw_of, row_of, status_of
from cmmd.fleet.service.records import (
    Blocked,
    Changes,
    DeviceDetails,
    DeviceRow,
    Ended,
    EnrolmentNow,
    LiveNow,
    ReadingRow,
    StatusNow,
)
from cmmd.fleet.service.security import SECURITY, SecurityLog
from cmmd.fleet.telemetry.live import MONITOR, Monitor
from cmmd.fleet.telemetry.view import view_of
from cmmd.store.interface import MOST_A_PAGE, IStore
from cmmd.store.records import Alarm, Command, Cursor, Device, Event, Query

__all__ = ["ControlService", "Found", "Sought", "ended", "limited"]

log = Logger()

_Record = TypeVar("_Record")

"""``datatype`` of Modbus frames (protocol section 4.6)."""

PAGE_OF_READINGS = 200
PAGES_SEARCHED = 10


class Found(Struct, Generic[_Record], frozen=True):
    """Records in their order, at most ``limit``. With as many, more may come behind the last one's ``place``.

    :ivar records: to be gone through once; they may be made one by one meanwhile.
    """

    records: Iterable[_Record]
    limit: int
    place: Callable[[_Record], Cursor]


class Sought(Struct, Generic[_Record], frozen=True):
    """Records that fit, in their order; ``following``: where to seek on; None: there are no more now.

    There may be more even where none was found: only so many are looked at in one go.
    """

    records: list[_Record]
    following: Cursor | None


class ControlService:
    """Reads and changes what a daemon has. ``by`` names the caller, and the door of the call.

    :param fleet: all devices. :param dispatch: carries commands to them. :param store: where the fleet's records are.
    :param counters: what has been counted.
    :param now: Unix time in seconds.
    :param security: records security events; None: into the store alone.
    :ivar security: the same.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        dispatch: Dispatcher,
        store: IStore,
        counters: Counters,
        now: Callable[[], float],
        security: SecurityLog | None = None,
    ) -> None:
        self.fleet = fleet
        self.security = security or SecurityLog(fleet.events)
        self.dispatch = dispatch
        self._store = store
        self._counters = counters
        self._now = now
        self._started_at = int(now() * 1000)

    # --- what there is -----------------------------------------------------------------------------------------------

    def status(self) -> StatusNow:
        """Get the state of the daemon."""
        return status_of(self.fleet, self._counters, int(self._now() * 1000), self._started_at)

    def devices(self, *, online: bool | None, after: Cursor | None, limit: int) -> Found[DeviceRow]:
        """The devices, by registration number.

        :param online: only those that are, or are not.
        """
        start, presence = _number_of(after), self.fleet.presence
        found = dropwhile(lambda one: one.number <= start, self.fleet.registry.devices())
        wanted = (one for one in found if online is None or presence.online(one.hostid) == online)
        rows = (row_of(self.fleet, device) for device in islice(wanted, limit))
        return Found(rows, limit, lambda one: Cursor(0, one.number))

    def device(self, hostid: str) -> DeviceDetails:
        """Get one device in detail.

        :raises NoSuchDevice: no device has this hostid.
        """
        return details_of(self.fleet, self._device(hostid))

    def _device(self, hostid: str) -> Device:
        device = self.fleet.registry.device(hostid)
        if device is None:
            raise NoSuchDevice("no such device is registered")
        return device

    def live(self, hostid: str, *, raw: bool) -> LiveNow:
        """Get the live record of a device.

        :raises NoSuchDevice: no device has this hostid.
        """
        self._device(hostid)
        record = self.fleet.live[hostid]
        return LiveNow(
            online=self.fleet.presence.online(hostid),
            blocked=self._blocked(hostid, "command"),
            stop_blocked=self._blocked(hostid, "stop"),
            lock=lock_of(self._device(hostid)),
            view=view_of(record, self._now(), online=self.fleet.presence.online(record.hostid)),
            raw=raw_of(record) if raw else None,
        )

    def monitor(self, hostid: str) -> Monitor:
        """The live record of a device as the protocol's paper has it (section 7): the raw register image and its mask.

        :raises NoSuchDevice: no device has this hostid.
        """
        found = self.fleet.live.monitor(MONITOR + self._device(hostid).hostid)
        assert found is not None, "it is registered"
        return found

    def _blocked(self, hostid: str, sort: Sort) -> Blocked | None:
        blocked = self.dispatch.blocked(hostid, sort)
        return None if blocked is None else Blocked(blocked.code, str(blocked))

    async def history(self, query: Query, points: Sequence[str] | None) -> Found[ReadingRow]:
        """The kept uploads of a device.

        :param points: names; None: all.
        :raises NoSuchDevice: no device has this hostid. :raises NoSuchPoint: no profile has such a point.
        """
        assert query.hostid is not None, "readings are a device's"
        self._device(query.hostid)
        limit = min(query.limit, PAGE_OF_READINGS)
        found = await self.fleet.history.page(replace(query, limit=limit), points)
        rows = [
            ReadingRow(
                number=one.reading.number,
                at=one.reading.at,
                reason=one.reading.reason,
                source=one.reading.source,
                suppressed=one.reading.suppressed,
                points=one.points,
            )
            for one in found.readings
        ]
        return Found(rows, limit, lambda one: Cursor(one.at, one.number))

    async def events(self, query: Query) -> Found[Event]:
        """Events, of a hostid or of all. Some are about hostids that are not registered, some are private."""
        found: list[Event] = await self._store.events(query)
        return Found(found, query.limit, lambda one: Cursor(one.at, one.number))

    async def security_events(self, query: Query) -> Found[Event]:
        """Get security events, for administrators."""
        return await self.events(replace(query, hostid=SECURITY))

    async def alarms(self, query: Query, *, ended: bool) -> Found[Alarm]:
        """List active alarms; ``ended``: all there ever were."""
        if query.hostid is not None:
            self._device(query.hostid)
        if ended:
            found: list[Alarm] = await self._store.alarms(query)
        else:
            start = _number_of(query.after)
            found = [one for one in self.fleet.alarms.open_alarms(query.hostid) if one.number > start][: query.limit]
        return Found(found, query.limit, _place_of)

    async def seek_alarms(self, query: Query, fits: Callable[[Alarm], bool]) -> Sought[Alarm]:
        """Of all alarms there ever were, those that fit, as far as a bounded number of pages has them."""
        if query.hostid is not None:
            self._device(query.hostid)
        wanted, found = query.limit, list[Alarm]()
        query = replace(query, limit=MOST_A_PAGE)
        for _ in range(PAGES_SEARCHED):
            page: list[Alarm] = await self._store.alarms(query)
            found += filter(fits, page)
            if len(found) > wanted:
                return Sought(found[:wanted], _place_of(found[wanted - 1]))
            if len(page) < query.limit:
                return Sought(found, None)
            query = replace(query, after=_place_of(page[-1]))
        return Sought(found, query.after)

    def acknowledge(self, alarm: int, by: Requester) -> Alarm:
        """Acknowledge an open alarm.

        :raises NoSuchAlarm: no active alarm has this number.
        """
        return self.fleet.alarms.acknowledge(alarm, by.requester)

    # --- devices -----------------------------------------------------------------------------------------------------

    async def set_device(self, hostid: str, changes: Changes, by: Requester) -> DeviceDetails:
        """Change an owner's settings of a device.

        :raises NoSuchDevice: no device has this hostid. :raises BadArgument: a setting cannot have this value.
        :raises Locked: the device is locked, and its port, baud rate or profile would change.
        """
        named = {name: value for name, value in asdict(changes).items() if value is not UNSET}
        await self.fleet.registry.set(hostid, who_text(by.requester), **named)
        return self.device(hostid)

    async def enrol(
        self, hostid: str, *, hostname: str, moduletype: str, password: str | None, by: Requester
    ) -> DeviceDetails:
        """Make a device known ahead of its first login.

        :raises AlreadyEnrolled: a device with this hostid is registered.
        :raises RegistryFull: no more devices are taken.
        :raises BadArgument: no hostid.
        """
        await self.fleet.registry.enrol(hostid, hostname=hostname, moduletype=moduletype, password=password)
        log.info("enrolled {hostid}, by {who}", hostid=hostid, who=by.requester)
        return self.device(hostid)

    def enrolment(self) -> EnrolmentNow:
        """Give the enrolment policy and the devices that wait for approval."""
        return administration.enrolment_of(self.fleet)

    def set_enrolment(self, policy: str, by: Requester) -> EnrolmentNow:
        """Set the enrolment policy, see :func:`cmmd.fleet.service.administration.set_policy`."""
        administration.set_policy(self.fleet, policy, by)
        return self.enrolment()

    async def approve(self, hostid: str, by: Requester) -> DeviceDetails:
        """Let a device in that waits, see :func:`cmmd.fleet.service.administration.approve`."""
        await administration.approve(self.fleet, hostid, by)
        return self.device(hostid)

    def reject(self, hostid: str, by: Requester) -> None:
        """Let a device wait no more, see :func:`cmmd.fleet.service.administration.reject`."""
        administration.reject(self.fleet, hostid, by)

    async def forget(self, hostid: str, by: Requester) -> None:
        """Let a device be unknown, see :func:`cmmd.fleet.service.administration.forget`."""
        await administration.forget(self.fleet, self._device(hostid), by)

    async def reset_password(self, hostid: str, password: str | None, by: Requester) -> DeviceDetails:
        """Forget the password of a device, see :func:`cmmd.fleet.service.administration.reset_password`."""
        await administration.reset_password(self.fleet, self._device(hostid), password, by)
        return self.device(hostid)

    # --- people beside the machine -----------------------------------------------------------------------------------

    async def lock(self, hostid: str, reason: str, by: Requester) -> DeviceDetails:
        """Lock a device for maintenance, see :func:`cmmd.fleet.service.administration.lock`."""
        await administration.lock(self.fleet, self._device(hostid), reason, by)
        return self.device(hostid)

    async def unlock(self, hostid: str, by: Requester) -> DeviceDetails:
        """Remove a maintenance lock, see :func:`cmmd.fleet.service.administration.unlock`."""
        await administration.unlock(self.fleet, self._device(hostid), by)
        return self.device(hostid)

    async def clear_input(self, hostid: str, name: str, by: Requester) -> DeviceDetails:
        """Forget a report of one of a device's inputs, see :func:`cmmd.fleet.service.administration.clear_input`."""
        await administration.clear_input(self.fleet, self._device(hostid), name, by)
        return self.device(hostid)

    # --- to a device -------------------------------------------------------------------------------------------------

    async def submit(self, hostid: str, request: Request, by: Requester) -> Submitted:
        """Have a device do what a caller requests, at most once.

        :return: when it is accepted; :func:`ended` waits for its end.
        :raises NotAllowed: nothing was sent.
        :raises BadArgument: a timeout that cannot be.
        """
        if request.timeout is not None and not 1.0 <= request.timeout <= LONGEST_TIMEOUT_S:
            raise BadArgument(f"timeout: 1 to {LONGEST_TIMEOUT_S:g} seconds")
        return await self.dispatch.submit(hostid, request, by)

    def is_stop(self, hostid: str, request: Request) -> bool:
        """Tell whether a request is a device's stop, by its name or by its very frame."""
        match request:
            case Named(name=name):
                return name == STOP
            case Modbus(frames=frames):
                return self.dispatch.is_stop(hostid, frames)
        return False

    async def commands(self, query: Query) -> Found[Command]:
        """The audit, of a device or of all."""
        if query.hostid is not None:
            self._device(query.hostid)
        found = await self.dispatch.audit.page(query)
        return Found(found, query.limit, lambda one: Cursor(one.accepted_at, one.number))

    async def command(self, number: int) -> Command:
        """One command, under way or among the last ones of the audit.

        :raises NoSuchCommand: no command has this number.
        """
        found = self.dispatch.under_way(number)
        query = Query(limit=MOST_A_PAGE, newest_first=True)
        for _ in range(PAGES_SEARCHED):
            if found is not None:
                return found
            page = await self.dispatch.audit.page(query)
            found = next((one for one in page if one.number == number), None)
            if page:
                query = replace(query, after=Cursor(page[-1].accepted_at, page[-1].number))
            if len(page) < query.limit:
                break
        if found is None:
            raise NoSuchCommand(f"no command {number} among the last ones")
        return found

    async def cancel(self, number: int, by: Requester) -> Command:
        """Take a command back that waits.

        :raises NoSuchCommand: no command has this number. :raises TooLate: the command has been sent, or has ended.
        """
        command = await self.dispatch.cancel(number, by.requester)
        log.info(
            "command {number} of {hostid} cancelled, by {who}", number=number, hostid=command.hostid, who=by.requester
        )
        return command


def _place_of(alarm: Alarm) -> Cursor:
    return Cursor(alarm.raised_at, alarm.number)


async def ended(submitted: Submitted) -> Ended:
    """Wait for the end of a command. A cancelled wait does not stop the command."""
    command = await submitted.ended
    assert command.outcome is not None and command.ended_at is not None, "it has ended"
    return Ended(
        number=command.number,
        uid=command.uid,
        outcome=command.outcome,
        reply=command.reply or "",
        seconds=max(command.ended_at - command.accepted_at, 0) / 1000,
        recorded=not isinstance(command, UnrecordedCommand),
    )


def limited(limit: int | None) -> int:
    """Limit the number of records on a page."""
    return MOST_A_PAGE if limit is None else min(max(limit, 1), MOST_A_PAGE)


def _number_of(cursor: Cursor | None) -> int:
    return 0 if cursor is None else cursor.number
