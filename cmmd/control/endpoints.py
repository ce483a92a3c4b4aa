"""Find the endpoint of a daemon from what the operator writes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from cmmd.endpoints import split_endpoint

if TYPE_CHECKING:
    from cmmd.tls.files import TLSFiles

__all__ = ["SOCKET", "client_endpoint"]

SOCKET = "control.sock"
"""Of a daemon, in its state directory, where the configuration says nothing else."""

_FILES = ("certificate", "key", "ca")


def client_endpoint(where: Path | str, reactor: Any, tls: "TLSFiles | None" = None) -> IStreamClientEndpoint:
    """The way to a daemon.

    :param where: its state directory; or ``unix:PATH``; or ``tls:HOST:PORT:ca=FILE:certificate=FILE:key=FILE``, with
        ``:name=NAME`` where the certificate of the daemon is for another name than HOST.
    :param tls: the files, where the string does not name them.
    :raises ValueError: something else, or files that cannot be used.
    """
    if isinstance(where, Path):
        return UNIXClientEndpoint(reactor, str(where / SOCKET))
    scheme, places, named = split_endpoint(where)
    if scheme == "unix" and len(places) == 1 and not named:
        return UNIXClientEndpoint(reactor, places[0])
    if scheme == "tls" and len(places) == 2 and places[1].isdecimal() and named.keys() <= {*_FILES, "name"}:
        return _tls_endpoint(places[0], int(places[1]), named, reactor, tls)
    raise ValueError(f"{where!r}: unix:PATH or tls:HOST:PORT:ca=FILE:certificate=FILE:key=FILE expected")


def _tls_endpoint(
    host: str, port: int, named: dict[str, str], reactor: Any, tls: "TLSFiles | None"
) -> IStreamClientEndpoint:
    from cmmd.tls.files import TLSFiles, client_options  # slow to import, and not needed on a UNIX socket

    if tls is None:
        missing = [name for name in _FILES if name not in named]
        if missing:
            raise ValueError(f"tls:{host}:{port}: {', '.join(missing)} missing")
        tls = TLSFiles(**{name: Path(named[name]) for name in _FILES})
    return wrapClientTLS(client_options(named.get("name", host), tls.ca, tls), HostnameEndpoint(reactor, host, port))
