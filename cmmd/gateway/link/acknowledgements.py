"""Tell a server's orders from its acknowledgements that look the same (protocol section 4.10).

An acknowledgement that is carried out starts an engine again, and is answered, and that may be acknowledged again. So
what cannot be told apart is not carried out; but a stop always is, because a stop too many does no harm.

A repetition has a sign where something is in it that its order had not: a return code, a text, ``params``, ``hostid``.
It is an acknowledgement then, however late it comes; one with a code also where only one of the two has a uid. Where
the order had all of that from the start, a repetition and a second order are the same bytes, and no rule tells them
apart. As many as there were answers count as their acknowledgements, and so does each one within :data:`AT_ONCE_S`;
what comes after these is an order.

Answers are remembered by uid and in memory only: an acknowledgement under another uid than its order's, and one that
comes after a restart of the gateway, is an order here unless its form says what it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import blake2b
from typing import TypeVar

from msgspec import UNSET
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.gateway.link.connection import Command
from cmmd.modbus.frames import split_frames
from cmmd.wire.dialects import has_a_frame, is_own_answer
from cmmd.wire.messages import Reset, WriteConfig
from cmmd.wire.quoting import quoted
from cmmd.wire.retcodes import Retcode

__all__ = ["AT_ONCE_S", "EMPTY_S", "MOST_REMEMBERED", "RESET_S", "Acknowledgements", "Form", "Meaning", "form_of"]

AT_ONCE_S = 4.0
"""For how long after an answer every repetition of its order is an acknowledgement, in seconds: a server may have
several parts that acknowledge."""

EMPTY_S = 2.0
"""The same for what has the uid of an order and orders nothing."""

RESET_S = 10.0
"""For how long after an answered reset another one is an acknowledgement, in seconds: it may come when the device has
logged in again. A reset has a return code from the start, and a reset too few is worse than one too many: it is the
last thing that helps. So none is an acknowledgement for longer than this."""

MOST_REMEMBERED = 1024
"""Orders, and uids, that are remembered."""

_CODES = frozenset(("retcode", "message", "params"))
_LAST_REPEAT = 2
"""The repetition of a stop that is not answered."""


class Meaning(Enum):
    """Kinds of messages with the method of an order: an order, an acknowledgement, an order to leave unanswered."""

    ORDER = auto()
    ACKNOWLEDGEMENT = auto()
    UNANSWERED = auto()


@dataclass(slots=True, frozen=True)
class Form:
    """The content of a message with the method of an order.

    :ivar frames: to carry out, in their order. :ivar stop: all of them are the controller's stop command.
    :ivar acknowledges: apart from a stop, the message can be no order: it is the device's own answer, or tells a
        failure.
    :ivar key: equal for messages that order the same. :ivar signs: fields that an acknowledgement may add.
    """

    frames: tuple[str, ...]
    stop: bool
    acknowledges: bool
    key: bytes
    signs: frozenset[str]


def form_of(command: WriteConfig, is_stop: Callable[[str], bool]) -> Form:
    """Look for what a message orders, in whatever form.

    A stop is taken from wherever it is: from ``params``, with the ``,1`` of the device's answer behind it, beside any
    return code. Every other frame is an order in ``result`` alone. A stop beside other frames is a part of their order
    where that can be carried out; where it cannot, the stop is all that is left of it, unless it is the device's own
    answer.

    :param is_stop: whether a frame is the controller's stop command.
    """
    result = "" if command.result is UNSET else command.result
    params = "" if command.params is UNSET else command.params
    items = split_frames(result)
    stops = (
        _stops_in(result, is_stop, beside_others="," in result and not is_own_answer(result)),
        _stops_in(params, is_stop, beside_others=not is_own_answer(params) and split_frames(params) != items),
    )
    own_answer = is_own_answer(params) or (bool(items) and all("," in item for item in items))
    acknowledges = own_answer or command.retcode not in (UNSET, Retcode.OK)
    stop = stops[0] or stops[1]
    frames = stop or (() if "," in result else tuple(items))
    ordered = ";".join("".join(frame.split()).upper() for frame in frames if has_a_frame(frame))
    return Form(
        frames=frames,
        stop=bool(stop),
        acknowledges=acknowledges,
        key=blake2b(f"{ordered} {command.modulePort} {command.moduleBaud}".encode(), digest_size=16).digest(),
        signs=frozenset(
            name for name in ("retcode", "message", "params", "hostid") if getattr(command, name) not in (UNSET, "")
        ),
    )


def _stops_in(text: str, is_stop: Callable[[str], bool], *, beside_others: bool) -> tuple[str, ...]:
    """Take the stops out of a text in which each may have the ``,1`` of a device's answer behind it.

    :param beside_others: also where other frames are in it. What is no frame never counts.
    """
    frames = [frame for frame in split_frames(text.replace(",", ";")) if has_a_frame(frame)]
    known = {frame: is_stop(frame) for frame in frozenset(frames)}
    if not beside_others and not all(known.values()):
        return ()
    return tuple(frame for frame in frames if known[frame])


@dataclass(slots=True, eq=False)
class _Taken:
    """An order that was taken.

    :ivar signs: what it had from the start. :ivar has_uid: a uid, too.
    :ivar answered_at: seconds of the clock; None: not yet.
    :ivar unacknowledged: answers, to orders like it too, that nothing has acknowledged yet.
    :ivar repeats: of a stop: repetitions since, of a kind that may acknowledge.
    :ivar told: the log has a line of what was ignored for it.
    """

    signs: frozenset[str]
    has_uid: bool
    answered_at: float | None = None
    unacknowledged: int = 0
    repeats: int = 0
    told: bool = False


@dataclass(slots=True, eq=False)
class _Answered:
    """A uid that was answered, when (seconds of the clock), and whether something has acknowledged that since."""

    at: float
    acknowledged: bool = False


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Acknowledgements:
    """Remembers what a device has answered, over all its sessions: an acknowledgement may come on the next one.

    An answer counts from the reactor's next turn on: what came in one segment with an order cannot acknowledge it.

    :param clock: all time.
    :param log: told, once for each order, what is ignored because of it.
    """

    def __init__(self, clock: IReactorTime, log: Logger) -> None:
        self._clock = clock
        self._log = log
        self._taken: dict[tuple[bytes, object], _Taken] = {}  # by what is ordered, and uid
        self._newest: dict[bytes, _Taken] = {}  # the same, whatever the uid
        self._uids: dict[object, _Answered] = {}
        self._reset_at: float | None = None
        self._reset_told = False
        self._form_told = False

    def meaning(self, command: WriteConfig, form: Form, hostid: str) -> Meaning:
        """Tell what a message is, and remember it if it is an order.

        :param form: see :func:`form_of`.
        """
        taken = self._taken.get((form.key, command.uid))
        other_uid = taken is None
        if other_uid:  # one of the two has none
            taken = self._newest.get(form.key) if command.uid is UNSET else self._taken.get((form.key, UNSET))
        if form.stop:
            return self._meaning_of_stop(taken, command, form, other_uid=other_uid)
        if form.acknowledges:
            self._tell_of_form(command, hostid)
            return Meaning.ACKNOWLEDGEMENT
        if _is_empty(command, form):
            return self._meaning_of_empty(command)
        if taken is None or not _acknowledges(taken, form, other_uid, self._within(taken.answered_at, AT_ONCE_S)):
            taken = self._unacknowledged(form.key) if command.uid is UNSET else None
            if taken is None or not _acknowledges(taken, form, other_uid=True, at_once=False):
                return self._order(command, form)
        self._tell(taken, command, form, hostid)
        return Meaning.ACKNOWLEDGEMENT

    def meaning_of_reset(self, command: Reset, hostid: str) -> Meaning:
        """Tell whether a reset is an order."""
        if not command.retcode or not self._within(self._reset_at, RESET_S):
            return Meaning.ORDER
        if not self._reset_told:
            self._reset_told = True
            self._log.info("{hostid}: taken for the acknowledgement of the last reset: reset", hostid=hostid)
        return Meaning.ACKNOWLEDGEMENT

    def answered(self, command: Command, form: Form | None, *, again: bool = False) -> None:
        """Note that an order is being answered, or has come to its end without an answer.

        :param form: of a writeConfig. :param again: that has been noted of this order before.
        """
        now = self._clock.seconds()
        if isinstance(command, WriteConfig) and form is not None:
            self._clock.callLater(0, self._note, command, form, now, again)
        else:
            self._reset_at, self._reset_told = now, False

    def _note(self, command: WriteConfig, form: Form, answered_at: float, again: bool) -> None:
        _keep(self._uids, command.uid, _Answered(answered_at))
        taken = self._taken.get((form.key, command.uid))
        if taken is not None:
            taken.answered_at = answered_at
            taken.unacknowledged += not again

    def _unacknowledged(self, key: bytes) -> _Taken | None:
        """Look for the oldest order with a uid and an answer that nothing has acknowledged."""
        orders = (order for (ordered, _), order in self._taken.items() if ordered == key)
        return next((order for order in orders if order.has_uid and order.unacknowledged), None)

    def _order(self, command: WriteConfig, form: Form) -> Meaning:
        before = self._taken.get((form.key, command.uid))
        order = _Taken(form.signs, command.uid is not UNSET)
        order.unacknowledged = 0 if before is None else before.unacknowledged
        _keep(self._taken, (form.key, command.uid), order)
        _keep(self._newest, form.key, order)
        return Meaning.ORDER

    def _meaning_of_stop(self, taken: _Taken | None, command: WriteConfig, form: Form, *, other_uid: bool) -> Meaning:
        """Have each stop carried out, and answer one repetition: were all answered, that might go on for ever."""
        may_acknowledge = bool(form.signs) or form.acknowledges or other_uid
        if taken is None or taken.answered_at is None or not may_acknowledge:
            return self._order(command, form)
        taken.repeats += 1
        if taken.repeats == 1:
            return Meaning.ORDER
        if taken.repeats == _LAST_REPEAT or self._within(taken.answered_at, AT_ONCE_S):
            return Meaning.UNANSWERED
        return self._order(command, form)

    def _meaning_of_empty(self, command: WriteConfig) -> Meaning:
        """Have what orders nothing refused, unless it acknowledges an answer: refused, that would go on for ever."""
        answered = self._uids.get(command.uid)
        if answered is None or (answered.acknowledged and not self._within(answered.at, EMPTY_S)):
            return Meaning.ORDER
        answered.acknowledged = True
        return Meaning.ACKNOWLEDGEMENT

    def _within(self, answered_at: float | None, seconds: float) -> bool:
        return answered_at is not None and self._clock.seconds() - answered_at < seconds

    def _tell(self, taken: _Taken, command: WriteConfig, form: Form, hostid: str) -> None:
        if not taken.told:
            taken.told = True
            self._log.info(
                "{hostid}: taken for the acknowledgement of an order like it, not carried out: {order}",
                hostid=hostid,
                order=quoted(";".join(form.frames) or command.method),
            )

    def _tell_of_form(self, command: WriteConfig, hostid: str) -> None:
        if not self._form_told:
            self._form_told = True
            self._log.info(
                "{hostid}: an answer sent back, or a failure, and no order; more of that is not logged: {said}",
                hostid=hostid,
                said=quoted(next((one for one in (command.result, command.params) if one), command.method)),
            )


def _acknowledges(taken: _Taken, form: Form, other_uid: bool, at_once: bool) -> bool:
    """Tell whether a repetition of an order acknowledges it.

    :param other_uid: the order has a uid and the repetition has none, or the other way round.
    :param at_once: it comes within :data:`AT_ONCE_S` of the answer.
    """
    new = form.signs - taken.signs
    if other_uid:
        new &= _CODES
    same = form.signs & _CODES and not (other_uid and not taken.has_uid) and (at_once or taken.unacknowledged)
    if not new and not same:
        return False
    taken.unacknowledged = max(taken.unacknowledged - 1, 0)
    return True


def _is_empty(command: WriteConfig, form: Form) -> bool:
    """Tell whether there is nothing that could be carried out."""
    if command.modulePort is not UNSET or command.moduleBaud is not UNSET:
        return False
    return not any(map(has_a_frame, form.frames))


def _keep(remembered: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Remember something as the newest, and forget the oldest."""
    remembered.pop(key, None)
    remembered[key] = value
    if len(remembered) > MOST_REMEMBERED:
        del remembered[next(iter(remembered))]
