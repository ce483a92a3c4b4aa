"""Execute a server's commands one after the other, and answer them (protocol sections 4.6 and 4.8)."""

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from msgspec import UNSET
from msgspec.structs import replace
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cmmd.gateway.allowed_writes import STOP_WAITS_S
from cmmd.gateway.link.acknowledgements import Acknowledgements, Form, Meaning, form_of
from cmmd.gateway.link.connection import Command, LinkError
from cmmd.gateway.link.orders import Answers, LinkCounters, OrderAnswer, Step
from cmmd.gateway.link.source import OutcomeUnknown, Source
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer
from cmmd.wire.quoting import quoted

__all__ = ["ORDER_PATIENCE_S", "WAITING_COMMANDS", "CommandExecutor", "Say"]

WAITING_COMMANDS = 16
"""Orders that can wait for the one under way; more of them are refused at once."""

ORDER_PATIENCE_S = 10.0
"""How long an order waits for those before it, in seconds from when it came. Its sender does not expect it for ever:
later it could start an engine that a person works at by then. A stop has no such limit: a late stop does no harm."""

Say = Callable[[OrderAnswer], None]
"""Sends an answer on the connection that the order came on."""


@dataclass(slots=True, eq=False)
class _Order:
    """An order and what is known of its turn.

    :ivar form: what of it is to be carried out; None: a reset.
    :ivar came_at: seconds of the clock.
    :ivar stops_before: stops that had come before the order.
    :ivar at_once: the order waits for nothing any more.
    :ivar unanswered: it is carried out, but not answered.
    :ivar noted: the acknowledgements know of its answer.
    """

    command: Command
    say: Say
    form: Form | None
    came_at: float
    stops_before: int
    at_once: bool = False
    unanswered: bool = False
    noted: bool = False

    @property
    def frames(self) -> Sequence[str]:
        """Modbus frames to write, in their order; empty: there are none."""
        return () if self.form is None else self.form.frames

    @property
    def stop(self) -> bool:
        """Tell whether all of the order is the controller's stop command."""
        return self.form is not None and self.form.stop


class CommandExecutor:
    """Carries the orders of one session out, whichever of its connections they come on.

    Orders are carried out one after the other, as they came. A stop overtakes all orders that wait, and these are
    refused: nothing that was ordered before a stop is begun after it. A stop waits for the order under way, because the
    bus can carry one request at a time, but for :data:`cmmd.gateway.allowed_writes.STOP_WAITS_S` at most.

    When the session ends, its orders end with it, except stops: each stop that has come is carried out, and only its
    answer is not sent any more.

    :param source: obeys.
    :param answers: how answers go out.
    :param begin: does something beside everything else, until the session ends; after its end, nothing.
    :param begin_stop: carries a stop out beside everything else; the end of the session does not end that.
    :param acknowledgements: tells what only acknowledges from what is an order.
    :param restart: ends the session after a reset.
    :param over: whether the session has ended: only stops are begun then, however a source takes being cancelled.
    """

    def __init__(
        self,
        source: Source,
        *,
        hostid: str,
        answers: Answers,
        clock: IReactorTime,
        counters: LinkCounters,
        log: Logger,
        acknowledgements: Acknowledgements,
        begin: Callable[[Coroutine[Any, Any, None]], None],
        begin_stop: Callable[[Coroutine[Any, Any, None]], None],
        restart: Callable[[], None],
        over: Callable[[], bool],
    ) -> None:
        self._source = source
        self._hostid = hostid
        self._answers = answers
        self._clock = clock
        self._counters = counters
        self._log = log
        self._acknowledgements = acknowledgements
        self._begin = begin
        self._begin_stop = begin_stop
        self._restart = restart
        self._over = over
        self._started = False
        self._waiting: deque[_Order] = deque()
        self._under_way = 0
        self._unanswered = 0
        self._stops = 0  # that have come

    @property
    def busy(self) -> bool:
        """Tell whether an order waits, or is being carried out or answered."""
        return self._unanswered > 0

    # --- whose turn it is --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin with the orders that wait: the session is attached."""
        self._started = True
        self._go_on()

    def end(self) -> None:
        """Begin all stops that wait, and drop the other orders: the session has ended."""
        waiting, self._waiting = self._waiting, deque()
        for order in waiting:
            if order.stop:
                self._begin_stop(self._carry_out(order))

    def take(self, command: Command, say: Say) -> None:
        """Carry an order out when its turn comes, or refuse it where too many wait.

        What only acknowledges an order that has come before is ignored: carried out, it would be done twice.
        """
        form = form_of(command, self._source.is_stop) if isinstance(command, WriteConfig) else None
        if isinstance(command, WriteConfig) and form is not None:
            meaning = self._acknowledgements.meaning(command, form, self._hostid)
        else:
            meaning = self._acknowledgements.meaning_of_reset(cast("Reset", command), self._hostid)
        if meaning is Meaning.ACKNOWLEDGEMENT:
            return
        order = _Order(command, say, form, self._clock.seconds(), self._stops)
        order.unanswered = meaning is Meaning.UNANSWERED
        self._unanswered += 1
        if order.stop:
            self._stops += 1
            order.stops_before = self._stops
            self._refuse_what_waits()
        if len(self._waiting) >= WAITING_COMMANDS:
            self._refuse(order, f"{WAITING_COMMANDS} others wait")
            return
        self._waiting.append(order)
        if order.stop:
            self._begin(self._wait_no_longer(order))
        self._go_on()

    def _refuse_what_waits(self) -> None:
        """Refuse all orders that wait, but for stops: a stop has come."""
        waiting, self._waiting = self._waiting, deque(order for order in self._waiting if order.stop)
        for order in waiting:
            if not order.stop:
                self._refuse(order, "a stop came after it")

    async def _wait_no_longer(self, order: _Order) -> None:
        """Begin a stop beside the order under way, once it has waited for that long enough."""
        await deferLater(self._clock, STOP_WAITS_S)
        order.at_once = True
        self._go_on()

    def _go_on(self) -> None:
        """Begin the orders whose turn it is."""
        while self._waiting and self._started and not self._over():
            if self._under_way and not self._waiting[0].at_once:
                return
            self._under_way += 1
            order = self._waiting.popleft()
            begin = self._begin_stop if order.stop else self._begin
            begin(self._carry_out(order))

    # --- carrying out ------------------------------------------------------------------------------------------------

    async def _carry_out(self, order: _Order) -> None:
        """Carry one order out, and answer it."""
        self._counters.commands += 1
        if isinstance(order.command, WriteConfig):
            answer = await self._written(order, order.command)
            if self._over():
                self._log.warn("{hostid}: the session ended first, the server is not answered", hostid=self._hostid)
                return
            self._note_answer(order)
            self._begin(self._answer(() if answer is None else self._answers(answer), order))
        else:
            await self._reset(order)
        self._under_way -= 1
        self._go_on()

    async def _reset(self, order: _Order) -> None:
        """End the session by order (4.8). The protocol has no word for a refused reset: it is not answered."""
        if self._source.inputs().inhibit_remote == 1:
            self._log.warn("{hostid}: reset refused: remote control is inhibited", hostid=self._hostid)
            self._unanswered -= 1
            return
        steps = tuple(self._answers(ResetAnswer(hostid=self._hostid)))
        await self._answer(steps, order)
        if steps:  # a device that does not answer stays as it is
            self._log.info("{hostid}: reset by order of the server", hostid=self._hostid)
            self._restart()

    async def _written(self, order: _Order, command: WriteConfig) -> WriteConfigAnswer | None:
        """Carry a writeConfig out (4.6).

        :return: how it went: ``<frame>,1`` or ``<frame>,0`` for each frame, ``,0`` where there was nothing to do. None:
            the outcome is unknown; the server gets no answer and draws its conclusion from that. Frames behind the
            one whose outcome is unknown are not begun.
        """
        port, baud = _wiring(command)
        try:
            if order.frames or command.result is not UNSET:
                written = [(frame, await self._sent(order, frame)) for frame in order.frames]
                return self._answer_to(command, written)
            asks = (port, baud) != (None, None)
            if asks and await self._source.set_port(port, baud, lambda: self._objection(order)):
                return replace(self._answer_to(command, ()), params=None, modulePort=port, moduleBaud=baud)
        except CancelledError:
            raise
        except OutcomeUnknown as error:
            self._log.warn(
                "{hostid}: a command is not answered, it is unknown whether it was done: {error}",
                hostid=self._hostid,
                error=error,
                reason="outcome of a command unknown",
            )
            return None
        except Exception:
            self._log.failure("{hostid}: a command was not answered", hostid=self._hostid)
            return None
        return self._answer_to(command, ())

    async def _sent(self, order: _Order, frame: str) -> bool:
        """Have the source carry one frame of an order out."""
        if order.stop:
            waited_s = self._clock.seconds() - order.came_at
            return await self._source.stop(frame, max(STOP_WAITS_S - waited_s, 0.0))
        return await self._source.write(frame, lambda: self._objection(order))

    def _objection(self, order: _Order) -> str | None:
        """Say why an order must not be carried out any more; asked directly before each of its frames leaves."""
        if self._stops != order.stops_before:
            return "a stop came after it"
        if self._clock.seconds() >= order.came_at + ORDER_PATIENCE_S:
            return f"it had waited for {ORDER_PATIENCE_S:.0f} s"
        return None

    # --- answering ---------------------------------------------------------------------------------------------------

    def _refuse(self, order: _Order, why: str) -> None:
        """Answer an order as not done, without having begun it."""
        self._counters.commands += 1
        command = order.command
        self._log.warn(
            "{hostid}: an order is not carried out: {why}: {order}",
            hostid=self._hostid,
            why=why,
            order=quoted(";".join(order.frames) or command.method),
        )
        if isinstance(command, WriteConfig):
            answer = self._answer_to(command, [(frame, False) for frame in order.frames])
            self._begin(self._answer(self._answers(answer), order))
        else:  # the protocol has no word for a refused reset
            self._unanswered -= 1

    def _answer_to(self, command: WriteConfig, done: Sequence[tuple[str, bool]]) -> WriteConfigAnswer:
        """Say for each frame whether it was done; ``,0`` where there is none."""
        params = ";".join(f"{frame},{obeyed:d}" for frame, obeyed in done) or ",0"
        return WriteConfigAnswer(params=params, hostid=self._hostid, uid=None if command.uid is UNSET else command.uid)

    def _note_answer(self, order: _Order) -> None:
        if not order.unanswered:
            self._acknowledgements.answered(order.command, order.form, again=order.noted)
            order.noted = True

    async def _answer(self, steps: Iterable[Step], order: _Order) -> None:
        """Answer as the steps have it."""
        try:
            for after_s, message in steps:
                if after_s > 0:
                    await deferLater(self._clock, after_s)
                if message is None:
                    raise LinkError("the line was dropped in place of an answer")
                if order.unanswered:
                    continue
                self._note_answer(order)
                order.say(message)
        finally:
            self._unanswered -= 1


def _wiring(command: WriteConfig) -> tuple[int | None, int | None]:
    """Give the port and speed that are ordered; None: none."""
    return (
        None if command.modulePort is UNSET else command.modulePort,
        None if command.moduleBaud is UNSET else command.moduleBaud,
    )
