"""Links that sign a browser in once: for the first sign-in of an installation, and when no token is at hand.

A link has a secret of its own, of which the state directory has the SHA-256. Using it makes a token that ends with the
longest session; that token is not shown, so it serves this one browser.
"""

import hmac
import secrets
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from cmmd.fleet.roles import Role
from cmmd.fleet.service.tokens import Scope, Token, Tokens, TokensUnusable, write_private

__all__ = ["LINK_S", "MOST_LINKS", "SignInLinks", "is_of_link", "link_of"]

log = Logger()

FILE = "links.json"

LINK_S = 86_400.0
"""Seconds that a link counts."""

TOKEN_S = 7 * 86_400.0
"""Seconds that the token counts which a link makes: as long as the longest session."""

MOST_LINKS = 20
"""Links that count at once; of more the oldest end."""

_RANDOM_BYTES = 32
_NAMES = "link-"
_SCOPES: tuple[Scope, ...] = ("console",)


class _Link(Struct, frozen=True, kw_only=True):
    sha256: str
    role: Role
    expires_at: int


class _File(Struct, frozen=True):
    links: list[_Link]


class SignInLinks:
    """The links of one state directory.

    :param state: the directory.
    """

    def __init__(self, state: Path) -> None:
        self._tokens = Tokens(state)
        self._path = state / FILE

    def make(self, role: Role, now_ms: int) -> str:
        """Make a link's secret.

        :raises TokensUnusable: the state directory cannot be written.
        """
        secret = secrets.token_urlsafe(_RANDOM_BYTES)
        made = _Link(sha256=_digest(secret), role=role, expires_at=now_ms + int(LINK_S * 1000))
        with self._tokens.editing():
            write_private(self._path, _File([*self._read(now_ms), made][-MOST_LINKS:]))
        return secret

    def use(self, secret: str, now_ms: int) -> Token | None:
        """Use a link up, and make its token; None: there is no such link, or not any more.

        :raises TokensUnusable: the state directory cannot be written.
        """
        digest = _digest(secret)
        with self._tokens.editing():
            links = self._read(now_ms)
            found = [one for one in links if hmac.compare_digest(one.sha256, digest)]
            if not found:
                return None
            # The link is gone from the disk before its token is there: a crash between loses it, and never doubles it.
            write_private(self._path, _File([one for one in links if one not in found]))
        name = f"{_NAMES}{secrets.token_hex(4)}"
        self._tokens.add(name, found[0].role, expires_at=now_ms + int(TOKEN_S * 1000), scopes=_SCOPES)
        return self._tokens.named(name)

    def _read(self, now_ms: int) -> list[_Link]:
        """Give the links that count."""
        try:
            links = msgspec.json.decode(self._path.read_bytes(), type=_File).links
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokensUnusable(f"{self._path}: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise TokensUnusable(f"{self._path}: {error}") from None
        return [one for one in links if one.expires_at > now_ms]


def is_of_link(token: Token) -> bool:
    """Tell whether a link has made a token: no caller knows it, so it signs no other browser in."""
    return token.name.startswith(_NAMES) and token.scopes == _SCOPES and token.expires_at is not None


def link_of(base: str, secret: str) -> str:
    """Make the address that a browser opens. The secret is behind ``#``, which no browser sends and no proxy logs.

    :param base: such as ``http://127.0.0.1:21380/``.
    """
    return f"{base.rstrip('/')}/#link={secret}"


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
