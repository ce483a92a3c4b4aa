"""Tokens: who may come in over HTTP, and what for. A file of the state directory: cmmctl edits it, cmmd reads it again.

A token is 256 random bits, so its SHA-256 is all that needs to be kept: no token is found by trying, and so no slow
hash is needed against a reader of the file.
"""

import fcntl
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from cmmd.fleet.errors import Unavailable
from cmmd.fleet.roles import Role

__all__ = [
    "SCOPES",
    "BadTokenName",
    "NoSuchToken",
    "Scope",
    "Token",
    "TokenUses",
    "Tokens",
    "TokensUnusable",
    "checked_networks",
    "read_uses",
]

log = Logger()

__all__ += ["write_private"]

FILE = "tokens.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,31}")
_PREFIX = "cmmd_"
_RANDOM_BYTES = 32


class TokensUnusable(Unavailable):
    """The file cannot be read or written, or is no list of tokens."""


class BadTokenName(ValueError):
    """The name is not possible for a token, or taken."""


class NoSuchToken(LookupError):
    """There is no token of this name."""


Scope = Literal["api", "console", "metrics"]
"""Where a token counts: ``api`` as a bearer token of the API, ``console`` to sign in on a page, ``metrics`` for
``/metrics`` and below."""

SCOPES: tuple[Scope, ...] = ("api", "console", "metrics")


class Token(Struct, frozen=True, kw_only=True):
    """A token, without itself: ``sha256`` of it in hex, and when it was made, milliseconds since 1970, UTC.

    ``expires_at``: from when it counts no more, the same; None: never. ``networks``: from where it counts; none:
    from everywhere. ``scopes``: for what; none: for everything.
    """

    name: str
    role: Role
    sha256: str
    created_at: int
    expires_at: int | None = None
    networks: tuple[str, ...] = ()
    scopes: tuple[Scope, ...] = ()

    def why_not(self, address: str, now_ms: int) -> str:
        """Tell why the token does not count; empty: it does.

        :param address: the host that shows it; empty: a program at a UNIX socket, which has none.
        """
        if self.expires_at is not None and now_ms >= self.expires_at:
            return "this token has expired"
        if self.networks and not _is_in(address, self.networks):
            return "this token does not count from this address"
        return ""

    def has_scope(self, scope: Scope) -> bool:
        """Tell whether the token counts there."""
        return not self.scopes or scope in self.scopes

    def signs_in(self, now_ms: int) -> bool:
        """Tell whether a browser can sign in with the token now, from wherever it counts."""
        return self.has_scope("console") and (self.expires_at is None or now_ms < self.expires_at)


def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    try:
        host: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(host, IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    return any(host in ip_network(one, strict=False) for one in networks)


def checked_networks(networks: Iterable[str]) -> tuple[str, ...]:
    """Read networks such as ``192.0.2.0/24``, or single addresses.

    :raises BadTokenName: one is neither.
    """
    try:
        return tuple(str(ip_network(one, strict=False)) for one in networks)
    except ValueError as error:
        raise BadTokenName(f"network: {error}") from None


class _File(Struct, frozen=True):
    tokens: list[Token]


class Tokens:
    """The tokens of one state directory.

    :param state: the directory.
    :ivar changed: called for a token that has come or gone since the file was last looked at.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._path = state / FILE
        self._seen: tuple[int, ...] | None = None
        self._tokens: list[Token] = []
        self._known = False
        self.changed: Callable[[str, Token], None] = lambda _what, _token: None

    # --- to look a caller up ----------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The state directory, in full."""
        return self._path.parent.resolve()

    @property
    def any(self) -> bool:
        """Tell whether there is a file of tokens. Where it is empty, or cannot be read, no caller is admitted."""
        self._look()
        return self._seen != ()

    def find(self, token: str) -> Token | None:
        """Find the token that a client shows; None: there is none like it.

        It takes the same time whichever it is.
        """
        self._look()
        digest = sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        found: Token | None = None
        for one in self._tokens:
            if hmac.compare_digest(one.sha256, digest):
                found = one
        return found

    def named(self, name: str) -> Token | None:
        """The token of that name, as it is now; None: there is none any more."""
        self._look()
        return next((one for one in self._tokens if one.name == name), None)

    def reload(self) -> None:
        """Read the file again, even if it looks as before."""
        self._seen = None
        self._look()

    def _look(self) -> None:
        """Read the file again, if it is another one than before."""
        try:
            stat = self._path.stat()
            seen: tuple[int, ...] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except FileNotFoundError:
            seen = ()
        except OSError:
            seen = (-1,)
        if seen == self._seen:
            return
        self._seen = seen
        before, known = {one.name: one for one in self._tokens}, self._known
        self._known = True
        try:
            self._tokens = self.read()
            if known:
                self._tell_changes(before)
        except TokensUnusable as error:
            # Those from before would include what was meant to be revoked.
            self._tokens = []
            log.error("{error}; no token counts until it can be read", error=error)

    def _tell_changes(self, before: Mapping[str, Token]) -> None:
        now = {one.name: one for one in self._tokens}
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                self.changed("token_made" if name in now else "token_revoked", now.get(name) or before[name])

    # --- to edit -----------------------------------------------------------------------------------------------------

    def read(self) -> list[Token]:
        """All tokens, as the file has them now.

        :raises TokensUnusable: the file of tokens cannot be read or written.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File).tokens
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokensUnusable(f"{self._path}: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise TokensUnusable(f"{self._path}: {error}") from None

    def add(
        self,
        name: str,
        role: Role,
        *,
        expires_at: int | None = None,
        networks: Iterable[str] = (),
        scopes: Iterable[Scope] = (),
    ) -> str:
        """Make a token; the limits are as in Token.

        :return: it; cmmd cannot show it again.
        :raises BadTokenName: a token cannot have this name, or one has it.
        :raises TokensUnusable: the file of tokens cannot be read or written.
        """
        if _NAME.fullmatch(name) is None:
            raise BadTokenName(f"{name!r}: 1 to 32 letters, digits and ._@-, a letter or digit first")
        token = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        made = Token(
            name=name,
            role=role,
            sha256=sha256(token.encode()).hexdigest(),
            created_at=int(time.time() * 1000),
            expires_at=expires_at,
            networks=checked_networks(networks),
            scopes=tuple(scopes),
        )
        with self.editing():
            tokens = self.read()
            if any(one.name == name for one in tokens):
                raise BadTokenName(f"there is a token {name} already")
            self._write([*tokens, made])
        return token

    def revoke(self, name: str) -> None:
        """Let a token count no more.

        :raises NoSuchToken: no token has this name.
        :raises TokensUnusable: the file of tokens cannot be read or written.
        """
        with self.editing():
            tokens = self.read()
            left = [one for one in tokens if one.name != name]
            if len(left) == len(tokens):
                raise NoSuchToken(f"no token {name}")
            self._write(left)

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Be the only one that changes what the state directory has of tokens.

        :raises TokensUnusable: there is no such directory.
        """
        try:
            folder = os.open(self._state, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise TokensUnusable(f"{self._state}: {error.strerror}") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _write(self, tokens: list[Token]) -> None:
        write_private(self._path, _File(tokens))


def write_private(path: Path, content: Struct, *, durable: bool = True) -> None:
    """Write a file of the state directory as JSON, for the daemon's user alone; a reader sees the old one or the new.

    :param durable: whether it is on disk when this returns.
    :raises TokensUnusable: it cannot be written.
    """
    fresh = path.with_suffix(".new")
    try:
        with suppress(FileNotFoundError):
            fresh.unlink()
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            owner = path.parent.stat()
            if os.geteuid() == 0:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)  # the daemon's, for every caller
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise TokensUnusable(f"{fresh}: {error.strerror}") from None


_USES_FILE = "token_uses.json"

WRITE_MS = 60_000
"""A use is on disk after so long, at most, where the token is used all the time; or at an orderly end."""


class _Uses(msgspec.Struct, frozen=True):
    uses: dict[str, int]


def read_uses(state: Path) -> dict[str, int]:
    """Read when tokens were used last, in milliseconds since 1970, by their names; none where that is not known."""
    try:
        return msgspec.json.decode((state / _USES_FILE).read_bytes(), type=_Uses).uses
    except (OSError, msgspec.MsgspecError):
        return {}


class TokenUses:
    """The last uses, as the daemon sees them.

    :param state: the directory of the tokens.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / _USES_FILE
        self._uses = read_uses(state)
        self._written_ms = 0
        self._changed = False

    def used(self, name: str, now_ms: int) -> None:
        """Note that a token is used now."""
        if now_ms - self._uses.get(name, -WRITE_MS) < 1000:
            return  # a file each minute, and no work for each request
        self._uses[name] = now_ms
        self._changed = True
        if now_ms - self._written_ms >= WRITE_MS:
            self.write(now_ms)

    def write(self, now_ms: int) -> None:
        """Put the last uses on disk, where there are new ones."""
        if not self._changed:
            return
        self._written_ms, self._changed = now_ms, False
        try:
            write_private(self._path, _Uses(self._uses), durable=False)
        except TokensUnusable as error:
            log.warn("web: last uses of tokens are not kept: {error}", error=error)
