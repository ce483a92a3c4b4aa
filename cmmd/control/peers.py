"""Who a program is, as far as the door knows, and what the audit says of who asks."""

import re
import socket
import struct
from typing import Any

from cmmd.wire.quoting import printable

__all__ = ["LONGEST_REQUESTER", "person_of", "requester", "tls_peer", "unix_peer"]

LONGEST_REQUESTER = 64
"""Characters. What the door knows is never cut for what the client says."""

LONGEST_NAME = 48

_PROCESS = re.compile(r"\A(uid [0-9]+) pid [0-9]+\Z", re.ASCII)

_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid


def unix_peer(transport: Any) -> str:
    """The user at the other end of a UNIX socket, from the kernel (SO_PEERCRED)."""
    credentials = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return f"uid {uid} pid {pid}"


def tls_peer(transport: Any) -> str:
    """The common name of the certificate at the other end, which has been checked against the CA."""
    from cryptography.x509.oid import NameOID

    certificate = transport.getPeerCertificate().to_cryptography()
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if names:
        return f"CN {_plain(str(names[0].value))[:LONGEST_NAME]}"
    return f"certificate {certificate.serial_number:x}"[:LONGEST_NAME]


def person_of(known: str) -> str:
    """Leave out of what a door knows which process it was: the next one of the same user is the same person."""
    return _PROCESS.sub(r"\1", known)


def requester(said: str | None, known: str) -> str:
    """What the audit has: ``alice (uid 1000 pid 4711)``.

    :param said: what the client says; nothing in it looks like what the door knows.
    :param known: what the door knows.
    """
    room = LONGEST_REQUESTER - len(known) - len(" ()")
    text = _plain(said or "")[: max(room, 0)].strip()
    return f"{text} ({known})" if text else f"({known})"


def _plain(text: str) -> str:
    """One printable line without brackets."""
    return printable(text).translate({ord("("): "[", ord(")"): "]"})
