"""Coordinates of a device: BD-09 or WGS-84 as sent, in degrees of WGS-84 (protocol section 4.1, ``gpsen``).

Chinese maps are drawn in GCJ-02, which is WGS-84 with some hundred metres of undulating offset added; Baidu's BD-09
adds another turn and shift. Neither has been published officially. The formulas here are the ones that everybody has
used since they became known as EvilTransform in 2013; https://github.com/googollee/eviltransform and
https://github.com/wandergis/coordtransform hold known pairs. Unlike theirs, the inverses are exact: found by iteration.
"""

import re
from collections.abc import Callable
from math import atan2, cos, hypot, pi, radians, sin, sqrt

__all__ = ["WGS84", "bd09_of_gcj02", "gcj02_of_wgs84", "wgs84"]

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
