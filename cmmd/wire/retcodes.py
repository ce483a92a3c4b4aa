"""Return codes of the CMM protocol (docs/protocol.md, section 6)."""

from enum import StrEnum

__all__ = ["Retcode"]


class Retcode(StrEnum):
    """The meaning of an answer's ``retcode``. The vendor's paper names only ``000000``; the others are cmmd's."""

    OK = "000000"
    NOT_UNDERSTOOD = "000001"
    UNKNOWN_METHOD = "000002"
    UNKNOWN_DEVICE = "000003"
    WRONG_PASSWORD = "000004"  # noqa: S105 - a code, not a password
    NOT_ENROLLED = "000005"
    TRY_AGAIN = "000006"
