"""Faults of a peer, as exceptions and as the reasons that counters and logs use."""

from enum import StrEnum

from cmmd.wire.retcodes import Retcode

__all__ = ["FrameError", "MessageError", "PeerError", "Reason"]


EXCERPT = 80
"""How much of a peer's text an error carries, in characters or bytes."""


class Reason(StrEnum):
    """The reason why a peer's input was not taken: the label of ``cmmd_peer_errors_total``."""

    FOREIGN_PROTOCOL = "foreign_protocol"
    GARBAGE = "garbage"
    OVERSIZE = "oversize"
    DEPTH = "depth"
    SYNTAX = "syntax"
    MALFORMED = "malformed"
    UNKNOWN_METHOD = "unknown_method"
    UNKNOWN_DEVICE = "unknown_device"
    FOREIGN_HOSTID = "foreign_hostid"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a label, not a password
    THROTTLED = "throttled"
    NOT_ENROLLED = "not_enrolled"
    UNEXPECTED_ANSWER = "unexpected_answer"
    LOGIN_TIMEOUT = "login_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    UNREAD_OUTPUT = "unread_output"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    UNFINISHED = "unfinished"
    FOREIGN_ADDRESS = "foreign_address"
    HISTORY_REFUSED = "history_refused"
    UNTRUSTED_PROXY = "untrusted_proxy"
    PROXY_HEADER = "proxy_header"
    FOREIGN_CERTIFICATE = "foreign_certificate"


class PeerError(Exception):
    """The peer's fault: never a traceback, always a counted reason.

    :ivar reason: what the counters call it.
    :ivar retcode: what the peer is answered.
    :ivar said: the beginning of what the peer said wrong, as it came; for the log.
    """

    def __init__(self, reason: Reason, message: str, retcode: Retcode, said: str | bytes | bytearray = b"") -> None:
        super().__init__(message)
        self.reason = reason
        self.retcode = retcode
        self.said = said[:EXCERPT] if isinstance(said, str) else bytes(said[:EXCERPT])


class FrameError(PeerError):
    """Bytes that are not a JSON object (protocol section 2); three of them close a connection."""

    def __init__(self, reason: Reason, message: str, said: str | bytes | bytearray = b"") -> None:
        super().__init__(reason, message, Retcode.NOT_UNDERSTOOD, said)


class MessageError(PeerError):
    """A JSON object that is not a message of protocol section 4, or not one for now.

    :ivar method: the message's method where it is a known one, else ``"error"``: the method of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "error",
        reason: Reason = Reason.MALFORMED,
        retcode: Retcode = Retcode.NOT_UNDERSTOOD,
        said: str | bytes = b"",
    ) -> None:
        super().__init__(reason, message, retcode, said)
        self.method = method
