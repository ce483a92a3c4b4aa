"""The record of who came in, who did not, and who changed what: security events, kept with all others.

They stand in the store under a hostid that no device can have, so that they are paged, kept, copied and deleted as all
events are, and neither viewers nor the pages of devices show them.
"""

import syslog
from collections.abc import Callable
from pathlib import Path

import msgspec
from twisted.logger import Logger

from cmmd.fleet.events import Events, Kind
from cmmd.store.records import Event
from cmmd.wire.quoting import printable

__all__ = ["SECURITY", "SecurityLog", "is_private"]

log = Logger()

SECURITY = "@security"
"""The hostid under which security events are kept."""

LONGEST = 200
"""Characters of a detail that a caller had a say in."""

_OF_DEVICES = {
    Kind.SESSION_TAKEN_OVER.value: "login_address",
    Kind.SESSION_REFUSED.value: "login_address",
    Kind.HISTORY_REFUSED.value: "why",
    Kind.LOGIN_REFUSED.value: "reason",
    Kind.SETTING_CHANGED.value: "setting",
    Kind.DEVICE_LOCKED.value: "reason",
    Kind.DEVICE_UNLOCKED.value: "locked_by",
    Kind.INPUT_CLEARED.value: "input",
}
"""Events of devices that are security events, too, and which of their details is kept along."""


def is_private(event: Event) -> bool:
    """Tell whether an event is shown among security events only."""
    return event.hostid == SECURITY


class SecurityLog:
    """Records what concerns security, with who and from where.

    :param events: keeps it. :param to_syslog: whether it is sent to the system's log (facility authpriv), too.
    :param file: a file to which it is appended as JSON, one object a line; None: there is none.
    """

    def __init__(self, events: Events, *, to_syslog: bool = False, file: Path | None = None) -> None:
        self._events = events
        self._to_syslog = to_syslog
        self._file = file
        self._end = events.subscribe(self._event)

    def record(self, what: str, *, who: str = "", address: str = "", device: str = "", detail: str = "") -> None:
        """Record a security event; of one sort from one address only so many are kept, and the others counted.

        :param what: such as ``signed_in``. :param who: the caller, as far as that is known.
        :param address: the host it came from; empty: from this machine, by a socket.
        :param device: the device that it is about; empty: none. :param detail: for people.
        """
        self._events.emit(
            Kind.SECURITY,
            SECURITY,
            about=(what, address),
            what=what,
            who=printable(who[:LONGEST]),
            address=address,
            device=device,
            detail=printable(detail[:LONGEST]),
        )

    def stop(self) -> None:
        """Record no more events of devices."""
        self._end()

    def _event(self, event: Event) -> None:
        if event.hostid == SECURITY:
            self._write(event)
        elif event.kind in _OF_DEVICES:
            details = event.details
            who = next((str(details[key]) for key in ("requester", "by") if key in details), "")
            self.record(
                event.kind,
                who=who,
                address=str(details.get("address") or ""),
                device=event.hostid,
                detail=str(details.get(_OF_DEVICES[event.kind]) or ""),
            )

    def _write(self, event: Event) -> None:
        line = msgspec.json.encode({"at": event.at, **event.details})
        if self._to_syslog:
            self._try(lambda: syslog.syslog(syslog.LOG_AUTHPRIV | syslog.LOG_NOTICE, "cmmd " + line.decode()))
        file = self._file
        if file is not None:
            self._try(lambda: _append(file, line + b"\n"))

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            log.warn("security: a copy of an event cannot be written: {error}", error=error)


def _append(file: Path, line: bytes) -> None:
    with file.open("ab") as out:
        out.write(line)
