"""Tokens: who may come in over HTTP, and what for. A file of the state directory: cmmctl edits it, cmmd reads it again.

A token is 256 random bits, so its SHA-256 is all that needs to be kept: nobody finds a token by trying, and so no slow
hash is needed to hold somebody up who has the file.
"""

import fcntl
import hmac
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from cmmd.fleet.roles import Role

__all__ = ["BadTokenName", "NoSuchToken", "Token", "Tokens", "TokensUnusable"]

log = Logger()

FILE = "tokens.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,31}")
_PREFIX = "cmmd_"
_RANDOM_BYTES = 32


class TokensUnusable(Exception):
    """The file cannot be read or written, or is no list of tokens."""


class BadTokenName(ValueError):
    """Nobody can be called so, or somebody is already."""


class NoSuchToken(LookupError):
    """There is no token of this name."""


class Token(Struct, frozen=True, kw_only=True):
    """A token, without itself: ``sha256`` of it in hex, and when it was made, milliseconds since 1970, UTC."""

    name: str
    role: Role
    sha256: str
    created_at: int


class _File(Struct, frozen=True):
    tokens: list[Token]


class Tokens:
    """The tokens of one state directory.

    :param state: the directory.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._path = state / FILE
        self._seen: tuple[int, ...] | None = None
        self._tokens: list[Token] = []

    # --- to look somebody up -----------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The state directory, in full."""
        return self._path.parent.resolve()

    @property
    def any(self) -> bool:
        """Whether there is a file of tokens. Where it is empty, or cannot be read, nobody comes in."""
        self._look()
        return self._seen != ()

    def find(self, token: str) -> Token | None:
        """The token that somebody shows; None: there is none like it.

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
        try:
            self._tokens = self.read()
        except TokensUnusable as error:
            # Those from before would include what was meant to be revoked.
            self._tokens = []
            log.error("{error}; no token counts until it can be read", error=error)

    # --- to edit -----------------------------------------------------------------------------------------------------

    def read(self) -> list[Token]:
        """All tokens, as the file has them now.

        :raises TokensUnusable: see there.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File).tokens
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokensUnusable(f"{self._path}: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise TokensUnusable(f"{self._path}: {error}") from None

    def add(self, name: str, role: Role) -> str:
        """Make a token.

        :return: it; nobody can tell it again.
        :raises BadTokenName: see there. :raises TokensUnusable: see there.
        """
        if _NAME.fullmatch(name) is None:
            raise BadTokenName(f"{name!r}: 1 to 32 letters, digits and ._@-, a letter or digit first")
        token = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        made = Token(
            name=name, role=role, sha256=sha256(token.encode()).hexdigest(), created_at=int(time.time() * 1000)
        )
        with self._editing():
            tokens = self.read()
            if any(one.name == name for one in tokens):
                raise BadTokenName(f"there is a token {name} already")
            self._write([*tokens, made])
        return token

    def revoke(self, name: str) -> None:
        """Let a token count no more.

        :raises NoSuchToken: see there. :raises TokensUnusable: see there.
        """
        with self._editing():
            tokens = self.read()
            left = [one for one in tokens if one.name != name]
            if len(left) == len(tokens):
                raise NoSuchToken(f"no token {name}")
            self._write(left)

    @contextmanager
    def _editing(self) -> Iterator[None]:
        """Be the only one."""
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
        fresh = self._path.with_suffix(".new")
        try:
            with suppress(FileNotFoundError):
                fresh.unlink()
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                owner = self._state.stat()
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)  # the daemon's, whoever calls
                file.write(msgspec.json.format(msgspec.json.encode(_File(tokens)), indent=1) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise TokensUnusable(f"{fresh}: {error.strerror}") from None
