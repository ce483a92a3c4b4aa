"""Merge uploads, frames and changes, into a device's register state (protocol sections 4.4 and 4.5).

Nothing that a device sends is an error here: what cannot be taken is counted, and the rest of the upload counts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.controllers.evidence.weighing import is_fixed
from cmmd.fleet.counters.counters import Counters, FrameOutcome
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.telemetry.byte_order import Judge
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.plan import Plan
from cmmd.fleet.telemetry.shortcuts import ADDRESSES, MOST_CHANGES, overwrite, overwrite_changes
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
from cmmd.modbus.image import ImageError, ImageFullError
from cmmd.store.records import ByteOrder
from cmmd.wire.messages import ChangeParams, ReqDataChange

__all__ = ["MOST_UNPLACED", "Telemetry", "UploadResult", "registers_in"]

log = Logger()

MOST_FRAMES = 2 * MAX_PLAN
"""Frames of one upload that are looked at: no plan has half as many requests."""

MOST_UNPLACED, LONGEST_UNPLACED = 8, 512
"""Frames of one upload that are kept as they came, where it is not known what they answer; and characters of each."""

_Item = tuple[Function, str, str]

_ADDRESS_LENGTH = 2  # bytes: four hex digits


class UploadResult(Enum):
    """The result of merging one upload."""

    EMPTY = "empty"
    """No values, and none were meant: the device has nothing new, or its controller does not answer."""
    NOTHING = "nothing"
    """No values: nothing in it could be taken."""
    VALUES = "values"
    """Values; what is watched is unchanged."""
    CHANGES = "changes"
    """Values, and among what changed is something that is watched: alarms, mode, engine state, breakers, mains."""
    INPUTS = "inputs"
    """No values, but the device's own inputs have changed: the upload says nothing of the controller."""


# Plain names for what nearly every upload needs: looking a member up in its class takes time.
_TAKEN, _CHANGED = FrameOutcome.TAKEN, FrameOutcome.CHANGED
_VALUES, _CHANGES = UploadResult.VALUES, UploadResult.CHANGES


class Telemetry:
    """Merges uploads into the images of live records.

    :param counters: counts frames by outcome, and gaps between packets.
    :param clock: for the limit of what is logged.
    :param other_plan: gets the record of a device whose upload answers another plan, where its profile knows that.
    :param decided: gets the hostid and the byte order of its change uploads, when the evidence has decided it, or has
        opened it again (None).
    """

    def __init__(
        self,
        counters: Counters,
        clock: IReactorTime,
        decided: Callable[[str, ByteOrder | None], None],
        other_plan: Callable[[LiveRecord], None] = lambda _: None,
    ) -> None:
        self._other_plan = other_plan
        self._counters = counters
        self._limit = LogLimit(clock)
        self._decided = decided

    # --- full uploads: response frames -------------------------------------------------------------------------------

    def full(self, record: LiveRecord, params: str | None, plan: Plan) -> UploadResult:
        """Take a full upload (section 4.4).

        :param params: response frames in hex, separated by ``;``.
        :param plan: what the device had been told to poll.
        """
        if not params:
            return UploadResult.EMPTY
        frames = plan.layout.frames(params)
        if frames is None:
            texts = split_frames(params)
            return self._merge_some(record, plan, texts) if texts else UploadResult.EMPTY
        if record.unplaced:
            record.unplaced = ()
        concerns = overwrite(record.known, record.watch, plan.layout, frames)
        if concerns is None:
            return self._merge_all(record, plan.requests, plan.layout.payloads(frames))
        record.unit = plan.unit
        self._counters.frames[_TAKEN] += len(plan.requests)
        return _CHANGES if concerns else _VALUES

    def _merge_all(
        self, record: LiveRecord, requests: Sequence[ReadRequest], payloads: Sequence[bytes]
    ) -> UploadResult:
        """Take payloads over that answer these requests."""
        known, watch = record.known, record.watch
        merge = known.image.merge if known.undecided is None and known.older is None else known.take
        accepted = no_room = 0
        changes = False
        for request, payload in zip(requests, payloads, strict=True):
            try:
                changed = merge(request, payload)
            except ImageFullError:
                no_room += 1
                continue
            accepted += 1
            if changed.difference and not changes:
                changes = watch.concerns(request.function, changed)
        if no_room:
            self._refuse(record, {FrameOutcome.NO_ROOM: no_room})
        if not accepted:
            return UploadResult.NOTHING
        record.unit = request.unit
        self._counters.frames[FrameOutcome.TAKEN] += accepted
        return UploadResult.CHANGES if changes else UploadResult.VALUES

    def _merge_some(self, record: LiveRecord, plan: Plan, texts: Sequence[str]) -> UploadResult:
        """Take over what can be taken over of an upload that is not as it should be; what is missing is outdated."""
        refused = Counter({FrameOutcome.FOREIGN: max(len(texts) - MOST_FRAMES, 0)})
        texts = texts[:MOST_FRAMES]
        responses = [_response(text) for text in texts]
        asked = plan.requests
        placed: Sequence[ReadRequest | FrameOutcome] = asked
        if not _in_order(asked, responses):
            placed = _only_ones(asked, responses, _of_other_plans(record, asked))
        requests, payloads, unplaced = [], [], []
        for response, request, text in zip(responses, placed, texts, strict=True):
            if isinstance(response, FrameOutcome):
                refused[response] += 1
            elif not isinstance(response, ReadResponse):
                refused[_what_else(response)] += 1
            elif isinstance(request, ReadRequest):
                requests.append(request)
                payloads.append(response.payload)
            else:
                refused[request] += 1
                unplaced.append(text)
        record.unplaced = tuple(text[:LONGEST_UNPLACED] for text in unplaced[:MOST_UNPLACED])
        self._refuse(record, refused)
        for request in asked:
            if request not in requests:
                record.known.outdate(request.function, request.address, request.count)
        if any(request not in asked for request in requests):
            self._other_plan(record)
        return self._merge_all(record, requests, payloads)

    def _refuse(self, record: LiveRecord, refused: Mapping[FrameOutcome, int]) -> None:
        """Count and log what is not taken."""
        what = []
        for outcome, count in refused.items():
            if count:
                self._counters.frames[outcome] += count
                what.append(f"{count} {outcome}")
        if what and (more := self._limit.allows(record.hostid)) is not None:
            log.warn(
                "{hostid}: not taken of an upload: {what}{more}", hostid=record.hostid, what=", ".join(what), more=more
            )

    # --- change uploads: values by address ---------------------------------------------------------------------------

    def change(self, record: LiveRecord, message: ReqDataChange, *, inputs_changed: bool = False) -> UploadResult:
        """Take a change upload (section 4.5).

        :param inputs_changed: whether it changed the device's own inputs, which the record has already.
        """
        params = message.params
        number = params.packetnum
        if number is not None:
            if record.packetnum == number - 1:  # as nearly always: no call for it
                record.packetnum = number
            else:
                self._count_packet(record, number)
        if not (params.f02 or params.f04):
            overwritten = overwrite_changes(record.known, record.watch, record.plan.layout, params.f01, params.f03)
            if overwritten is not None:
                accepted, concerns = overwritten
                self._counters.frames[_CHANGED] += accepted
                return _CHANGES if concerns or inputs_changed else _VALUES
        changes = _items(params)
        if not changes:
            return UploadResult.INPUTS if inputs_changed else UploadResult.EMPTY
        judged = not is_fixed(record.known.byte_order_state)
        judge = Judge(record.known, record.profile, record.watch, trusted=not record.doubted) if judged else None
        accepted, concerns = self._merge_changes(record, changes, judge)
        if judge is not None:
            finding = judge.finish()
            concerns = concerns or finding.concerns
            accepted -= finding.no_room
            if finding.no_room:
                self._refuse(record, {FrameOutcome.NO_ROOM: finding.no_room})
            if finding.changed:
                self._tell_byte_order(record, finding.byte_order)
        self._counters.frames[FrameOutcome.CHANGED] += accepted
        if not accepted:
            return UploadResult.INPUTS if inputs_changed else UploadResult.NOTHING
        return UploadResult.CHANGES if concerns or inputs_changed else UploadResult.VALUES

    def _merge_changes(self, record: LiveRecord, changes: Sequence[_Item], judge: Judge | None) -> tuple[int, bool]:
        """Merge the items of a change upload.

        :return: how many were taken, and whether they concern anything that is watched.
        """
        accepted = malformed = 0
        no_room = max(len(changes) - MOST_CHANGES, 0)
        concerns = False
        for function, place, text in changes[:MOST_CHANGES]:
            try:
                address, values = _address(place), bytes.fromhex(text)
                if judge is None or function.reads_bits:
                    changed = record.known.take_change(function, address, values)
                    concerns = concerns or record.watch.concerns(function, changed)
                else:
                    judge.add(function, address, values)
            except ImageFullError:
                no_room += 1
            except (ImageError, ValueError):
                malformed += 1
            else:
                accepted += 1
        if no_room or malformed:
            self._refuse(record, {FrameOutcome.NO_ROOM: no_room, FrameOutcome.MALFORMED: malformed})
        return accepted, concerns

    def _tell_byte_order(self, record: LiveRecord, byte_order: ByteOrder | None) -> None:
        what = "open again: what came contradicts it" if byte_order is None else f"{byte_order}-endian"
        log.info("byte order of change uploads of {hostid}: {what}", hostid=record.hostid, what=what)
        self._decided(record.hostid, byte_order)

    def _count_packet(self, record: LiveRecord, number: int) -> None:
        """Packets count up by one; a device that starts over begins at 0 or 1."""
        last, record.packetnum = record.packetnum, number
        if last is None or number in (last, last + 1) or number <= 1:
            return
        record.packet_gaps += 1
        self._counters.packet_gaps += 1
        more = self._limit.allows(("packets", record.hostid))
        if more is not None:
            log.warn(
                "{hostid}: change packet {number} after {last}: something may be missing{more}",
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


def _response(text: str) -> Response | FrameOutcome:
    try:
        return parse_response(text)
    except BadCRCError:
        return FrameOutcome.BAD_CRC
    except ModbusFrameError:
        return FrameOutcome.MALFORMED


def _in_order(plan: Sequence[ReadRequest], responses: Sequence[Response | FrameOutcome]) -> bool:
    """Tell whether frame *n* answers request *n*: there are as many, and every one that can be read fits."""
    if len(plan) != len(responses):
        return False
    for request, response in zip(plan, responses, strict=True):
        if not isinstance(response, FrameOutcome) and not matches(request, response):
            return False
    return True


def _only_ones(
    plan: Sequence[ReadRequest],
    responses: Sequence[Response | FrameOutcome],
    others: Mapping[ReadRequest, ReadRequest],
) -> list[ReadRequest | FrameOutcome]:
    """For each response the only request of its shape, where it is the only response of that shape, too; or why not.

    :param others: requests of other plans, and those of this plan that they stand for.
    """
    shapes = [
        (one.unit, one.function, len(one.payload)) if isinstance(one, ReadResponse) else None for one in responses
    ]
    answered = Counter(shapes)
    asked: dict[object, ReadRequest | FrameOutcome] = {}
    for request in plan:
        shape = (request.unit, request.function, request.payload_length)
        asked[shape] = FrameOutcome.AMBIGUOUS if shape in asked or answered[shape] > 1 else request
    for request, instead_of in others.items():
        shape = (request.unit, request.function, request.payload_length)
        own = (instead_of.unit, instead_of.function, instead_of.payload_length)
        if answered[shape] == 1 and shape not in asked and not answered[own]:
            asked[shape] = request
    return [asked.get(shape, FrameOutcome.FOREIGN) for shape in shapes]


def _of_other_plans(record: LiveRecord, plan: Sequence[ReadRequest]) -> dict[ReadRequest, ReadRequest]:
    """The requests of other servers' plans that the profile knows, and those of this plan that they stand for."""
    return {
        other: poll.request
        for poll in record.profile.definition.polls
        if poll.known_counts and plan.count(poll.request) == 1
        for other in poll.known_requests
    }


def _what_else(response: Response) -> FrameOutcome:
    return FrameOutcome.EXCEPTION if isinstance(response, ExceptionResponse) else FrameOutcome.FOREIGN


def _items(params: ChangeParams) -> list[_Item]:
    """The items of a change upload: function, address and values, as they came."""
    by_function = zip(_FUNCTIONS, (params.f01, params.f02, params.f03, params.f04), strict=True)
    return [(function, *pair) for function, changes in by_function for item in changes for pair in item.items()]


def registers_in(message: ReqDataChange) -> frozenset[int]:
    """Give the holding registers that a change upload has; those that cannot be read are left out."""
    found: set[int] = set()
    for item in message.params.f03[:MOST_CHANGES]:
        for place, text in item.items():
            try:
                address, count = _address(place), len(text.strip()) // 4
            except ValueError:
                continue
            found.update(range(address, address + min(count, MOST_CHANGES)))
    return frozenset(found)


def _address(place: str) -> int:
    """Parse the address of an item.

    :raises ValueError: it has not four hex digits.
    """
    known = ADDRESSES.get(place)
    if known is not None:
        return known
    address = bytes.fromhex(place)
    if len(address) != _ADDRESS_LENGTH:
        raise ValueError("an address has four hex digits")
    return int.from_bytes(address, "big")
