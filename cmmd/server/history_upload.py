"""Uploads about the past: which ones are taken, and how the others are answered (protocol section 4.4)."""

from typing import Protocol

from twisted.internet.defer import Deferred

from cmmd.fleet.devices.history_rights import HistoryRefused, HistoryRights
from cmmd.fleet.uploads import WrongTime
from cmmd.wire.errors import MessageError, Reason
from cmmd.wire.messages import ReqData, ReqDataChange
from cmmd.wire.retcodes import Retcode

__all__ = ["HistorySender", "take_history"]


class HistorySender(Protocol):
    """The session that an upload about the past comes by."""

    @property
    def peer(self) -> str:
        """The host at the other end."""

    @property
    def certified(self) -> bool:
        """Tell whether the other end has shown a certificate of the device."""


class TakeUpload(Protocol):
    """The fleet's way of an upload into history."""

    def __call__(self, *, source: str) -> Deferred[None] | None: ...


def take_history(
    rights: HistoryRights, message: ReqData | ReqDataChange, sender: HistorySender, take: TakeUpload, *, trusted: bool
) -> Deferred[None] | None:
    """Take an upload into history that says when it was, or came on a port for history only.

    :param take: takes it; its ``source`` is by which right it is dated; empty: its time is when it came.
    :param trusted: it came from a session of the latest password login.
    :return: fires when it is durable; None: there is nothing to keep.
    :raises MessageError: nothing of it is taken. Where the session is not allowed to date uploads that is 000006: at
        000001 a gateway would drop what it has kept, for good, and its owner may still allow it.
    """
    source = ""
    if message.itime is not None:
        try:
            source = rights.source(message.hostid, sender.peer, trusted=trusted, certified=sender.certified)
        except HistoryRefused as error:
            raise MessageError(
                str(error), method="reqdata", reason=Reason.HISTORY_REFUSED, retcode=Retcode.TRY_AGAIN
            ) from None
    try:
        return take(source=source)
    except WrongTime as error:
        raise MessageError(str(error), method="reqdata", said=str(message.itime)) from None
