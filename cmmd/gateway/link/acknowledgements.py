"""Tell a server's orders from its acknowledgements that look the same (protocol section 4.10).

An acknowledgement that is carried out starts an engine again, and is answered, and that may be acknowledged again. So
what cannot be told apart is ignored and logged; but a stop is carried out, because a stop too many does no harm.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from msgspec import UNSET
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.gateway.link.connection import Command
from cmmd.wire.dialects import begins_with_a_frame
from cmmd.wire.messages import Reset, WriteConfig
from cmmd.wire.quoting import quoted

__all__ = ["AT_ONCE_S", "EMPTY_S", "LATE_S", "RESET_S", "Acknowledgements", "Meaning"]

AT_ONCE_S = 4.0
"""For how long after an answer the same order, which has had a return code or text from the start, is an
acknowledgement, in seconds. It comes within a round trip, which a mobile network may stretch to a few seconds."""

LATE_S = 30.0
"""The same for an order that had none: that the code is new is a sign more."""

EMPTY_S = 2.0
"""For how long after an answer an order of the same uid that orders nothing is an acknowledgement, in seconds."""

RESET_S = 10.0
"""For how long after an answered reset another one is an acknowledgement, in seconds: it may come when the device has
logged in again."""

MOST_REMEMBERED = 64
"""Orders, and uids, that are remembered."""


class Meaning(Enum):
    """Kinds of messages with the method of an order: an order, an acknowledgement, an order to leave unanswered."""

    ORDER = auto()
    ACKNOWLEDGEMENT = auto()
    UNANSWERED = auto()


@dataclass(slots=True, eq=False)
class _Taken:
    """An order that was taken.

    :ivar coded: it had a return code or text. :ivar number: how many orders had come.
    :ivar came_at: seconds of the clock.
    :ivar repeats: stops like it that came within the bound. :ivar done: as the last answer has it.
    :ivar answered_at: seconds of the clock; None: not yet. :ivar told: the log has a line of what was ignored for it.
    """

    coded: bool
    number: int
    came_at: float
    repeats: int = 0
    done: bool = False
    answered_at: float | None = None
    told: bool = False


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
        self._taken: dict[WriteConfig, _Taken] = {}
        self._uids: dict[object, float] = {}  # when they were answered last
        self._reset_at: float | None = None
        self._reset_told = False
        self._number = 0
        self._other = 0  # number of the last order that was no stop

    def kind(self, command: Command, hostid: str, *, stop: bool) -> Meaning:
        """Tell what a message is, and remember it if it is an order.

        :param stop: all of it is the controller's stop command.
        """
        if not isinstance(command, WriteConfig):
            return self._kind_of_reset(command, hostid)
        plain = _plain(command)
        coded = not (command.retcode is UNSET and command.message is UNSET)
        taken = self._taken.get(plain)
        if _is_empty(command) and self._within(self._uids.get(command.uid), EMPTY_S):
            return Meaning.ACKNOWLEDGEMENT
        if coded and taken is not None and stop and self._within(taken.answered_at, AT_ONCE_S):
            return self._kind_of_stop(taken, command, hostid)
        if coded and taken is not None and not stop and self._acknowledges(taken):
            self._tell(taken, command, hostid)
            return Meaning.ACKNOWLEDGEMENT
        self._number += 1
        if not stop:
            self._other = self._number
        _keep(self._taken, plain, _Taken(coded, self._number, self._clock.seconds()))
        return Meaning.ORDER

    def answered(self, command: Command, *, done: bool) -> None:
        """Note that an order is being answered, or has come to its end without an answer.

        :param done: whether it is known to have been carried out.
        """
        now = self._clock.seconds()
        if not isinstance(command, WriteConfig):
            self._reset_at, self._reset_told = now, False
            return
        self._clock.callLater(0, self._note, command, done, now)

    def _note(self, command: WriteConfig, done: bool, answered_at: float) -> None:
        _keep(self._uids, command.uid, answered_at)
        taken = self._taken.get(_plain(command))
        if taken is not None:
            taken.answered_at, taken.done = answered_at, done

    def _acknowledges(self, taken: _Taken) -> bool:
        if taken.coded:
            return self._within(taken.answered_at, AT_ONCE_S)
        return self._within(taken.came_at if taken.answered_at is None else taken.answered_at, LATE_S)

    def _kind_of_stop(self, taken: _Taken, command: WriteConfig, hostid: str) -> Meaning:
        """Let one repetition through; more of them only where the controller may have to be stopped again."""
        repeated, taken.repeats = taken.repeats > 0, taken.repeats + 1
        surely_stopped = taken.done and self._other < taken.number
        if repeated and surely_stopped:
            self._tell(taken, command, hostid)
            return Meaning.ACKNOWLEDGEMENT
        self._number += 1
        taken.number = self._number
        taken.done = False
        return Meaning.UNANSWERED if repeated else Meaning.ORDER

    def _kind_of_reset(self, command: Reset, hostid: str) -> Meaning:
        if not command.retcode or not self._within(self._reset_at, RESET_S):
            return Meaning.ORDER
        if not self._reset_told:
            self._reset_told = True
            self._log.info("{hostid}: taken for the acknowledgement of the last reset: reset", hostid=hostid)
        return Meaning.ACKNOWLEDGEMENT

    def _within(self, answered_at: float | None, seconds: float) -> bool:
        return answered_at is not None and self._clock.seconds() - answered_at < seconds

    def _tell(self, taken: _Taken, command: WriteConfig, hostid: str) -> None:
        if not taken.told:
            taken.told = True
            self._log.info(
                "{hostid}: taken for the acknowledgement of an order like it, not carried out: {order}",
                hostid=hostid,
                order=quoted(command.method if command.result is UNSET else command.result),
            )


def _is_empty(command: WriteConfig) -> bool:
    """Tell whether there is nothing that could be carried out."""
    if command.modulePort is not UNSET or command.moduleBaud is not UNSET:
        return False
    return command.result is UNSET or not begins_with_a_frame(command.result.strip())


def _plain(command: WriteConfig) -> WriteConfig:
    return replace(command, retcode=UNSET, message=UNSET, packetnum=UNSET)


def _keep(remembered: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Remember something as the newest, and forget the oldest."""
    remembered.pop(key, None)
    remembered[key] = value
    if len(remembered) > MOST_REMEMBERED:
        del remembered[next(iter(remembered))]
