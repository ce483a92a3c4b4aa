r"""Endpoint strings as Twisted writes them: ``SCHEME:PLACE:NAME=VALUE``, where ``\:`` is a colon."""

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["PROXY_WRAPPER", "SOCKET_MODE", "in_state", "split_endpoint"]

SOCKET_MODE = "660"
"""Of a UNIX socket where the string names none; Twisted's default would accept every process."""

_PLACES: Mapping[str, tuple[str, ...]] = {
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"),
    "tls": ("path", "port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
}
"""How Twisted calls a part without a name, of the schemes with paths in them."""

_PATHS = ("privateKey", "certKey", "extraCertChain", "dhParameters", "path", "address")
_DEFAULTS: Mapping[str, Mapping[str, str]] = {"ssl": {"privateKey": "server.pem"}, "unix": {"mode": SOCKET_MODE}}
PROXY_WRAPPER = "haproxy:"
"""The endpoint that it is about follows it."""


def split_endpoint(string: str) -> tuple[str, list[str], dict[str, str]]:
    """Take an endpoint string apart: scheme, arguments, and arguments with a name."""
    places: list[str] = []
    named: dict[str, str] = {}
    for part in _split(string, ":"):
        name, *value = _split(part, "=", most=1)
        if value:
            named[_plain(name)] = _plain(value[0])
        else:
            places.append(_plain(name))
    return (places[0] if places else ""), places[1:], named


def in_state(string: str, state: Path) -> str:
    """An endpoint string to listen at, with its relative paths in the state directory, as all of the configuration's.

    What has no paths stays as it is, and so does what Twisted does not understand: it says why.
    """
    if string.startswith(PROXY_WRAPPER):
        return PROXY_WRAPPER + in_state(string.removeprefix(PROXY_WRAPPER), state)
    scheme, places, named = split_endpoint(string)
    names = _PLACES.get(scheme, ())
    if len(places) > len(names) or named.keys() & set(names[: len(places)]):
        return string
    said = {**_DEFAULTS.get(scheme, {}), **dict(zip(names, places, strict=False)), **named}
    for name in _PATHS:
        if name in names and said.get(name):
            said[name] = str(state / said[name])
    return ":".join([scheme, *(f"{name}={_quoted(value)}" for name, value in said.items())]) if names else string


def _split(text: str, at: str, most: int = -1) -> list[str]:
    """Split it where no backslash precedes."""
    parts, escaped = [""], False
    for character in text:
        if character == at and not escaped and len(parts) - 1 != most:
            parts.append("")
        else:
            parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")
