"""Sessions of browsers after a sign-in, in memory."""

import hmac
import re
import secrets
from collections import OrderedDict

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

__all__ = ["COOKIE", "IDLE_S", "LONGEST_S", "MOST_OF_TOKEN", "MOST_SESSIONS", "BrowserSessions", "Cookies", "SignIn"]

COOKIE = "cmmd_session"
"""How the cookie's name begins, but for the ``__Host-`` that it has over TLS."""

IDLE_S = 12 * 3600.0
"""Seconds after which an unused session ends."""

LONGEST_S = 7 * 86_400.0
"""Seconds after which any session ends."""

MOST_SESSIONS = 1000
"""Of more the one that was not used for longest ends."""

MOST_OF_TOKEN = 100
"""The same for one token: repeated sign-ins sign no other user out."""

_RANDOM_BYTES = 32


class Cookies:
    """The names of the session's cookie. Cookies know no ports: so each daemon of a host has a name of its own.

    :param instance: of this daemon, letters and digits; empty: there is none.
    """

    def __init__(self, instance: str = "") -> None:
        self._name = f"{COOKIE}_{instance}" if instance else COOKIE
        name = re.escape(self._name.encode())
        # Over TLS a cookie without the prefix may have been set by a page without TLS, or of a neighbouring host.
        self._secure = re.compile(rb"(?:^|;)\s*__Host-" + name + rb"=([^;]*)")
        self._either = re.compile(rb"(?:^|;)\s*(?:__Host-)?" + name + rb"=([^;]*)")

    def name(self, *, secure: bool) -> str:
        """Name the cookie that is set.

        :param secure: whether the browser has come by TLS: to us, or to a proxy before us.
        """
        return f"__Host-{self._name}" if secure else self._name

    def pattern(self, *, secure: bool) -> re.Pattern[bytes]:
        """Give what finds the cookie in a header; its group 1 is the value.

        :param secure: whether the request has come by TLS to us; behind a proxy that is not known.
        """
        return self._secure if secure else self._either


class SignIn(Struct):
    """One session of a browser.

    :ivar name: of the token that was shown, and its hash: a session ends with its token.
    :ivar csrf: what a page has to send along with whatever writes; other pages cannot know it.
    """

    name: str
    sha256: str
    csrf: str
    begun: float
    used: float

    def has(self, csrf: str) -> bool:
        """Tell whether this is its CSRF token."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))


class BrowserSessions:
    """All sessions. They end with the process.

    :param clock: for their ends.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, SignIn] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, name: str, sha256: str) -> tuple[str, SignIn]:
        """Start a session for a valid token.

        :return: the cookie's value, and the session.
        """
        now = self._clock.seconds()
        cookie, csrf = secrets.token_urlsafe(_RANDOM_BYTES), secrets.token_urlsafe(_RANDOM_BYTES)
        session = self._sessions[cookie] = SignIn(name, sha256, csrf, now, now)
        of_token = [one for one, other in self._sessions.items() if other.name == name]
        if len(of_token) > MOST_OF_TOKEN:
            del self._sessions[of_token[0]]
        elif len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie, session

    def find(self, cookie: str) -> SignIn | None:
        """The session of a cookie, which counts as used; None: there is none, or it has ended."""
        session = self._sessions.get(cookie)
        if session is None:
            return None
        if self._is_over(session):
            del self._sessions[cookie]
            return None
        session.used = self._clock.seconds()
        self._sessions.move_to_end(cookie)
        return session

    def is_open(self, session: SignIn) -> bool:
        """Tell whether a session has not ended. This does not count as use."""
        return not self._is_over(session) and any(one is session for one in self._sessions.values())

    def _is_over(self, session: SignIn) -> bool:
        now = self._clock.seconds()
        return now - session.used > IDLE_S or now - session.begun > LONGEST_S

    def end(self, cookie: str) -> None:
        """End a session at sign-out. Without such a session nothing happens."""
        self._sessions.pop(cookie, None)
