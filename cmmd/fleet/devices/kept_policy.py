"""The enrolment policy that an operator has set while the daemon runs: a file of the state directory."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from cmmd.fleet.devices.enrolment import Policy

__all__ = ["KeptPolicy"]

log = Logger()


class _File(Struct, frozen=True):
    policy: Policy
    configured: Policy


class KeptPolicy:
    """Remembers the policy that was set, until the configuration says another one than it did then.

    :param path: the file.
    :param configured: the policy of the configuration.
    """

    def __init__(self, path: Path, configured: Policy) -> None:
        self._path = path
        self._configured = configured

    def read(self) -> Policy:
        """Give the policy to begin with."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return self._configured
        except (OSError, msgspec.MsgspecError) as error:
            # Closed at the worst: what an operator has closed must not be open because a file is damaged.
            log.error("{path}: {error}; enrolment is `approve` until it is set again", path=self._path, error=error)
            return "known" if self._configured == "known" else "approve"
        return kept.policy if kept.configured == self._configured else self._configured

    def write(self, policy: Policy) -> None:
        """Keep a policy for the next start.

        :raises OSError: it cannot be kept.
        """
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(_File(policy, self._configured)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
