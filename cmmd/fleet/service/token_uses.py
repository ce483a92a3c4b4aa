"""The last use of each token, kept beside the tokens, and written by the daemon alone."""

from pathlib import Path

import msgspec
from twisted.logger import Logger

from cmmd.fleet.service.tokens import TokensUnusable, write_private

__all__ = ["TokenUses", "read_uses"]

log = Logger()

FILE = "token_uses.json"

WRITE_MS = 60_000
"""A use is on disk after so long, at most, where the token is used all the time; or at an orderly end."""


class _File(msgspec.Struct, frozen=True):
    uses: dict[str, int]


def read_uses(state: Path) -> dict[str, int]:
    """Read when tokens were used last, in milliseconds since 1970, by their names; none where that is not known."""
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=_File).uses
    except (OSError, msgspec.MsgspecError):
        return {}


class TokenUses:
    """The last uses, as the daemon sees them.

    :param state: the directory of the tokens.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
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
            write_private(self._path, _File(self._uses), durable=False)
        except TokensUnusable as error:
            log.warn("web: last uses of tokens are not kept: {error}", error=error)
