"""Positions of devices: as logins and uploads say them (protocol sections 4.1 and 4.5), in degrees of WGS-84.

Chinese maps are drawn in GCJ-02, which is WGS-84 with some hundred metres of undulating offset added; Baidu's BD-09
adds another turn and shift. Neither has been published officially. The formulas here have been in general use since
they became known as EvilTransform in 2013; https://github.com/googollee/eviltransform and
https://github.com/wandergis/coordtransform hold known pairs. Unlike theirs, the inverses are exact: found by iteration.
"""

import re
from collections.abc import Awaitable, Callable
from math import atan2, cos, hypot, pi, radians, sin, sqrt
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.errors import TooManyWaiting
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Device
from cmmd.wire.messages import LoginParams

__all__ = ["KEPT_EVERY_S", "MOVED_M", "WGS84", "Places", "bd09_of_gcj02", "gcj02_of_wgs84", "told_at_login", "wgs84"]

log = Logger()

# --- coordinates -----------------------------------------------------------------------------------------------------


Place = tuple[float, float]
"""Longitude and latitude in degrees."""

BD09, WGS84 = 0, 1
"""What ``gpsen`` says."""

_DEGREES = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]*)?")
_DECIMALS = 6  # 0.1 m

# The ellipsoid of Krasovsky, 1940.
_SEMI_MAJOR_AXIS_M = 6_378_245.0
_ECCENTRICITY_SQUARED = 0.00669342162296594323

# GCJ-02 knows no borders but these: beyond them it is WGS-84.
_WEST, _EAST = 72.004, 137.8347
_SOUTH, _NORTH = 0.8293, 55.8271

# Waves of the offset: amplitude in metres, and half waves a degree.
_OF_BOTH = ((20.0, 6.0), (20.0, 2.0))
_NORTHWARD = ((20.0, 1.0), (40.0, 1 / 3), (160.0, 1 / 12), (320.0, 1 / 30))
_EASTWARD = ((20.0, 1.0), (40.0, 1 / 3), (150.0, 1 / 12), (300.0, 1 / 30))

_BAIDU_WAVE = pi * 3000 / 180
_BAIDU_EAST, _BAIDU_NORTH = 0.0065, 0.006

_ROUNDS = 8  # each is at least thirty times nearer than the one before


def wgs84(longitude: str | None, latitude: str | None, gpsen: int | None) -> Place | None:
    """The place that a device says, in WGS-84.

    :param longitude: plain decimal degrees in text, east and north positive, with blanks around it or not.
    :param latitude: the same.
    :param gpsen: 0 BD-09, 1 WGS-84.
    :return: longitude and latitude in degrees, with six decimals. None: it does not say, or not in what; it is no
        number or no place on earth; or it is exactly 0, 0, which is what a receiver without a fix says.
    """
    if gpsen not in (BD09, WGS84):
        return None
    east, north = _degrees(longitude), _degrees(latitude)
    if east is None or north is None or (east == 0 and north == 0) or not _on_earth(east, north):
        return None
    if gpsen == BD09:
        east, north = _wgs84_of_gcj02(*_inverted(bd09_of_gcj02, east, north))
        if not _on_earth(east, north):
            return None
    return round(east, _DECIMALS), round(north, _DECIMALS)


def gcj02_of_wgs84(longitude: float, latitude: float) -> Place:
    """A place in GCJ-02; outside of the rectangle around China it is the same."""
    return _moved(longitude, latitude) if _in_china(longitude, latitude) else (longitude, latitude)


def bd09_of_gcj02(longitude: float, latitude: float) -> Place:
    """A place in BD-09: turned and stretched a little around 0, 0, then shifted."""
    distance = hypot(longitude, latitude) + 2e-5 * sin(latitude * _BAIDU_WAVE)
    angle = atan2(latitude, longitude) + 3e-6 * cos(longitude * _BAIDU_WAVE)
    return distance * cos(angle) + _BAIDU_EAST, distance * sin(angle) + _BAIDU_NORTH


def _wgs84_of_gcj02(longitude: float, latitude: float) -> Place:
    return _inverted(_moved, longitude, latitude) if _in_china(longitude, latitude) else (longitude, latitude)


def _inverted(forward: Callable[[float, float], Place], longitude: float, latitude: float) -> Place:
    """The place that ``forward`` takes to this one: the offset, taken at the last guess, is subtracted again."""
    guess_longitude, guess_latitude = longitude, latitude
    for _ in range(_ROUNDS):
        there_longitude, there_latitude = forward(guess_longitude, guess_latitude)
        guess_longitude += longitude - there_longitude
        guess_latitude += latitude - there_latitude
    return guess_longitude, guess_latitude


def _moved(longitude: float, latitude: float) -> Place:
    """WGS-84 with the offset of GCJ-02, wherever it is. The series are in degrees from 105° E, 35° N, and in metres."""
    x, y = longitude - 105, latitude - 35
    of_both = _waves(_OF_BOTH, x)
    east_m = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x)) + of_both + _waves(_EASTWARD, x)
    north_m = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x)) + of_both + _waves(_NORTHWARD, y)
    bulge = 1 - _ECCENTRICITY_SQUARED * sin(radians(latitude)) ** 2
    across_m = _SEMI_MAJOR_AXIS_M / sqrt(bulge)
    along_m = across_m * (1 - _ECCENTRICITY_SQUARED) / bulge
    degrees_east = east_m / radians(across_m * cos(radians(latitude)))
    degrees_north = north_m / radians(along_m)
    return longitude + degrees_east, latitude + degrees_north


def _waves(waves: tuple[tuple[float, float], ...], degrees: float) -> float:
    return 2 / 3 * sum(amplitude * sin(frequency * degrees * pi) for amplitude, frequency in waves)


def _degrees(text: str | None) -> float | None:
    stripped = (text or "").strip()
    return float(stripped) if _DEGREES.fullmatch(stripped) else None


def _on_earth(longitude: float, latitude: float) -> bool:
    return abs(longitude) <= 180 and abs(latitude) <= 90


def _in_china(longitude: float, latitude: float) -> bool:
    return _WEST <= longitude <= _EAST and _SOUTH <= latitude <= _NORTH


# --- places that are kept --------------------------------------------------------------------------------------------


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
