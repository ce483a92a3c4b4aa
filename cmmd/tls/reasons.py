"""Reasons for a missing TLS connection. This module needs nothing that is slow to import."""

__all__ = ["why"]


def why(error: BaseException | None) -> str:
    """Describe in one line for people why there is no connection."""
    if type(error).__name__ == "TimeoutError":  # there are several
        return "no answer in time"
    if type(error).__name__ == "VerificationError":  # of service_identity, which need not be imported to say so
        return "the certificate at the other end is not for the name that was requested"
    details = error.args[0] if error is not None and error.args else None
    if isinstance(details, list):  # OpenSSL's queue of errors
        return "TLS: " + ("; ".join(str(item[-1]) for item in details if item) or "failed")
    return str(error)[:200] or type(error).__name__
