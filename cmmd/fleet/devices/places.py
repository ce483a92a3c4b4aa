"""Positions that devices upload (protocol section 4.5): GPS modules on gensets that are moved."""

from collections.abc import Awaitable, Callable
from math import cos, hypot, radians
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.devices.coordinates import WGS84, wgs84
from cmmd.fleet.errors import TooManyWaiting
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Device
from cmmd.wire.messages import LoginParams

__all__ = ["KEPT_EVERY_S", "MOVED_M", "Places", "told_at_login"]

log = Logger()

MOVED_M = 25.0
"""A device that is nearer than this to where it was has not moved: a receiver at rest wanders by some metres."""

KEPT_EVERY_S = 60.0
"""The least time between two places of a device that are kept: a module can say its place every three seconds."""

LONGEST = 20  # characters of each of the three (section 4.1)
_METRES_A_DEGREE = 111_320.0


class Places:
    """Keeps the places that devices upload, the newest of each, and no more often than is of use.

    :param update: keeps fields of the record of a device, given its hostid.
    :param device: gives the record.
    """

    def __init__(
        self,
        update: Callable[..., Awaitable[Device]],
        device: Callable[[str], Device | None],
        clock: IReactorTime,
    ) -> None:
        self._update = update
        self._device = device
        self._clock = clock
        self._limit = LogLimit(clock)
        self._waiting: dict[str, dict[str, str]] = {}
        self._kept: dict[str, IDelayedCall] = {}  # until when no other place of these devices is kept

    def said(self, hostid: str, longitude: object, latitude: object, altitude: object) -> None:
        """Take the place that an upload says, as it came; what is no place on earth says nothing."""
        place = {"longitude": _text(longitude), "latitude": _text(latitude)}
        if altitude is not None and _text(altitude):
            place["altitude"] = _text(altitude)
        if any(len(text) > LONGEST for text in place.values()):
            return
        if hostid in self._kept:
            self._waiting[hostid] = place
        else:
            self._keep(hostid, place)

    def stop(self) -> dict[str, dict[str, Any]]:
        """Stop writing positions to the store.

        :return: fields of the records that are not kept yet, by hostid.
        """
        for timer in self._kept.values():
            timer.cancel()
        self._kept.clear()
        waiting, self._waiting = self._waiting, {}
        found = {hostid: self._fields(hostid, place) for hostid, place in waiting.items()}
        return {hostid: fields for hostid, fields in found.items() if fields is not None}

    def _fields(self, hostid: str, place: dict[str, str]) -> dict[str, Any] | None:
        """Collect the changed fields of the record; None: no field has changed."""
        device = self._device(hostid)
        if device is None:
            return None
        if device.gpsen is None:  # it never said in which coordinates: what it says is kept as it is
            is_place = wgs84(place["longitude"], place["latitude"], WGS84) is not None
            return dict(place) if is_place and (device.longitude, device.latitude) != _pair(place) else None
        there = wgs84(place["longitude"], place["latitude"], device.gpsen)
        if there is None or not _has_moved(device, there):
            return None
        return {**place, "wgs84_longitude": there[0], "wgs84_latitude": there[1]}

    def _keep(self, hostid: str, place: dict[str, str]) -> None:
        fields = self._fields(hostid, place)
        if fields is not None:
            self._kept[hostid] = self._clock.callLater(KEPT_EVERY_S, self._next, hostid)
            Deferred.fromCoroutine(self._write(hostid, place, fields))

    def _next(self, hostid: str) -> None:
        del self._kept[hostid]
        place = self._waiting.pop(hostid, None)
        if place is not None:
            self._keep(hostid, place)

    async def _write(self, hostid: str, place: dict[str, str], fields: dict[str, Any]) -> None:
        try:
            await self._update(hostid, **fields)
        except (TooManyWaiting, StoreUnavailable) as error:
            if hostid in self._kept:
                self._waiting.setdefault(hostid, place)  # tried again, unless a newer one comes
            more = self._limit.allows("store")
            if more is not None:
                log.error("place of {hostid} not kept: {error}{more}", hostid=hostid, error=error, more=more)
        except Exception:
            log.failure("the place of {hostid} is not kept", hostid=hostid)


def _pair(place: dict[str, str]) -> tuple[str, str]:
    return place["longitude"], place["latitude"]


def told_at_login(device: Device, params: LoginParams) -> dict[str, Any]:
    """Fields of the record that a login changes: where the device is, and in what it says that.

    What it leaves out stays as it was. So does all of its place where it says 0, 0, as a receiver without a fix does:
    modules log in many times a day, and know where they are only after a while.
    """
    said = {"longitude": params.longitude, "latitude": params.latitude, "altitude": params.altitude}
    fields: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if params.gpsen is not None:
        fields["gpsen"] = params.gpsen
    if _has_no_fix(params.longitude, params.latitude) and device.wgs84_longitude is not None:
        return {"gpsen": fields["gpsen"]} if "gpsen" in fields else {}
    after = {"longitude": device.longitude, "latitude": device.latitude, "gpsen": device.gpsen, **fields}
    place = wgs84(after["longitude"], after["latitude"], after["gpsen"])
    fields["wgs84_longitude"], fields["wgs84_latitude"] = (None, None) if place is None else place
    return fields


def _has_no_fix(longitude: str | None, latitude: str | None) -> bool:
    try:
        return float(longitude or 0) == 0 == float(latitude or 0)
    except ValueError:
        return False


def _has_moved(device: Device, there: tuple[float, float]) -> bool:
    if device.wgs84_longitude is None or device.wgs84_latitude is None:
        return True
    east = (there[0] - device.wgs84_longitude) * cos(radians(there[1]))
    return hypot(east, there[1] - device.wgs84_latitude) * _METRES_A_DEGREE >= MOVED_M


def _text(value: object) -> str:
    """A number in text, also where it came as a number."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
