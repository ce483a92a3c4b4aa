"""What an upload says: frames and changes into a device's image (protocol sections 4.4 and 4.5).

Nothing that a device sends is an error here: what cannot be taken is counted, and the rest of the upload counts.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.fleet import inputs
from cmmd.fleet.known import Judge
from cmmd.fleet.live import LiveRecord
from cmmd.fleet.loglimit import LogLimit
from cmmd.fleet.tally import FrameOutcome, Tally
from cmmd.modbus.frames import (
    MAX_PLAN,
    BadCRCError,
    ExceptionResponse,
    Function,
    ModbusFrameError,
    ReadRequest,
    ReadResponse,
    Response,
    matches,
    parse_response,
    split_frames,
)
from cmmd.modbus.image import ChangedAddresses, ImageError, ImageFullError
from cmmd.store.records import ByteOrder
from cmmd.wire.messages import Changes, ReqDataChange

__all__ = ["MOST_UNPLACED", "Taken", "Telemetry"]

log = Logger()

MOST_FRAMES = 2 * MAX_PLAN
"""Frames of one upload that are looked at: no plan has half as many requests."""

MOST_UNPLACED = 8
"""Frames of one upload that are kept as they came, where it is not known what they answer."""

_ADDRESS_LENGTH = 2  # bytes: four hex digits


class Taken(Enum):
    """What an upload brought."""

    NOTHING = "nothing"
    """No values: it was empty, or nothing in it could be taken."""
    VALUES = "values"
    """Values; what is watched stands as it stood."""
    CHANGES = "changes"
    """Values, and among what changed is something that is watched: alarms, mode, engine state, breakers, mains."""


class Telemetry:
    """Merges uploads into the images of live records.

    :param tally: counts frames by outcome, and gaps between packets.
    :param clock: for the limit of what is logged.
    :param decided: told the hostid and the byte order of its change uploads, when the evidence has decided it.
    """

    def __init__(self, tally: Tally, clock: IReactorTime, decided: Callable[[str, ByteOrder], None]) -> None:
        self._tally = tally
        self._limit = LogLimit(clock)
        self._decided = decided

    # --- full uploads: response frames -------------------------------------------------------------------------------

    def full(self, record: LiveRecord, params: str | None) -> Taken:
        """Take a full upload (section 4.4).

        :param params: response frames in hex, separated by ``;``.
        """
        texts = split_frames(params) if params else []
        if not texts:
            return _nothing_new(record)
        plan = record.plan
        if len(texts) == len(plan.expected):
            payloads = [expected.payload(text) for expected, text in zip(plan.expected, texts, strict=True)]
            if None not in payloads:
                if record.unplaced:
                    record.unplaced = ()
                return self._merge_all(record, plan.requests, payloads)  # type: ignore[arg-type]
        return self._merge_some(record, texts)

    def _merge_all(self, record: LiveRecord, requests: Sequence[ReadRequest], payloads: Sequence[bytes]) -> Taken:
        """Take payloads over that answer these requests."""
        known, watch = record.known, record.watch
        merge = known.image.merge if known.undecided is None else known.take
        accepted = 0
        changes = False
        for request, payload in zip(requests, payloads, strict=True):
            try:
                changed = merge(request, payload)
            except ImageFullError:
                self._tally.frames[FrameOutcome.NO_ROOM] += 1
                continue
            accepted += 1
            if changed.difference and not changes:
                changes = watch.concerns(request.function, changed)
        if not accepted:
            return Taken.NOTHING
        record.unit = request.unit
        self._tally.frames[FrameOutcome.TAKEN] += accepted
        return Taken.CHANGES if changes else Taken.VALUES

    def _merge_some(self, record: LiveRecord, texts: Sequence[str]) -> Taken:
        """Take over what can be taken over of an upload that is not as it should be."""
        surplus = len(texts) - MOST_FRAMES
        if surplus > 0:
            self._tally.frames[FrameOutcome.FOREIGN] += surplus
            texts = texts[:MOST_FRAMES]
        responses = [self._response(text) for text in texts]
        asked = record.plan.requests
        placed: Sequence[ReadRequest | FrameOutcome] = asked
        if not _in_order(asked, responses):
            placed = _only_ones(asked, responses)
        requests, payloads, unplaced = [], [], []
        for response, request, text in zip(responses, placed, texts, strict=True):
            if response is None:
                continue
            if not isinstance(response, ReadResponse):
                self._tally.frames[_what_else(response)] += 1
            elif isinstance(request, ReadRequest):
                requests.append(request)
                payloads.append(response.payload)
            else:
                self._tally.frames[request] += 1
                unplaced.append(text)
        record.unplaced = tuple(unplaced[:MOST_UNPLACED])
        if unplaced:
            self._tell_unplaced(record, len(unplaced))
        return self._merge_all(record, requests, payloads)

    def _response(self, text: str) -> Response | None:
        try:
            return parse_response(text)
        except BadCRCError:
            self._tally.frames[FrameOutcome.BAD_CRC] += 1
        except ModbusFrameError:
            self._tally.frames[FrameOutcome.MALFORMED] += 1
        return None

    def _tell_unplaced(self, record: LiveRecord, count: int) -> None:
        more = self._limit.allows(("unplaced", record.hostid))
        if more is not None:
            log.warn(
                "{hostid}: {count} frames that answer no request of its plan, or any of several{more}",
                hostid=record.hostid,
                count=count,
                more=more,
            )

    # --- change uploads: values by address ---------------------------------------------------------------------------

    def change(self, record: LiveRecord, message: ReqDataChange) -> Taken:
        """Take a change upload (section 4.5)."""
        params = message.params
        if params.packetnum is not None:
            self._count_packet(record, params.packetnum)
        record.inputs, before = inputs.merge(record.inputs, message), record.inputs
        judge = Judge(record.known, record.profile) if record.known.byte_order is None else None
        taken = Taken.NOTHING
        if record.inputs != before:
            taken = Taken.CHANGES
        elif not (params.f01 or params.f02 or params.f03 or params.f04):
            taken = _nothing_new(record)
        for function, changes in zip(_FUNCTIONS, (params.f01, params.f02, params.f03, params.f04), strict=True):
            if not changes:
                continue
            came = self._changes(record, function, changes, judge)
            if taken is not Taken.CHANGES and came is not Taken.NOTHING:
                taken = came
        if judge is None:
            return taken
        if (order := judge.verdict()) is not None:
            log.info("byte order of change uploads of {hostid}: {order}-endian", hostid=record.hostid, order=order)
            self._decided(record.hostid, order)
        return Taken.CHANGES if taken is Taken.VALUES else taken  # what became certain, or uncertain, may be watched

    def _changes(self, record: LiveRecord, function: Function, changes: Changes, judge: Judge | None) -> Taken:
        counts = self._tally.frames
        taken = Taken.NOTHING
        for item in changes:
            for place, text in item.items():
                try:
                    changed = _merge(record, function, place, text, judge)
                except ImageFullError:
                    counts[FrameOutcome.NO_ROOM] += 1
                except (ImageError, ValueError):
                    counts[FrameOutcome.MALFORMED] += 1
                else:
                    counts[FrameOutcome.CHANGED] += 1
                    if taken is not Taken.CHANGES:
                        taken = Taken.CHANGES if record.watch.concerns(function, changed) else Taken.VALUES
        return taken

    def _count_packet(self, record: LiveRecord, number: int) -> None:
        """Packets count up by one; a device that starts over begins at 0 or 1."""
        last, record.packetnum = record.packetnum, number
        if last is None or number == last + 1 or number <= 1:
            return
        record.packet_gaps += 1
        self._tally.packet_gaps += 1
        more = self._limit.allows(("packets", record.hostid))
        if more is not None:
            log.warn(
                "{hostid}: change packet {number} after {last}: some are missing{more}",
                hostid=record.hostid,
                number=number,
                last=last,
                more=more,
            )


_FUNCTIONS = (
    Function.READ_COILS,
    Function.READ_DISCRETE_INPUTS,
    Function.READ_HOLDING_REGISTERS,
    Function.READ_INPUT_REGISTERS,
)


def _nothing_new(record: LiveRecord) -> Taken:
    """An empty upload: all is as it was, unless we do not know how it was."""
    return Taken.NOTHING if record.stale else Taken.VALUES


def _in_order(plan: Sequence[ReadRequest], responses: Sequence[Response | None]) -> bool:
    """Whether frame *n* answers request *n*: there are as many, and every one that can be read fits."""
    if len(plan) != len(responses):
        return False
    for request, response in zip(plan, responses, strict=True):
        if response is not None and not matches(request, response):
            return False
    return True


def _only_ones(plan: Sequence[ReadRequest], responses: Sequence[Response | None]) -> list[ReadRequest | FrameOutcome]:
    """For each response the only request of its shape, where it is the only response of that shape, too; or why not."""
    shapes = [
        (one.unit, one.function, len(one.payload)) if isinstance(one, ReadResponse) else None for one in responses
    ]
    answered = Counter(shapes)
    asked: dict[object, ReadRequest | FrameOutcome] = {}
    for request in plan:
        shape = (request.unit, request.function, request.payload_length)
        asked[shape] = FrameOutcome.AMBIGUOUS if shape in asked or answered[shape] > 1 else request
    return [asked.get(shape, FrameOutcome.FOREIGN) for shape in shapes]


def _what_else(response: Response) -> FrameOutcome:
    return FrameOutcome.EXCEPTION if isinstance(response, ExceptionResponse) else FrameOutcome.FOREIGN


def _merge(record: LiveRecord, function: Function, place: str, text: str, judge: Judge | None) -> ChangedAddresses:
    """Take one item of a change upload over.

    :raises ValueError: it is none.
    :raises ImageFullError: there is no room for it.
    """
    address = bytes.fromhex(place)
    if len(address) != _ADDRESS_LENGTH:
        raise ValueError("an address has four hex digits")
    first, values = int.from_bytes(address, "big"), bytes.fromhex(text)
    if judge is None or function.reads_bits:
        return record.known.take_change(function, first, values)
    return judge.take(function, first, values)
