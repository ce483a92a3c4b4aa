"""Listeners of the control port: UNIX sockets and TLS, and the identity of the peer at each."""

import re
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID
from msgspec import Struct
from twisted.internet.endpoints import UNIXServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from cmmd.endpoints import split_endpoint
from cmmd.fleet.roles import ROLES, Role
from cmmd.tls.files import TLSFiles
from cmmd.tls.server import ServerTLS
from cmmd.wire.quoting import printable

__all__ = [
    "LONGEST_REQUESTER",
    "Door",
    "ServerTLS",
    "SocketInUse",
    "TLSSettings",
    "clear_stale",
    "person_of",
    "requester",
    "role_of",
    "tls_doors",
    "tls_peer",
    "unix_doors",
    "unix_peer",
]

log = Logger()


LONGEST_REQUESTER = 64
"""Characters. What the door knows is never cut for what the client says."""

LONGEST_NAME = 48

_PROCESS = re.compile(r"\A(uid [0-9]+) pid [0-9]+\Z", re.ASCII)

_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid


def unix_peer(transport: Any) -> str:
    """The user at the other end of a UNIX socket, from the kernel (SO_PEERCRED)."""
    credentials = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return f"uid {uid} pid {pid}"


def tls_peer(transport: Any) -> str:
    """The common name of the certificate at the other end, which has been checked against the CA."""
    certificate = _certificate(transport)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if names:
        return f"CN {_plain(str(names[0].value))[:LONGEST_NAME]}"
    return f"certificate {certificate.serial_number:x}"[:LONGEST_NAME]


def person_of(known: str) -> str:
    """Leave out of what a door knows which process it was: the next one of the same user is the same person."""
    return _PROCESS.sub(r"\1", known)


def requester(said: str | None, known: str) -> str:
    """Name the peer for the audit: ``alice (uid 1000 pid 4711)``.

    :param said: what the client says; nothing in it looks like what the door knows.
    :param known: what the door knows.
    """
    room = LONGEST_REQUESTER - len(known) - len(" ()")
    text = _plain(said or "")[: max(room, 0)].strip()
    return f"{text} ({known})" if text else f"({known})"


def _plain(text: str) -> str:
    """One printable line without brackets."""
    return printable(text).translate({ord("("): "[", ord(")"): "]"})


MODE = 0o600
"""Of a socket, where the endpoint string does not say: its owner's."""

BACKLOG = 50

_OPTIONS = {"mode", "backlog"}
_NETWORK = ("tcp", "tcp6")


class SocketInUse(Exception):
    """The UNIX socket is served by another process, or the path is no socket."""


class TLSSettings(Struct, frozen=True):
    """``[control.tls]``: endpoint strings without TLS in them, and files.

    :ivar revoked: certificates that count no more; None: there is no such file.
    :ivar default_role: of a certificate that names none.
    """

    listen: Sequence[str]
    files: TLSFiles
    revoked: Path | None = None
    default_role: Role = "admin"


class Door(Struct, frozen=True):
    """One place where programs come in.

    :ivar string: as it is configured.
    :ivar known: who is at the other end of a transport.
    :ivar role: what that one may.
    :ivar counts: whether the one at the other end, who was let in, still counts.
    :ivar socket: the file of a UNIX socket; None: it is another kind of door.
    :ivar tls: its side of TLS; None: it has none.
    """

    string: str
    endpoint: IStreamServerEndpoint
    known: Callable[[Any], str]
    role: Callable[[Any], Role] = lambda _: "admin"
    counts: Callable[[Any], bool] = lambda _: True
    socket: Path | None = None
    tls: ServerTLS | None = None


def unix_doors(listen: Sequence[str], state: Path, reactor: Any) -> list[Door]:
    """The doors of ``[control] listen``.

    :param listen: endpoint strings ``unix:PATH[:mode=OCTAL][:backlog=N]``.
    :param state: what relative paths are relative to.
    :raises ValueError: a string is wrong, or is of another kind: without TLS no network listener is allowed.
    """
    return [_unix_door(string, state, reactor) for string in listen]


def _unix_door(string: str, state: Path, reactor: Any) -> Door:
    scheme, places, named = split_endpoint(string)
    if scheme != "unix":
        raise ValueError(
            f"control.listen: {string!r}: only unix: endpoints; programs on other machines come in by control.tls"
        )
    if "address" in named:
        places.append(named.pop("address"))
    if len(places) != 1 or not places[0] or not named.keys() <= _OPTIONS:
        raise ValueError(f"control.listen: {string!r}: unix:PATH[:mode=OCTAL][:backlog=N] expected")
    try:
        mode, backlog = int(named.get("mode", oct(MODE)), 8), int(named.get("backlog", BACKLOG))
    except ValueError:
        raise ValueError(f"control.listen: {string!r}: mode and backlog are numbers") from None
    path = state / places[0]
    endpoint = UNIXServerEndpoint(reactor, str(path), backlog=backlog, mode=mode, wantPID=False)
    return Door(string, endpoint, unix_peer, socket=path)


def tls_doors(settings: TLSSettings, reactor: Any) -> list[Door]:
    """The doors of ``[control.tls]``; the files are read now.

    :raises ValueError: a string or a file cannot be used.
    """
    if not settings.listen:
        return []
    try:
        tls = ServerTLS(settings.files, revoked=settings.revoked)
    except ValueError as error:
        raise ValueError(f"control.tls: {error}") from None

    def role(transport: Any) -> Role:
        return role_of(_certificate(transport), settings.default_role)

    def counts(transport: Any) -> bool:
        return tls.counts(_certificate(transport))

    return [
        Door(string, _network_endpoint(string, reactor), tls_peer, role=role, counts=counts, tls=tls)
        for string in settings.listen
    ]


def role_of(certificate: Certificate, default: Role) -> Role:
    """Give the role that a certificate's organizational unit names (OU=viewer and so on), the least one of several.

    Case and blanks around it do not matter. A unit that names no role may be a misspelt one: it is good for the least.

    :param default: of a certificate without any unit.
    """
    units = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    if not units:
        return default
    named = {unit.strip().casefold() for unit in units}
    found = next((role for role in ROLES if role in named), None)
    if found is None:
        log.warn(
            "certificate of {name}: OU={units} names no role; it is good for {role}",
            name=printable(certificate.subject.rfc4514_string())[:LONGEST_REQUESTER],
            units=printable(",".join(units))[:LONGEST_REQUESTER],
            role=ROLES[0],
        )
    return found or ROLES[0]


def _certificate(transport: Any) -> Certificate:
    """The certificate at the other end, which has been checked against the CA."""
    found: Certificate = transport.getPeerCertificate().to_cryptography()
    return found


def _network_endpoint(string: str, reactor: Any) -> IStreamServerEndpoint:
    if string.partition(":")[0] not in _NETWORK:
        raise ValueError(f"control.tls.listen: {string!r}: tcp: and tcp6: endpoints; TLS comes by itself")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, string)
    except Exception as error:  # its parsers raise what they like
        raise ValueError(f"control.tls.listen: {string!r}: {error}") from None
    return endpoint


def clear_stale(path: Path) -> None:
    """Remove the socket file that a daemon has left behind that was killed. Call it with the state directory locked.

    The lock says nothing about a path outside of the state directory: so no process may answer there either.

    :raises SocketInUse: another process serves the socket, or the path is no socket.
    :raises OSError: it cannot be looked at, or removed.
    """
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise SocketInUse(f"{path} is there and no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # so many wait to be let in
    raise SocketInUse(f"another process serves at {path}")
