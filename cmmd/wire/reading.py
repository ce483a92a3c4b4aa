"""Documents to messages: strictly first, tolerantly where that fails (protocol sections 2 and 4).

The tolerant way takes keys in any letter case, the paper's misspelt keys, numbers in text and text in numbers,
``params`` as a string that holds an object, blanks around the method, and leaves unknown keys out. Of what servers send
it takes more: see :func:`read_from_server`.
"""

import re
from collections.abc import Callable
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct, inspect

from cmmd.wire import dialects, lenient, messages
from cmmd.wire.errors import FrameError, MessageError, Reason
from cmmd.wire.messages import DeviceMessage, ServerMessage
from cmmd.wire.retcodes import Retcode
from cmmd.wire.splitter import MAX_DEPTH

__all__ = ["ANSWERED_AS", "read_from_device", "read_from_server", "read_segment"]

_FROM_DEVICE: dict[str, type[Struct]] = {
    "login": messages.Login,
    "LongCon": messages.LongCon,
    "HB": messages.Heartbeat,
    "reqdata": messages.ReqData,
    "reqdatachange": messages.ReqDataChange,
    "writeConfig": messages.WriteConfigAnswer,
    "timing": messages.Timing,
    "reset": messages.ResetAnswer,
}
_FROM_SERVER: dict[str, type[Struct]] = {
    "login": messages.LoginAnswer,
    "LongCon": messages.Answer,
    "HB": messages.Answer,
    "reqdata": messages.Answer,
    "reqdatachange": messages.Answer,
    "error": messages.Answer,
    "timing": messages.TimingAnswer,
    "writeConfig": messages.WriteConfig,
    "reset": messages.Reset,
}
_ACKNOWLEDGEMENTS: dict[str, type[Struct]] = {"writeConfig": messages.Answer, "reset": messages.Answer}
ANSWERED_AS = {"reqdatachange": "reqdata"}
"""Methods that are not answered under their own name (4.5)."""
_MISSPELT = {"hosted": "hostid", "gsen": "gpsen"}  # the paper's examples (4.1)

# What msgspec raises; RecursionError only for nesting that the splitter does not let through.
_NOT_STRICT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_strict_from_device: msgspec.json.Decoder[DeviceMessage] = msgspec.json.Decoder(DeviceMessage)


def read_from_device(document: bytes, max_depth: int = MAX_DEPTH) -> DeviceMessage:
    """Read what a device sent.

    :param document: one JSON or near-JSON object.
    :param max_depth: deepest nesting of objects and arrays in it.
    :raises FrameError: it is neither.
    :raises MessageError: it is not a message of protocol section 4; the text names the field.
    """
    try:
        return _strict_from_device.decode(document)
    except _NOT_STRICT:
        return cast("DeviceMessage", _read(_decoded(document, max_depth), document, _FROM_DEVICE))


def read_segment(segment: bytes) -> DeviceMessage | None:
    """Read a segment that is one message, as nearly all are, without looking for the end of a document first.

    :return: None: it is not, or not strictly, or something in it may be nested too deep.
    """
    try:
        message = _strict_from_device.decode(segment)
    except _NOT_STRICT:
        return None
    # Of all fields this is the only one that takes anything; the types of the others are four levels deep at most,
    # which no limit of depth forbids.
    return None if type(message) is messages.Heartbeat and message.params else message


def read_from_server(document: bytes) -> ServerMessage:
    """Read what a server sent: cmmd, the vendor's, or another one in service (section 4.10).

    Beyond what is taken of devices: an object that is encoded twice, and what :mod:`cmmd.wire.dialects` puts right. An
    acknowledgement under the method of an order becomes an :class:`~cmmd.wire.messages.Answer`, so that it cannot be
    taken for an order. An order that cannot be read becomes one with no frames in ``result``, so that it can be
    refused; those in ``params`` count where they are a stop.

    :raises FrameError: as above.
    :raises MessageError: as above.
    """
    found = _decoded(document)
    if isinstance(found, str):
        found = lenient.decode_object(found)
    if not isinstance(found, dict):
        return cast("ServerMessage", _read(found, document, _FROM_SERVER))
    said = dialects.put_right(found)
    if dialects.echoes(said):
        raise MessageError("a message of a device", said=document)
    kinds = _ACKNOWLEDGEMENTS if dialects.acknowledges(said) else _FROM_SERVER
    try:
        return cast("ServerMessage", _read(said, document, kinds))
    except MessageError:
        if said.get("method") != "writeConfig":
            raise
        return messages.WriteConfig(result="", uid=said.get("uid", msgspec.UNSET), **dialects.frames_only(said))


def _decoded(document: bytes, max_depth: int = MAX_DEPTH) -> object:
    try:
        return msgspec.json.decode(document)
    except _NOT_STRICT:
        return lenient.decode(document, max_depth)


def _read(found: object, document: bytes, kinds: dict[str, type[Struct]]) -> Struct:
    if not isinstance(found, dict):
        raise FrameError(Reason.SYNTAX, "not JSON: an object expected at character 0", document)
    envelope = {key.lower(): value for key, value in found.items()}
    method = envelope.get("method")
    if not isinstance(method, str):
        raise MessageError("method: a text is required", said=document)
    method = envelope["method"] = method.strip()
    kind = kinds.get(method)
    if kind is None:
        raise MessageError("unknown method", reason=Reason.UNKNOWN_METHOD, retcode=Retcode.UNKNOWN_METHOD, said=method)
    fitted = _fitted(envelope, _Shape.of(kind))
    if kind is messages.Login and "hostid" in envelope and isinstance(fitted.get("params"), dict):
        fitted["params"].setdefault("hostid", _text(envelope["hostid"]))
    try:
        return msgspec.convert(fitted, kind, strict=False)
    except msgspec.ValidationError as error:
        raise MessageError(_plain(str(error)), method=ANSWERED_AS.get(method, method), said=method) from None


def _plain(message: str) -> str:
    """Msgspec's message without its pattern: there is one, that of a new hostid."""
    return re.sub(r" matching regex '.*'(?= - at )", " of letters, digits, _ and -", message)


_Content = Literal["text", "number", "scalar", "other"]


class _Shape:
    """The fields of a struct for the tolerant way: wire key in lower case -> wire key and type."""

    def __init__(self, info: inspect.StructType) -> None:
        self.fields: dict[str, tuple[str, _Content | _Shape]] = {}
        if info.tag_field is not None:
            self.fields[info.tag_field.lower()] = (info.tag_field, "other")
        for one in info.fields:
            self.fields[one.encode_name.lower()] = (one.encode_name, _Shape._content(one.type))

    @staticmethod
    def _content(info: inspect.Type) -> "_Content | _Shape":
        options = info.types if isinstance(info, inspect.UnionType) else (info,)
        if any(isinstance(option, inspect.FloatType) for option in options) and any(
            isinstance(option, inspect.StrType) for option in options
        ):
            return "scalar"
        for option in options:
            if isinstance(option, inspect.StrType):
                return "text"
            if isinstance(option, inspect.IntType):
                return "number"
            if isinstance(option, inspect.StructType):
                return _Shape(option)
        return "other"

    @staticmethod
    def of(kind: type[Struct]) -> "_Shape":
        return _SHAPES[kind]


def _fitted(members: dict[str, Any], shape: _Shape) -> dict[str, Any]:
    """The members that the struct knows, under the names it knows, numbers and text as it wants them."""
    fitted: dict[str, Any] = {}
    for key, value in members.items():
        lower = key.lower()
        known = shape.fields.get(lower) or shape.fields.get(_MISSPELT.get(lower, ""))
        if known is None:
            continue
        name, content = known
        fitted[name] = _object(value, content) if isinstance(content, _Shape) else _FIT[content](value)
    return fitted


def _text(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _number(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _scalar(value: object) -> object:
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _object(value: object, shape: _Shape) -> object:
    if isinstance(value, str):
        try:
            value = lenient.decode_object(value)
        except FrameError:
            return value  # named by the conversion as what it is: text where an object belongs
    return _fitted(value, shape) if isinstance(value, dict) else value


_FIT: dict[str, Callable[[object], object]] = {
    "text": _text,
    "number": _number,
    "scalar": _scalar,
    "other": lambda value: value,
}
_SHAPES = {
    kind: _Shape(cast("inspect.StructType", inspect.type_info(kind)))
    for kind in {*_FROM_DEVICE.values(), *_FROM_SERVER.values()}
}
