"""Correct the dialects of servers in service before a device's side reads them (protocol section 4.10).

Pure functions on decoded objects. They decide one thing more: whether a message with the method of an order is one. A
server may acknowledge what the device has answered, under the same method; carried out, that would be a second command.
"""

import re
from math import isfinite
from typing import Any

from cmmd.wire.retcodes import Retcode

__all__ = ["acknowledges", "echoes", "frames_only", "has_a_frame", "is_own_answer", "put_right"]

_BLANKS = " \t\r\n\v\f\0\xa0\u3000\ufeff"
_ASKED = ("LongCon", "HB", "reqdata", "reqdatachange", "timing")
_ENVELOPE_TEXTS = ("message", "uid", "hostid")
_ORDERS = {name.lower(): name for name in ("writeConfig", "reset")}
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

_FRAME = re.compile(r"(?:[0-9A-Fa-f]{2}\s*){4}")
"""The beginning of what could be a Modbus frame in hex, which may have blanks between its bytes: the shortest one has
four, with its CRC."""


def put_right(found: dict[str, Any]) -> dict[str, Any]:
    """Give the envelope of a server's message with plain texts, keys in lower case, and without empty fields.

    null means left out; blanks around texts and the letter case of an order's method do not count; a return code has
    its six digits, of which a number loses the leading ones. Of objects and lists in the place of an order's frames
    only the frames are left, in ``params``: that orders nothing, but a stop in it counts.
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
    if isinstance(method, str):
        method = said["method"] = _ORDERS.get(method.lower(), method)
    if method == "writeConfig":
        said |= _order_texts(said)
    elif method == "timing" and "result" in said:
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

    It has no frames, be it in ``result`` or in ``params``: whether a message with frames is an order takes more to know
    (:mod:`cmmd.gateway.link.acknowledgements`). Port and speed with ``hostid`` and without ``datatype`` are the own
    answer of the device, and so is a reset with ``hostid`` and no return code. A return code that is not OK says that
    something has failed, which is no order either.
    """
    method = said.get("method")
    if method not in ("writeConfig", "reset"):
        return False
    failed = said.get("retcode", Retcode.OK) != Retcode.OK
    if method == "reset":
        return failed or ("hostid" in said and "retcode" not in said)
    result = said.get("result", "")
    if has_a_frame(result) or has_a_frame(said.get("params", "")):
        return False
    if failed or "," in result or is_own_answer(said.get("params", "")):
        return True
    if any(said.get(key, "") != "" for key in ("moduleport", "modulebaud")):
        return "hostid" in said and "datatype" not in said
    return "datatype" not in said or "message" in said or "retcode" in said


def is_own_answer(params: str) -> bool:
    """Tell whether a text is what a device answers to an order: frames, each with ``,1`` or ``,0`` behind it."""
    parts = [part for part in params.split(";") if part.strip()]
    return bool(parts) and all("," in part and part.rpartition(",")[2].strip() in ("0", "1") for part in parts)


def frames_only(said: dict[str, Any]) -> dict[str, Any]:
    """Give the frames of an order that cannot be read, in ``params``, where they order nothing but a stop."""
    texts = (said.get("result", ""), said.get("params", ""))
    frames = [text for text in texts if isinstance(text, str) and has_a_frame(text)]
    return {"params": ";".join(frames)} if frames else {}


def has_a_frame(text: str) -> bool:
    """Tell whether any item of a ``;``-separated list begins with what could be a Modbus frame in hex.

    Whatever can be sent to a controller as a frame is seen here: otherwise an order could pass for an acknowledgement.
    """
    return any(_FRAME.match(item.strip()) for item in text.split(";"))


def _order_texts(said: dict[str, Any]) -> dict[str, str]:
    """The texts of an order: what is no text in their place is searched for frames."""
    texts: dict[str, str] = {key: _text(said[key]) for key in ("result", "params") if key in said}
    found = [text for key in texts if isinstance(said[key], dict | list) for text in _frames_in(said[key])]
    if found and has_a_frame(texts.get("params", "")):  # a text: the list was in result
        found.append(texts["params"])
    return {**texts, "params": ";".join(found)} if found else texts


def _frames_in(value: object) -> list[str]:
    """Find the texts that have a frame, in objects and lists of any depth; a uid is none."""
    if isinstance(value, str):
        return [value.strip(_BLANKS)] if has_a_frame(value.strip(_BLANKS)) else []
    if isinstance(value, dict):
        value = [one for key, one in value.items() if key.lower() not in ("uid", "hostid")]
    return [text for one in value for text in _frames_in(one)] if isinstance(value, list) else []


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
