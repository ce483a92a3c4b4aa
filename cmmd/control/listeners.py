"""Where programs come in, from endpoint strings: UNIX sockets for this machine, TLS for others, nothing else."""

import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from twisted.internet.endpoints import UNIXServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from cmmd.control.peers import tls_peer, unix_peer
from cmmd.control.tls import ServerTLS
from cmmd.endpoints import split_endpoint
from cmmd.tls.files import TLSFiles

__all__ = ["Door", "SocketInUse", "TLSSettings", "clear_stale", "tls_doors", "unix_doors"]

MODE = 0o600
"""Of a socket, where the endpoint string does not say: its owner's."""

BACKLOG = 50

_OPTIONS = {"mode", "backlog"}
_NETWORK = ("tcp", "tcp6")


class SocketInUse(Exception):
    """Somebody serves at this UNIX socket, or it is no socket at all."""


class TLSSettings(Struct, frozen=True):
    """``[control.tls]``: endpoint strings without TLS in them, and files."""

    listen: Sequence[str]
    files: TLSFiles


class Door(Struct, frozen=True):
    """One place where programs come in.

    :ivar string: as it is configured.
    :ivar known: who is at the other end of a transport.
    :ivar socket: the file of a UNIX socket; None: it is another kind of door.
    :ivar tls: its side of TLS; None: it has none.
    """

    string: str
    endpoint: IStreamServerEndpoint
    known: Callable[[Any], str]
    socket: Path | None = None
    tls: ServerTLS | None = None


def unix_doors(listen: Sequence[str], state: Path, reactor: Any) -> list[Door]:
    """The doors of ``[control] listen``.

    :param listen: endpoint strings ``unix:PATH[:mode=OCTAL][:backlog=N]``.
    :param state: what relative paths are relative to.
    :raises ValueError: a string is wrong, or is of another kind: without TLS nobody comes in over a network.
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
        tls = ServerTLS(settings.files)
    except ValueError as error:
        raise ValueError(f"control.tls: {error}") from None
    return [Door(string, _network_endpoint(string, reactor), tls_peer, tls=tls) for string in settings.listen]


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

    The lock says nothing about a path outside of the state directory: so nobody may answer there either.

    :raises SocketInUse: see there.
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
    raise SocketInUse(f"somebody serves at {path}")
