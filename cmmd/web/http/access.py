"""Authenticate the caller of a request, and check the role."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from cmmd.fleet.commands.queue import Requester
from cmmd.fleet.devices.password_check import Throttle, Throttled
from cmmd.fleet.roles import Role, may
from cmmd.fleet.service.tokens import Scope, Token, Tokens, TokenUses
from cmmd.web.http.browser_sessions import COOKIE, BrowserSessions, SignIn
from cmmd.web.http.problems import Forbidden, Refused, Unauthorized, refuse

__all__ = ["ANONYMOUS", "CSRF", "DOOR", "Access", "Caller", "WrongToken", "address_of"]

DOOR = "http"
"""How the audit calls this way in."""

CSRF = "X-CSRF-Token"
"""The header with the CSRF token, which writes with a session need."""

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")

SAFE_METHODS = (b"GET", b"HEAD", b"OPTIONS")

LONGEST_CREDENTIAL = 200
"""Characters of a token, a cookie, a CSRF token. Ours have less."""

_PROXIED = (
    *(b"x-forwarded", b"x-real-ip", b"forwarded", b"via", b"cf-", b"x-original-", b"true-client-ip", b"x-client-ip"),
    *(b"x-cluster-", b"x-proxy", b"proxy-", b"x-envoy-", b"x-amzn-", b"x-azure-", b"fastly-", b"cdn-loop"),
)
"""How headers begin that proxies add."""

_ANY = "any token"


class WrongToken(Unauthorized):
    """The token is unknown: a client that shows one has to wait for that answer."""


class Caller(Struct, frozen=True):
    """The caller of a request.

    :ivar name: of the token; ``localhost`` where there are no tokens at all.
    :ivar session: the session whose cookie was shown; None: a token was shown, or nothing.
    :ivar sha256: of the token; empty: there are none.
    :ivar address: the host that asks; empty: not known.
    """

    name: str
    role: Role
    session: SignIn | None = None
    sha256: str = ""
    address: str = ""

    @property
    def by(self) -> Requester:
        """The caller, as the audit names it."""
        return Requester(f"token {self.name}", DOOR, self.role)


ANONYMOUS = Caller("anonymous", "viewer")
"""The caller of an operation that needs no role."""


class Access:
    """Says who asks. Without any token there is only this machine, which may read.

    :param tokens: those that there are. :param uses: when they were used last. :param sign_ins: sessions of browsers.
    :param clock: for delays. :param now: Unix time in seconds.
    """

    def __init__(
        self, tokens: Tokens, uses: TokenUses, sign_ins: BrowserSessions, clock: IReactorTime, now: Callable[[], float]
    ) -> None:
        self.tokens = tokens
        self.uses = uses
        self._now = now
        self.sign_ins = sign_ins
        self._throttle = Throttle(clock)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    # --- who it is ---------------------------------------------------------------------------------------------------

    def caller(self, request: Any, scope: Scope = "api") -> Caller:
        """Find the caller of a request.

        :param scope: what a token has to count for; a session has been signed in for all of it.
        :raises Refused: the caller is unknown, or comes from another site's page, or has a session and no CSRF token.
        """
        self.check_origin(request)
        shown = request.getHeader("authorization")
        if shown is not None:
            token = self.of_token(_bearer(shown), address_of(request), scope)
            return Caller(token.name, token.role, None, token.sha256, address_of(request))
        cookie = _cookie(request)
        if cookie is not None:
            caller = self._of_cookie(cookie, address_of(request))
            if caller is not None:
                _check_csrf(request, caller)
                return caller
        if self.tokens.any:
            raise Unauthorized(
                "show a token: Authorization: Bearer TOKEN, or sign in" if cookie is None else "signed out"
            )
        self.check_open(request)
        return Caller("localhost", "viewer")

    def counts(self, caller: Caller) -> bool:
        """Tell whether who has asked may still ask. To look is no use of a session."""
        if not caller.sha256:
            return not self.tokens.any
        token = self.tokens.named(caller.name)
        if token is None or token.sha256 != caller.sha256 or token.role != caller.role:
            return False
        if token.why_not(caller.address, self._now_ms()):
            return False
        return caller.session is None or self.sign_ins.is_open(caller.session)

    def of_token(self, shown: str, address: str, scope: Scope) -> Token:
        """The token that a caller shows.

        :param address: the caller's host.
        :raises WrongToken: there is no such token. :raises Unauthorized: it does not count, now or from there.
        :raises Forbidden: it does not count for this.
        """
        token = self.tokens.find(shown) if len(shown) <= LONGEST_CREDENTIAL else None
        if token is None:
            raise WrongToken("this token is unknown")
        why_not = token.why_not(address, self._now_ms())
        if why_not:
            raise Unauthorized(why_not)
        if not token.has_scope(scope):
            raise Forbidden(f"this token counts for {', '.join(token.scopes)} only")
        self.uses.used(token.name, self._now_ms())
        return token

    def _of_cookie(self, cookie: str, address: str) -> Caller | None:
        session = self.sign_ins.find(cookie)
        if session is None:
            return None
        token = self.tokens.named(session.name)
        if token is None or token.sha256 != session.sha256 or token.why_not(address, self._now_ms()):
            self.sign_ins.end(cookie)
            return None
        self.uses.used(token.name, self._now_ms())
        return Caller(token.name, token.role, session, token.sha256, address)

    def check_open(self, request: Any) -> None:
        """Without tokens, accept a caller on this machine only: no page that a browser was lured to, and no proxy.

        :raises Unauthorized: it is another one.
        """
        if self.tokens.any:
            return
        names = (name.lower() for name, _ in request.requestHeaders.getAllRawHeaders())
        proxied = any(name.startswith(_PROXIED) for name in names) or request.clientproto != b"HTTP/1.1"
        if proxied or not is_loopback(address_of(request)) or not _names_this_port(request):
            raise Unauthorized(
                "there are no tokens yet, so this is for http://localhost and for reading: cmmctl token add NAME"
            )

    # --- permission -------------------------------------------------------------------------------------------------

    def check_role(self, caller: Caller, needed: Role) -> None:
        """Refuse a caller without the role.

        :raises Forbidden: the role does not allow it.
        """
        if not may(caller.role, needed):
            why = "without tokens nothing can be changed" if not self.tokens.any else f"{caller.name} is {caller.role}"
            raise Forbidden(f"this needs the role {needed}; {why}")

    def check_origin(self, request: Any) -> None:
        """Refuse a request from a page of another host.

        :raises Refused: it does.
        """
        origin = request.getHeader("origin")
        site = request.getHeader("sec-fetch-site")
        foreign = site is not None and site.lower() not in ("same-origin", "none")
        if origin is not None:
            host = (request.getHeader("host") or "").lower()
            scheme, _, named = origin.lower().partition("://")
            foreign = foreign or named != host or not host or (request.isSecure() and scheme != "https")
        if foreign:
            raise Refused("foreign_origin", "pages of other hosts may not ask here")

    # --- wrong tokens ------------------------------------------------------------------------------------------------

    async def refuse_late(self, request: Any, error: WrongToken) -> None:
        """Answer a wrong token after 1, 2, 4 ... 30 s, one of each address at a time; the next one with 429 at once.

        Right tokens are not held up, by whatever comes from the same address: it may be a proxy's. Nor do they set the
        count back, as a right password does: the owner of one token would guess others behind it. It ends by itself.
        """
        if request.channel.no_room:  # a place that is for others does not wait
            refuse(request, Refused("too_many_connections", request.channel.no_room))
            return
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        try:
            await self._hold(request)
        except Refused as refused:
            refuse(request, refused)
        else:
            if not gone:
                refuse(request, error)

    async def _hold(self, request: Any) -> None:
        """Return when it is time to answer, or no caller waits for it any more, who holds no place then.

        :raises Refused: another one of this address is held already.
        """
        address = address_of(request)
        self._throttle.failed(_ANY, address)
        held = Deferred.fromCoroutine(self._throttle.admit(_ANY, address))
        request.notifyFinish().addErrback(lambda _: held.cancel())
        try:
            await held
        except CancelledError:
            return
        except Throttled:
            left = max(self._throttle.delay_left_s(_ANY, address), 1.0)
            raise Refused(
                "too_many_requests", "too many wrong tokens from this address", Retry_After=f"{left:.0f}"
            ) from None


def address_of(request: Any) -> str:
    """The host at the other end; empty: none that has an address."""
    return str(getattr(request.client, "host", ""))


def is_loopback(address: str) -> bool:
    """Tell whether it is this machine."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)


def is_safe(request: Any) -> bool:
    """Tell whether its method only reads."""
    return request.method in SAFE_METHODS


def _names_this_port(request: Any) -> bool:
    """Tell whether the Host header is this machine's name with the port that the request came to.

    A proxy that passes on ``localhost`` from a stranger (nginx's ``$host``) leaves the port out, or has its own there.
    """
    name, _, port = (request.getHeader("host") or "").lower().rpartition(":")
    return name in LOCAL_NAMES and port == str(getattr(request.getHost(), "port", ""))


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Authorization: Bearer TOKEN is all that is known here")
    return token.strip()


def _cookie(request: Any) -> str | None:
    shown = request.received_cookies.get(COOKIE.encode())
    if shown is None or len(shown) > LONGEST_CREDENTIAL:
        return None
    return str(shown.decode("ascii", "replace"))


def _check_csrf(request: Any, caller: Caller) -> None:
    assert caller.session is not None, "it is a session's"
    if is_safe(request):
        return
    shown = request.getHeader(CSRF.lower()) or ""
    if len(shown) > LONGEST_CREDENTIAL or not caller.session.has(shown):
        raise Refused("bad_csrf_token", f"what a session writes needs the {CSRF} that came with it")
