"""Build the parts of the daemon that its configuration describes; a value that cannot be used is a ConfigError."""

from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from cmmd import config
from cmmd.control.listeners import Door, TLSSettings, tls_doors, unix_doors
from cmmd.controllers.catalog import Catalog, load_catalog
from cmmd.controllers.entries import ProfileError
from cmmd.endpoints import PROXY_WRAPPER, in_state, split_endpoint
from cmmd.fleet.devices.enrolment import AcceptRules
from cmmd.fleet.devices.networks import BadNetwork, Networks
from cmmd.server.listeners import Listener, Role, roles_by_endpoint
from cmmd.store.interface import IStore
from cmmd.store.memory import MemoryStore
from cmmd.store.outbox.known import Known
from cmmd.store.outbox.spool import Spool
from cmmd.store.outbox.spooled import SpooledStore
from cmmd.store.sqlite.store import SQLiteStore
from cmmd.store.urls import store_at
from cmmd.tls.files import TLSFiles
from cmmd.tls.server import RELOADABLE, ClientCertificates, TLSEndpoint, endpoint_with_tls
from cmmd.web.console import BadTiles, Tiles
from cmmd.web.service import WebDoor

__all__ = [
    "accept_rules_of",
    "catalog_of",
    "control_doors",
    "device_listeners",
    "networks_of",
    "store_of",
    "tiles_of",
    "web_doors",
]

BACKLOG = 4096
"""Connections that the kernel may hold for us, as far as its somaxconn lets it: a whole fleet comes back at once."""


def device_listeners(settings: config.Server, state: Path, reactor: object) -> list[Listener]:
    """Build the listeners for devices, one for each endpoint string.

    :raises ConfigError: a value cannot be used.
    """
    listeners: list[Listener] = []
    roles = roles_by_endpoint({Role.LOGIN: settings.login, Role.LIVE: settings.live, Role.HISTORIC: settings.historic})
    trusted = networks_of("server.trusted_proxies", settings.trusted_proxies)
    clients = _client_certificates(settings.tls, state)
    for string, its_roles in roles.items():
        try:
            inner, proxies = _behind_proxy(string, trusted)
            endpoint = _endpoint(_with_backlog(inner), state, reactor, f"server.{min(its_roles)}", clients)
            listeners.append(Listener(string, endpoint, its_roles, proxies))
        except Exception as error:  # endpoint parsers, some of them plugins, raise what they like
            raise config.ConfigError(f"server.{min(its_roles)}: endpoint {string!r}: {error}") from None
    if clients is not None and not any(isinstance(one.endpoint, TLSEndpoint) for one in listeners):
        raise config.ConfigError("server.tls.client_ca: no endpoint of devices is ssl:")
    return listeners


def _behind_proxy(string: str, trusted: Networks) -> tuple[str, Networks | None]:
    """Take the wrapper off a string of an endpoint that a proxy connects to.

    :return: what is behind ``haproxy:``, and who is believed; None: devices connect by themselves.
    :raises ValueError: no proxy is trusted, or what is behind it is no TCP: headers come before TLS, never in it.
    """
    if not string.startswith(PROXY_WRAPPER):
        return string, None
    inner = string.removeprefix(PROXY_WRAPPER)
    if inner.partition(":")[0] not in ("tcp", "tcp6"):
        raise ValueError("haproxy: is for tcp: and tcp6: only; let the proxy end TLS")
    if not trusted:
        raise ValueError("haproxy: needs server.trusted_proxies, else every peer could name any address")
    return inner, trusted


def _client_certificates(settings: config.DeviceTLS, state: Path) -> ClientCertificates | None:
    if settings.client_ca:
        revoked = state / settings.revoked if settings.revoked else None
        return ClientCertificates(ca=state / settings.client_ca, revoked=revoked, required=settings.required)
    if settings.required or settings.revoked:
        raise config.ConfigError("server.tls: required and revoked need client_ca")
    return None


def accept_rules_of(texts: list[str]) -> AcceptRules:
    """Read the rules of the enrolment policy ``approve``.

    :raises ConfigError: one of them is neither a pattern nor a network.
    """
    try:
        return AcceptRules(texts)
    except BadNetwork as error:
        raise config.ConfigError(f"enrolment.accept: {error}") from None


def networks_of(key: str, texts: list[str]) -> Networks:
    """Parse the networks that a key lists.

    :raises ConfigError: a value cannot be used.
    """
    try:
        return Networks(texts)
    except BadNetwork as error:
        raise config.ConfigError(f"{key}: {error}") from None


def _endpoint(
    string: str, state: Path, reactor: Any, name: str, clients: ClientCertificates | None = None
) -> IStreamServerEndpoint:
    """Make an endpoint of a string; where Twisted would read its certificate once, one that can be read again.

    :raises Exception: the string or a file cannot be used.
    """
    string = in_state(string, state)
    scheme, _, named = split_endpoint(string)
    if scheme == "ssl" and (named.keys() <= RELOADABLE or clients is not None):
        return endpoint_with_tls(string, named, partial(serverFromString, reactor), reactor, name, clients)
    endpoint: IStreamServerEndpoint = serverFromString(reactor, string)
    return endpoint


def _with_backlog(string: str) -> str:
    scheme, _, _ = string.partition(":")
    if scheme not in ("tcp", "tcp6", "ssl") or "backlog=" in string:
        return string
    return f"{string}:backlog={BACKLOG}"


def control_doors(settings: config.Control, state: Path, reactor: Any) -> list[Door]:
    """Build the doors of the control port: UNIX sockets and TLS.

    :raises ConfigError: a value cannot be used.
    """
    tls = settings.tls
    files = (tls.certificate, tls.key, tls.client_ca)
    if tls.listen and not all(files):
        raise config.ConfigError("control.tls: listen needs certificate, key and client_ca")
    try:
        doors = unix_doors(settings.listen, state, reactor)
        revoked = state / tls.revoked if tls.revoked else None
        read = TLSFiles(*(state / file for file in files))
        doors += tls_doors(TLSSettings(tls.listen, read, revoked, tls.default_role), reactor)
    except ValueError as error:
        raise config.ConfigError(str(error)) from None
    return doors


def web_doors(settings: config.Web, state: Path, reactor: Any) -> list[WebDoor]:
    """Build the doors of the web side.

    :raises ConfigError: a value cannot be used.
    """
    doors: list[WebDoor] = []
    for string in settings.listen:
        try:
            if string.startswith(PROXY_WRAPPER):  # else every peer could say that it is this machine
                raise ValueError("haproxy: is for the ports of devices; let the proxy speak HTTP")
            doors.append(WebDoor(string, _endpoint(string, state, reactor, "web.listen")))
        except Exception as error:  # as above
            raise config.ConfigError(f"web.listen: endpoint {string!r}: {error}") from None
    return doors


def tiles_of(settings: config.Web) -> Tiles:
    """Build the source of map tiles, checked.

    :raises ConfigError: a value cannot be used.
    """
    tiles = Tiles(settings.tiles, settings.tiles_credit)
    try:
        tiles.source()
    except BadTiles as error:
        raise config.ConfigError(f"web.tiles: {error}") from None
    return tiles


def catalog_of(path: str, state: Path) -> Catalog:
    """Load the profiles, shipped and the owner's.

    :raises ConfigError: a value cannot be used.
    """
    try:
        return load_catalog(state / path if path else None)
    except ProfileError as error:
        raise config.ConfigError(f"controllers.path: {error}") from None


def store_of(settings: config.Store, state: Path, reactor: Any) -> IStore:
    """Build the store, with the spool in front of every store that can be unavailable.

    :raises ConfigError: a value cannot be used.
    """
    password_file = Path(settings.password_file) if settings.password_file else None
    try:
        store = store_at(settings.url, state, reactor, password_file)
    except ValueError as error:
        raise config.ConfigError(f"store.url: {error}") from None
    if isinstance(store, MemoryStore):
        return store  # never unavailable
    spool, known = state / "spool.sqlite", state / "known.sqlite"
    embedded = isinstance(store, SQLiteStore)
    if isinstance(store, SQLiteStore):
        if (state / settings.url.partition(":")[2]).resolve() in (spool.resolve(), known.resolve()):
            raise config.ConfigError(f"store.url: {settings.url!r} is where cmmd has something else")
        store.leave_free(2 * settings.spool_spare)  # else a full disk would leave no room for the spool
    return SpooledStore(
        store,
        Spool(spool, reactor, most_mib=settings.spool_max, spare_mib=settings.spool_spare),
        None if embedded else Known(known, reactor, reactor),
        reactor,
    )
