"""How a device obeys: what a server orders, carried out one after the other and answered (sections 4.6 and 4.8)."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, DeferredQueue, QueueOverflow
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cmmd.gateway.answers import Answers, OrderAnswer, Step
from cmmd.gateway.connection import Command, LinkError
from cmmd.gateway.orders import LinkCounters
from cmmd.gateway.source import OutcomeUnknown, Source, Veto
from cmmd.modbus.frames import split_frames
from cmmd.wire.messages import ResetAnswer, WriteConfig, WriteConfigAnswer

__all__ = ["ORDER_PATIENCE_S", "WAITING_COMMANDS", "Obedience", "Say"]

WAITING_COMMANDS = 16
"""Commands that may wait for the one being carried out; a server that sends more is not in its right mind."""

ORDER_PATIENCE_S = 10.0
"""How long an order may wait for what is before it, from when it came. Who gave it does not expect it for ever: later
it could start an engine that somebody is at by then."""

Say = Callable[[OrderAnswer], None]
"""Sends an answer on the connection that the order came on."""


class Obedience:
    """Carries the orders of one session out, whichever of its connections they come on.

    :param source: obeys.
    :param answers: how answers go out.
    :param begin: does something beside everything else, until the session ends.
    :param restart: ends the session after a reset.
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
        begin: Callable[[Coroutine[Any, Any, None]], None],
        restart: Callable[[], None],
    ) -> None:
        self._source = source
        self._hostid = hostid
        self._answers = answers
        self._clock = clock
        self._counters = counters
        self._log = log
        self._begin = begin
        self._restart = restart
        self._orders: DeferredQueue[tuple[Command, Say, Veto]] = DeferredQueue(size=WAITING_COMMANDS)
        self._unanswered = 0

    @property
    def busy(self) -> bool:
        """Whether an order waits, or is being carried out or answered."""
        return self._unanswered > 0

    def take(self, command: Command, say: Say) -> None:
        """Carry an order out when those before it are.

        :raises LinkError: too many wait.
        """
        try:
            self._orders.put((command, say, self._patience()))
        except QueueOverflow:
            raise LinkError(f"more than {WAITING_COMMANDS} commands at once") from None
        self._unanswered += 1

    def _patience(self) -> Veto:
        """Says from :data:`ORDER_PATIENCE_S` from now on that it is too late."""
        due = self._clock.seconds() + ORDER_PATIENCE_S
        why = f"it had waited for {ORDER_PATIENCE_S:.0f} s"
        return lambda: why if self._clock.seconds() >= due else None

    async def run(self, over: Callable[[], bool]) -> None:
        """Obey.

        :param over: whether the session has ended: nothing is carried out then, however a source takes being cancelled.
        """
        while not over():
            command, say, too_late = await self._orders.get()
            self._counters.commands += 1
            if isinstance(command, WriteConfig):
                answer = await self._written(command, too_late)
                self._begin(self._answer(() if answer is None else self._answers(answer), say))
            else:
                steps = tuple(self._answers(ResetAnswer(hostid=self._hostid)))
                await self._answer(steps, say)
                if steps:  # a device that does not answer stays as it is
                    self._log.info("{hostid}: reset by order of the server", hostid=self._hostid)
                    self._restart()

    async def _written(self, command: WriteConfig, too_late: Veto) -> WriteConfigAnswer | None:
        """Carry a writeConfig out (4.6).

        :param too_late: asked directly before a frame leaves.
        :return: how it went: ``<frame>,1`` or ``<frame>,0`` for each frame, ``,0`` where there was nothing to do. None:
            nobody knows how it went; the server gets no answer and draws its conclusion from that. Frames behind the
            one that nobody knows of are not begun.
        """
        port = None if command.modulePort is UNSET else command.modulePort
        baud = None if command.moduleBaud is UNSET else command.moduleBaud
        refused = WriteConfigAnswer(params=",0", hostid=self._hostid, uid=command.uid)
        try:
            if command.result is not UNSET:
                done = [(frame, await self._source.write(frame, too_late)) for frame in split_frames(command.result)]
                return replace(refused, params=";".join(f"{frame},{obeyed:d}" for frame, obeyed in done) or ",0")
            if (port, baud) != (None, None) and await self._source.set_port(port, baud, too_late):
                return replace(refused, params=None, modulePort=port, moduleBaud=baud)
        except CancelledError:
            raise
        except OutcomeUnknown as error:
            self._log.warn(
                "{hostid}: a command is not answered, nobody knows whether it was done: {error}",
                hostid=self._hostid,
                error=error,
                reason="outcome of a command unknown",
            )
            return None
        except Exception:
            self._log.failure("{hostid}: a command was not answered", hostid=self._hostid)
            return None
        return refused

    async def _answer(self, steps: Iterable[Step], say: Say) -> None:
        """Answer as the steps have it."""
        try:
            for after_s, message in steps:
                if after_s > 0:
                    await deferLater(self._clock, after_s)
                if message is None:
                    raise LinkError("the line was dropped in place of an answer")
                say(message)
        finally:
            self._unanswered -= 1
