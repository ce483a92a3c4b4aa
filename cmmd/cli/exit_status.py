"""End a call of cmmctl: exit statuses, and the text that belongs to them (design section 4.1)."""

from collections.abc import Awaitable
from enum import IntEnum
from typing import TypeVar

from twisted.internet.defer import CancelledError

from cmmd.control.errors import CannotConnect, ControlError, InternalError, NotAllowed, NotUnderstood, OutcomeUnknown
from cmmd.store.interface import SchemaTooNew, StoreError, StoreUnavailable
from cmmd.store.tools.copying import CopyRefused

__all__ = ["ADVICE", "BY_OUTCOME", "Ends", "ExitStatus", "ending", "once"]

_Answer = TypeVar("_Answer")


class ExitStatus(IntEnum):
    """The exit status that the caller's shell gets."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNKNOWN = 3
    NO_CONNECTION = 4
    INTERRUPTED = 130


BY_OUTCOME = {
    "done": ExitStatus.DONE,
    "refused": ExitStatus.FAILED,
    "not sent": ExitStatus.FAILED,
    "timeout": ExitStatus.UNKNOWN,
    "lost": ExitStatus.UNKNOWN,
}
"""Of a command to a device. An outcome that is not in here, of a newer daemon, is unknown, too."""

ADVICE = "outcome unknown, the command may have been carried out: look at `cmmctl commands {hostid}`"


class Ends(Exception):
    """There is nothing more to do. ``code`` is for programs, the text for people; empty: nothing is said."""

    def __init__(self, status: ExitStatus, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


async def once(asking: Awaitable[_Answer], unknown: str) -> _Answer:
    """Wait for the answer to something that changes the world, and is never asked twice.

    :param unknown: the text for an unknown outcome.
    :raises Ends: so. :raises ControlError: it was not done.
    """
    try:
        return await asking
    except (OutcomeUnknown, InternalError, NotUnderstood) as error:
        raise Ends(ExitStatus.UNKNOWN, OutcomeUnknown.code, f"{unknown} ({error})") from None
    except ControlError:
        raise
    except CancelledError:
        raise Ends(ExitStatus.UNKNOWN, OutcomeUnknown.code, f"{unknown} (interrupted)") from None
    except Exception as error:  # a bug, and still the outcome is unknown
        raise Ends(ExitStatus.UNKNOWN, OutcomeUnknown.code, f"{unknown} ({type(error).__name__}: {error})") from error


def ending(error: Exception, place: object = "the daemon") -> Ends:
    """Translate an error into the end of the call.

    :param place: of the daemon.
    :raises Exception: the error itself: it is a bug.
    """
    match error:
        case Ends():
            return error
        case CannotConnect():
            return Ends(ExitStatus.NO_CONNECTION, error.code, f"cannot connect to {place}: {error}")
        case OutcomeUnknown():  # of a question; what changes the world asks by once()
            return Ends(ExitStatus.NO_CONNECTION, "connection_lost", str(error))
        case NotAllowed():
            return Ends(ExitStatus.FAILED, error.code, f"not allowed, nothing was sent: {error}")
        case ControlError():
            return Ends(ExitStatus.FAILED, error.code, str(error) or error.code)
        case StoreUnavailable():
            return Ends(ExitStatus.NO_CONNECTION, "store_unavailable", str(error))
        case SchemaTooNew():
            return Ends(ExitStatus.FAILED, "schema_too_new", str(error))
        case CopyRefused():
            return Ends(ExitStatus.FAILED, "copy_refused", f"nothing was copied: {error}")
        case StoreError():
            return Ends(ExitStatus.FAILED, "store_error", str(error))
        case CancelledError():
            return Ends(ExitStatus.INTERRUPTED, "interrupted", "interrupted")
        case BrokenPipeError():  # who reads has had enough
            return Ends(ExitStatus.FAILED, "output", "")
        case OSError():
            return Ends(ExitStatus.FAILED, "output", f"cannot write: {error.strerror or error}")
    raise error
