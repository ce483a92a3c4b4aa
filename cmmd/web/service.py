"""The web as a service: from open doors to an orderly end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cmmd.controllers.catalog import Catalog
from cmmd.fleet.service.operations import ControlService
from cmmd.fleet.service.sign_in_links import SignInLinks, is_of_link, link_of
from cmmd.fleet.service.tokens import Token, Tokens, TokensUnusable, TokenUses
from cmmd.web.api.context import ApiContext, Keys
from cmmd.web.api.event_broker import EventBroker
from cmmd.web.api.openapi import document
from cmmd.web.api.operation import Encoded
from cmmd.web.api.resource import ApiResource
from cmmd.web.api.table import OPERATIONS
from cmmd.web.console import Console, Tiles
from cmmd.web.http.access import Access, is_loopback
from cmmd.web.http.browser_sessions import BrowserSessions, Cookies
from cmmd.web.http.connections import LimitedSite
from cmmd.web.http.site import site
from cmmd.web.http.streaming_body import CooperativeScheduler
from cmmd.web.metrics.metrics import Monitoring

__all__ = ["LONGEST_CLOSE_S", "Web", "WebDoor", "WebError"]

log = Logger()

LONGEST_CLOSE_S = 2.0
"""Seconds that answers have to leave in when everything ends."""

POLL_S = 0.05

NO_TILES = Tiles()

SCANS = 4
"""Requests that go through many readings at once; others wait."""


class WebError(Exception):
    """A door cannot be opened; one line that names it."""


class WebDoor(Struct, frozen=True):
    """An endpoint string of ``[web] listen``, and what it says."""

    string: str
    endpoint: IStreamServerEndpoint


class Web:
    """The way in for people, programs and Prometheus.

    :param doors: where. :param operations: what can be asked and done. :param state: the directory with the tokens.
    :param monitoring: has the metrics; None: there are none.
    :param now: Unix time in seconds. :param reactor: for whatever waits.
    :param pieces: for long work; shared, all of it together holds the reactor no longer than one. None: its own.
    :param tiles: for the map. :param instance: of this daemon, in the name of the session's cookie.
    """

    def __init__(
        self,
        doors: Sequence[WebDoor],
        operations: ControlService,
        *,
        catalog: Catalog,
        state: Path,
        monitoring: Monitoring | None = None,
        now: Callable[[], float],
        reactor: Any,
        pieces: CooperativeScheduler | None = None,
        tiles: Tiles = NO_TILES,
        instance: str = "",
    ) -> None:
        self._doors = doors
        self._now = now
        self._monitoring = monitoring
        self._reactor = reactor
        self._ports: list[IListeningPort] = []
        fleet = operations.fleet
        pieces = self.pieces = pieces or CooperativeScheduler(reactor)
        self.feed = EventBroker(fleet, operations.dispatch, pieces, reactor, int(now() * 1000))
        self.access = Access(Tokens(state), TokenUses(state), BrowserSessions(reactor), reactor, now)
        around = ApiContext(
            desk=operations,
            access=self.access,
            catalog=catalog,
            clock=reactor,
            now=now,
            feed=self.feed,
            keys=Keys(reactor),
            pieces=pieces,
            scans=DeferredSemaphore(SCANS),
            document=Encoded.of(document()),
            links=SignInLinks(state),
        )
        api = ApiResource(OPERATIONS, around, self.access, reactor)
        root = site(
            Console(tiles, reactor),
            api=api,
            access=self.access,
            fleet=fleet,
            metrics=None if monitoring is None else monitoring.metrics,
            device_metrics=None if monitoring is None else monitoring.device_metrics,
        )
        security = operations.security

        def changed(what: str, token: Token) -> None:
            security.record(what, who="cmmctl", detail=f"{token.name}, {token.role}")

        self.access.tokens.changed = changed
        self.site = LimitedSite(root, reactor, Cookies(instance))

    @property
    def ports(self) -> Sequence[IListeningPort]:
        """List the listening ports, in the order of the doors."""
        return tuple(self._ports)

    async def listen(self) -> None:
        """Listen on all endpoints.

        :raises WebError: an address is taken, or not ours; nothing is listened on then.
        """
        for door in self._doors:
            try:
                port = await door.endpoint.listen(self.site)
            except (CannotListenError, OSError, OverflowError, ValueError) as error:
                self._stop_listening()  # not waited for: the start waits for nothing
                raise WebError(f"web: {door.string}: {error}") from None
            self._ports.append(port)
            log.info("console and API: {address}", address=_address_of(port, door.string))
            host = getattr(port.getHost(), "host", None)
            if host is not None and not is_loopback(host) and not door.string.startswith(("ssl:", "tls:")):
                log.warn("web: {door} is open to a network without TLS: tokens can be read there", door=door.string)
        if self._monitoring is not None:
            self._monitoring.start()
        if self._doors and not self.access.tokens.any:
            log.info(
                "web: only this machine may look; for others: cmmctl --state {state} token add NAME --role operator",
                state=self.access.tokens.folder,
            )

    def first_link(self, state: Path) -> str | None:
        """Make a link that signs in as an administrator.

        :param state: the directory with the tokens.
        :return: None: a token signs in already, no TCP port is open, the tokens cannot be read, so that no link would
            sign in, or the link cannot be kept, which is logged: devices are served all the same. Tokens of earlier
            links do not count: the sessions that had them ended with the process.
        """
        now_ms = int(self._now() * 1000)
        try:
            signs_in = any(one.signs_in(now_ms) and not is_of_link(one) for one in self.access.tokens.read())
        except TokensUnusable:
            return None
        addresses = [port.getHost() for port in self._ports]
        found = [one for one in addresses if hasattr(one, "port")]
        if signs_in or not found:
            return None
        door = self._doors[addresses.index(found[0])]
        scheme = "https" if door.string.startswith(("ssl:", "tls:")) else "http"
        try:
            secret = SignInLinks(state).make("admin", now_ms)
        except TokensUnusable as error:
            log.error("web: no link to sign in: {error}", error=error)
            return None
        return link_of(f"{scheme}://127.0.0.1:{found[0].port}/", secret)

    async def stop(self) -> None:
        """Take no more connections; let what was answered leave, two seconds at most, and end them all."""
        await self._stop_listening()
        if self._monitoring is not None:
            self._monitoring.stop()
        self.access.uses.write(int(self._now() * 1000))
        self.feed.stop()
        until = self._reactor.seconds() + LONGEST_CLOSE_S
        self.site.end_idle()
        while len(self.site) and self._reactor.seconds() < until:
            await deferLater(self._reactor, POLL_S)
            self.site.end_idle()
        self.site.end()

    def _stop_listening(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        stopping: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in ports]
        return DeferredList(stopping, consumeErrors=True)


def _address_of(port: IListeningPort, string: str) -> str:
    """Format the address that an operator opens in a browser; an endpoint string where it is no TCP port."""
    address: Any = port.getHost()
    if not hasattr(address, "port"):
        return string
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{'https' if string.startswith(('ssl:', 'tls:')) else 'http'}://{host}:{address.port}/"
