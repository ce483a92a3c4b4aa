"""Read a request as typed values; an error names its place."""

import re
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta
from msgspec.structs import fields

from cmmd.web.api.operation import Query
from cmmd.web.http.problems import Refused, WrongField

__all__ = ["PATHS", "chosen", "path_value", "query_kinds", "read_body", "read_query"]

_Query = TypeVar("_Query", bound=Query)

MOST_PARAMETERS = 50

LONGEST_ACCEPT = 1000
"""Characters of an Accept header. Each media range in it costs microseconds; browsers send about 150 characters."""

HostId = Annotated[str, Meta(min_length=1, max_length=24, pattern=r"^[!-~]{1,24}(?!\n)$")]
Number = Annotated[int, Meta(ge=1, le=2**63 - 1)]
ProfileName = Annotated[str, Meta(min_length=1, max_length=64)]
InputName = Annotated[str, Meta(min_length=1, max_length=64, description="Such as `remote_inhibited`.")]

PATHS: Mapping[str, Any] = {"hostid": HostId, "number": Number, "name": ProfileName, "input": InputName}
"""What may stand in a path."""

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?", re.ASCII)
_TRUTH = {"true": True, "false": False}


# --- the parts of the address ---------------------------------------------------------------------------------------


def path_value(name: str, text: bytes) -> Any:
    """Read the value of a place in a path.

    :raises Refused: nothing can be there.
    """
    try:
        value: Any = text.decode("utf-8")
        if name == "number":
            value = int(value) if _WHOLE.fullmatch(value) else value
        return msgspec.convert(value, PATHS[name])
    except (UnicodeDecodeError, msgspec.ValidationError):
        raise Refused("not_found", f"there is no such {name}", field=f"path.{name}") from None


def query_kinds(query: type[Query]) -> dict[str, Any]:
    """The types of its parameters, by name, without None: a parameter that is not there has no value."""
    return {name: _without_none(kind) for name, kind in get_type_hints(query, include_extras=True).items()}


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kinds = [one for one in get_args(kind) if one is not NoneType]
        assert len(kinds) == 1, "a parameter has one type"
        return kinds[0]
    return kind


def read_query(raw: bytes, query: type[_Query], kinds: Mapping[str, Any]) -> _Query:
    """The parameters of a request.

    :param kinds: of :func:`query_kinds`.
    :raises WrongField: one is unknown, there twice, or cannot be so.
    """
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError:  # also what is no UTF-8
        raise WrongField("query", "not readable as UTF-8, or too many parameters") from None
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name not in kinds:
            raise WrongField(f"query.{name[:40]}", "there is no such parameter here")
        if name in values:
            raise WrongField(f"query.{name}", "given twice")
        try:
            values[name] = msgspec.convert(_from_text(text, kinds[name]), kinds[name])
        except msgspec.ValidationError as error:
            raise WrongField(f"query.{name}", _what(error)) from None
    for field in fields(query):
        if field.required and field.name not in values:
            raise WrongField(f"query.{field.name}", "missing")
    return query(**values)


def _from_text(text: str, kind: Any) -> Any:
    """Read a text as JSON; the text itself where it is none of that kind."""
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(plain) is Literal or plain is str:
        return text
    if get_origin(plain) is list:
        return text.split(",") if text else []
    if plain is bool:
        return _TRUTH.get(text, text)
    if plain is int and _WHOLE.fullmatch(text):
        return int(text)
    if plain is float and _DECIMAL.fullmatch(text):
        return float(text)
    return text


# --- what is sent -----------------------------------------------------------------------------------------------------


def read_body(request: Any, kind: Any, takes: Sequence[str]) -> Any:
    """The body of a request.

    :param kind: its type. :param takes: media types that it may have.
    :raises Refused: it is no JSON, or something in it cannot be so.
    """
    content = request.content.read()
    encoding = request.getHeader("content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise Refused("unsupported_media_type", "a body is taken as it is, not encoded", Accept_Encoding="identity")
    said = request.getHeader("content-type") or ""
    media_type, _, parameters = said.partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media_type.strip().lower() not in takes or charset not in ("", "charset=utf-8"):
        raise Refused("unsupported_media_type", f"{takes[0]} is expected", Accept=", ".join(takes))
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise _wrong_body(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WrongField("body", f"no JSON: {error}") from None


def _wrong_body(error: msgspec.ValidationError) -> WrongField:
    what, _, where = str(error).partition(" - at ")
    field = "body" + where.strip("`").removeprefix("$")
    missing = re.search(r"(?:unknown|missing required) field `(.*)`", what, re.DOTALL)
    if missing:
        field += f".{missing[1][:40]}"
    return WrongField(field, what)


def _what(error: msgspec.ValidationError) -> str:
    return str(error).partition(" - at ")[0]


# --- what is accepted -------------------------------------------------------------------------------------------------


def chosen(accept: str | None, offered: tuple[str, ...]) -> str:
    """The media type to answer with: the one that is wanted most; the first, where that does not matter.

    What is offered behind the first is chosen only where it is named: no client gets an endless stream for ``*/*``.

    :raises Refused: none of them is accepted.
    """
    if accept is None or not accept.strip():
        return offered[0]
    if len(accept) > LONGEST_ACCEPT:
        raise WrongField("header.Accept", f"more than {LONGEST_ACCEPT} characters")
    wanted = _weights(accept)
    best, weight = "", 0.0
    for one in offered:
        kind = one.partition("/")[0] + "/*"
        ranges = (one, kind, "*/*") if one == offered[0] else (one,)
        found = next((wanted[name] for name in ranges if name in wanted), 0.0)
        if found > weight:
            best, weight = one, found
    if not best:
        raise Refused("not_acceptable", f"answered with {', '.join(offered)}")
    return best


def _weights(accept: str) -> dict[str, float]:
    """Parse the weights of an Accept header's ranges; an unreadable one weighs nothing."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "q":
                weight = float(value) if re.fullmatch(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)", value, re.ASCII) else 0.0
        weights[name] = weight
    return weights
