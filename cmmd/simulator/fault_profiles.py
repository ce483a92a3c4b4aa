"""Faulty answers of devices, wrong, late or none: a table of manners, and the share of each device in it."""

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from cmmd.gateway.link.orders import OrderAnswer, Step, at_once
from cmmd.modbus.frames import ExceptionResponse, ModbusFrameError, parse_request, split_frames
from cmmd.wire.messages import WriteConfigAnswer
from cmmd.wire.quoting import quoted

__all__ = ["LATE_S", "MANNERS", "FaultProfile", "Manner", "Turn", "parse_turns"]

LATE_S = 40.0
"""The default delay of a late answer: longer than a server waits by default."""

LONGEST_S = 3600.0

AGAIN_S = 0.5
"""From an answer to the same answer again: a module's messages do not share a segment."""

DEVICE_FAILURE = 4
"""A Modbus exception."""


class Turn(NamedTuple):
    """The answer to one command.

    :ivar manner: a name in :data:`MANNERS`.
    :ivar seconds: how late, where it is late.
    """

    manner: str
    seconds: float = LATE_S


Steps = Callable[[OrderAnswer, Turn, Random], Iterable[Step]]
"""Makes what is sent of the right answer."""


class Manner(NamedTuple):
    """A way to answer.

    :ivar title: what it is, for the usage text.
    :ivar says: what a write ends with without having been carried out; None: it is carried out.
    """

    title: str
    steps: Steps
    says: bool | None = None


def _rewritten(rewrite: Callable[[WriteConfigAnswer, Random], WriteConfigAnswer]) -> Steps:
    """The steps of an answer that says something else. A reset's has nothing in it that could be wrong."""

    def steps(answer: OrderAnswer, _: Turn, random: Random) -> Iterable[Step]:
        return at_once(rewrite(answer, random) if isinstance(answer, WriteConfigAnswer) else answer)

    return steps


def _without_uid(answer: WriteConfigAnswer, _: Random) -> WriteConfigAnswer:
    return replace(answer, uid=None)


def _wrong_uid(answer: WriteConfigAnswer, random: Random) -> WriteConfigAnswer:
    wrong = random.randrange(1_000_000)
    if f"{wrong:06}" == answer.uid:
        wrong = (wrong + 1) % 1_000_000
    return replace(answer, uid=f"{wrong:06}")


def _garbled(answer: WriteConfigAnswer, random: Random) -> WriteConfigAnswer:
    """One digit of the frames is another one; or it is another port or baud."""
    if answer.params is None:
        return replace(answer, modulePort=_next(answer.modulePort, 5), moduleBaud=_next(answer.moduleBaud, 3))
    digits = [place for place, letter in enumerate(answer.params[:-1]) if letter in "0123456789ABCDEFabcdef"]
    if not digits:
        return answer
    place = random.choice(digits)
    digit = f"{int(answer.params[place], 16) ^ random.randrange(1, 16):X}"
    return replace(answer, params=answer.params[:place] + digit + answer.params[place + 1 :])


def _next(code: int | None, count: int) -> int | None:
    return None if code is None else (code + 1) % count


def _foreign(answer: WriteConfigAnswer, random: Random) -> WriteConfigAnswer:
    return _wrong_uid(_garbled(answer, random), random)


def _exceptions(answer: WriteConfigAnswer, _: Random) -> WriteConfigAnswer:
    """The controller's exceptions in the place of the frames."""
    frames = (item.rpartition(",")[0] for item in split_frames(answer.params or ""))
    return replace(answer, params=";".join(f"{_exception(frame)},0" for frame in frames))


def _exception(frame: str) -> str:
    try:
        request = parse_request(frame)
    except ModbusFrameError:
        return frame
    return ExceptionResponse(request.unit, request.function, DEVICE_FAILURE).to_hex()


MANNERS: dict[str, Manner] = {
    "none": Manner("as it should", lambda answer, *_: at_once(answer)),
    "silent": Manner("no answer; a reset is not carried out", lambda *_: ()),
    "late": Manner(
        f"an answer after {LATE_S:g} seconds; late=SECONDS: after so many",
        lambda answer, turn, _: (Step(turn.seconds, answer),),
    ),
    "twice": Manner(
        f"the answer, and {AGAIN_S:g} seconds later the same again",
        lambda answer, *_: (Step(0.0, answer), Step(AGAIN_S, answer)),
    ),
    "wrong_uid": Manner("an answer with another uid", _rewritten(_wrong_uid)),
    "without_uid": Manner("an answer without a uid", _rewritten(_without_uid)),
    "garbled": Manner("an answer that echoes something else than was sent", _rewritten(_garbled)),
    "foreign": Manner("an answer to something that was not sent: wrong_uid and garbled", _rewritten(_foreign)),
    "refuses": Manner("0, and nothing is done", lambda answer, *_: at_once(answer), says=False),
    "exception": Manner("a Modbus exception, and nothing is done", _rewritten(_exceptions), says=False),
    "pretends": Manner("1, but nothing is done", lambda answer, *_: at_once(answer), says=True),
    "hangs_up": Manner("it is done, but the line is dropped in place of an answer", lambda *_: (Step(0.0, None),)),
}
"""The manners by their names."""


def parse_turns(text: str) -> tuple[Turn, ...]:
    """Read a list of manners, separated by commas: ``silent``, ``late=5,none``.

    :raises ValueError: one of them is none; the text says which.
    """
    return tuple(_turn(word.strip()) for word in text.split(","))


def _turn(word: str) -> Turn:
    name, equals, number = word.partition("=")
    if name not in MANNERS:
        raise ValueError(f"{quoted(name)} is not one of {', '.join(MANNERS)}")
    if not equals:
        return Turn(name)
    try:
        seconds = float(number)
    except ValueError:
        seconds = -1.0
    if name != "late" or not 0 <= seconds <= LONGEST_S:
        raise ValueError(f"{quoted(word)} is not late=SECONDS, up to {LONGEST_S:g}")
    return Turn(name, seconds)


class FaultProfile:
    """The answers of one device: command by command the next of its turns, in a circle.

    :param turns: at least one.
    :param random: decides what is wrong in wrong answers.
    """

    def __init__(self, turns: Sequence[Turn], random: Random) -> None:
        self._turns = cycle(turns)
        self._turn = next(self._turns)
        self._random = random

    @property
    def says(self) -> bool | None:
        """Find the answer that replaces the writes of the current command; None: they are executed."""
        return MANNERS[self._turn.manner].says

    def answers(self, answer: OrderAnswer) -> Iterable[Step]:
        """A :data:`cmmd.gateway.link.orders.Answers`: the steps of the turn, which is over then."""
        turn, self._turn = self._turn, next(self._turns)
        return MANNERS[turn.manner].steps(answer, turn, self._random)
