"""Correct the dialects of servers in service before a device's side reads them (protocol section 4.10).

Pure functions on decoded objects. They decide one thing more: whether a message with the method of an order is one. A
server may acknowledge what the device has answered, under the same method; carried out, that would be a second command.
"""

import re
from math import isfinite
from typing import Any

from cmmd.wire.retcodes import Retcode

__all__ = ["acknowledges", "begins_with_a_frame", "echoes", "put_right"]

_BLANKS = " \t\r\n\v\f\0\xa0\u3000\ufeff"
_ASKED = ("LongCon", "HB", "reqdata", "reqdatachange", "timing")
_ENVELOPE_TEXTS = ("message", "uid")
_RESULT_TEXTS = ("historic", "livedata", "realtime", "para_command", "con_command", "moduletype")

_MOST: dict[str, float] = {
    "register": 9,
    "online_rate": 2**53,
    "offline_rate": 2**53,
    "data_mode": 9,
    "moduleport": 99,
    "modulebaud": 9_999_999,
    "reset_packet_num": 2**53,
}
"""The largest value of a number in a login answer; one that is no number, or larger, is as good as left out."""

_FRAMES = re.compile(r"[0-9A-Fa-f]{8}[0-9A-Fa-f\s;]*")
"""The beginning of what could be Modbus frames in hex: the shortest request of all has four bytes with its CRC."""


def put_right(found: dict[str, Any]) -> dict[str, Any]:
    """Give the envelope of a server's message with plain texts, keys in lower case, and without empty fields.

    null means left out; blanks around texts do not count; a return code has its six digits, of which a number loses the
    leading ones.
    """
    said = {key.lower(): value for key, value in found.items() if value is not None}
    said |= {key: _stripped(value) for key, value in said.items() if key != "uid"}  # that has to come back as it came
    for key in _ENVELOPE_TEXTS:
        if key in said and not isinstance(said[key], str):
            said[key] = _text(said[key])
    if "retcode" in said:
        said["retcode"] = _retcode(said["retcode"])
        if not said["retcode"]:
            del said["retcode"]
    method = said.get("method")
    if method in ("writeConfig", "timing") and "result" in said:
        said["result"] = _text(said["result"])
    elif method == "login" and isinstance(said.get("result"), dict):
        said["result"] = _login_result(said["result"])
    return said


def echoes(said: dict[str, Any]) -> bool:
    """Tell whether a message is one of the device's own, sent back: that confirms nothing."""
    if said.get("method") not in _ASKED:
        return False
    return ("params" in said or "hostid" in said) and not ("retcode" in said or "message" in said or "result" in said)


def acknowledges(said: dict[str, Any]) -> bool:
    """Tell whether a message with the method of an order only acknowledges, given what :func:`put_right` has made.

    An order has frames, or a port or speed, and neither ``params`` nor ``hostid``: those are of the device's own
    answer, sent back or merged into what was ordered. Its frames stand alone: with ``,1`` behind them they are the
    device's own answer, too. And a return code that is not OK says that something has failed, which is no order either.
    """
    method = said.get("method")
    if method not in ("writeConfig", "reset"):
        return False
    if "params" in said or "hostid" in said:
        return True
    if said.get("retcode", Retcode.OK) != Retcode.OK:
        return True
    if method == "reset":
        return False
    result = said.get("result", "")
    if "," in result:
        return True
    orders = begins_with_a_frame(result) or any(said.get(key, "") != "" for key in ("moduleport", "modulebaud"))
    return not orders and ("datatype" not in said or "message" in said or "retcode" in said)


def begins_with_a_frame(result: str) -> bool:
    """Tell whether the ``result`` of an order begins with what could be a Modbus frame in hex."""
    return _FRAMES.match(result) is not None


def _login_result(found: dict[str, Any]) -> dict[str, Any]:
    result = {key.lower(): _stripped(value) for key, value in found.items() if value is not None}
    for key in _RESULT_TEXTS:
        if key in result:
            result[key] = _text(result[key])
    for key, most in _MOST.items():
        if key in result:
            number = _number(result.pop(key))
            if number is not None and abs(number) <= most:
                result[key] = number
    return result


def _stripped(value: object) -> Any:
    return value.strip(_BLANKS) if isinstance(value, str) else value


def _text(value: object) -> str:
    """A text from whatever a server says in its place; an object or array says nothing."""
    if isinstance(value, str):
        return value
    return "" if isinstance(value, dict | list) else str(value)


def _retcode(value: object) -> str:
    text = _text(value)
    return text.lstrip("0").zfill(len(Retcode.OK.value)) if text.isascii() and text.isdigit() else text


def _number(value: object) -> int | float | None:
    """A number from text or number; whole where it is whole."""
    try:
        number = float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None
    if number is None or not isfinite(number):
        return None
    return int(number) if number == int(number) else number
