"""Uploads about the past: kept in history at the time that they say; the live record never changes by them."""

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cmmd.fleet.history.history import History
from cmmd.fleet.telemetry.evidence import Evidence
from cmmd.fleet.telemetry.live import Live, LiveRecord
from cmmd.fleet.telemetry.telemetry import UploadResult
from cmmd.wire.messages import ReqData, ReqDataChange

__all__ = ["HISTORIC_GAP_S", "MOST_AHEAD_S", "MOST_HISTORIC", "WITH_VALUES", "LateUploads", "WrongTime"]

HISTORIC_GAP_S = 0.1
"""A device that uploads history is answered no sooner than this after its last one: all of it is kept, so it may come
only as fast as a disk tolerates from every device."""

MOST_HISTORIC = 1000
"""Devices whose history uploads are put together at once; the one not heard of longest begins anew."""

MOST_AHEAD_S = 60.0
"""How far ahead of the server's a clock can be that an upload of the past was dated by."""

WITH_VALUES = (UploadResult.VALUES, UploadResult.CHANGES)
"""Results of an upload that brought values of the controller."""

_DAY_MS = 86_400_000


class WrongTime(ValueError):
    """An upload says of itself that it is from a time that it cannot be from. The text is fit for an answer."""


class LateUploads:
    """Puts together the history that devices upload, a record for each, and hands it to the history.

    :param live: has the registered devices and their profiles.
    :param now: Unix time in seconds. :param clock: for the pause before an answer.
    :param retention_days: what is older is not kept.
    """

    def __init__(
        self,
        *,
        live: Live,
        evidence: Evidence,
        history: History,
        now: Callable[[], float],
        clock: IReactorTime,
        retention_days: int,
    ) -> None:
        self._live = live
        self._evidence = evidence
        self._history = history
        self._now = now
        self._clock = clock
        self._retention_ms = retention_days * _DAY_MS
        self._records: OrderedDict[str, LiveRecord] = OrderedDict()

    def get(self, hostid: str) -> LiveRecord | None:
        """Give the record that a device's history is put together in; None: there is none."""
        return self._records.get(hostid)

    def forget(self, hostid: str) -> None:
        """Begin anew with the next upload of a device: it has logged in, or is forgotten."""
        self._records.pop(hostid, None)

    def keep(
        self,
        message: ReqData | ReqDataChange,
        take: Callable[[LiveRecord], UploadResult],
        *,
        trusted: bool,
        source: str,
    ) -> Deferred[None] | None:
        """Take an upload in that is about some time in the past; where it does not say which, it is kept as of now.

        :param take: merges the upload into a record.
        :param trusted: it came from a session of the latest password login.
        :param source: by which right it says when it was, see :class:`HistoryRights`; empty: it does not.
        :return: fires when it is durable, fails with StoreUnavailable when it is not kept; None: it says nothing.
        :raises WrongTime: the time is in the future, or before all that is kept.
        """
        hostid = message.hostid
        at = self._time_of(message)
        record = self._record_of(hostid)
        record.profile, record.states = self._live[hostid].profile, self._live[hostid].states
        record.source = source
        doubted = record.doubted
        if not trusted:
            record.doubt()
        taken = take(record)
        if taken not in WITH_VALUES:
            record.doubted = doubted
        elif trusted and doubted and isinstance(message, ReqData):
            record.believe_again()
        if taken is UploadResult.NOTHING or taken is UploadResult.EMPTY:
            return None
        if taken is UploadResult.INPUTS:
            durable = self._history.take_inputs(record, at, "historic")
        else:
            record.upload += 1
            record.at = at
            record.owed = "historic"
            self._evidence.hide_jumps(record)
            durable = self._history.take(record, changed=False)
        assert durable is not None, "what is owed is due"
        return durable.addCallback(lambda _: deferLater(self._clock, HISTORIC_GAP_S))

    def _record_of(self, hostid: str) -> LiveRecord:
        record = self._records.get(hostid)
        if record is None:
            live = self._live[hostid]
            record = self._records[hostid] = self._live.new_record(live.device)
            record.known.byte_order = live.known.byte_order
            record.known.byte_order_state = live.known.byte_order_state
            if len(self._records) > MOST_HISTORIC:
                self._records.popitem(last=False)
        self._records.move_to_end(hostid)
        return record

    def _time_of(self, message: ReqData | ReqDataChange) -> int:
        """Date an upload, in milliseconds.

        :raises WrongTime: the time is in the future, or before all that is kept.
        """
        now_ms = int(self._now() * 1000)
        if message.itime is None:
            return now_ms
        if message.itime > now_ms + MOST_AHEAD_S * 1000:
            raise WrongTime("itime: it is in the future")
        if message.itime < now_ms - self._retention_ms:
            raise WrongTime("itime: it is longer ago than anything is kept")
        return message.itime
