"""Whether a line sends back what is sent: it has to be known before a write whose answer is the request itself.

Some RS485 adapters leave their receiver on while they send. The answer to functions 05 and 06 is equal to the request,
so that there an echo alone would look like a controller's "done". The read that finds it out is the only one that no
server has ordered; polls mostly show it before.
"""

from collections.abc import Callable

from cmmd.gateway.bus.errors import ExceptionAnswer, NoAnswer, NotSent
from cmmd.gateway.bus.response_matcher import is_its_own_answer
from cmmd.gateway.bus.transaction import Transactions
from cmmd.modbus.frames import Function, ReadRequest, Request

__all__ = ["find_out_echo", "needs_echo_known"]


def needs_echo_known(request: Request) -> bool:
    """Whether an echo of this request would pass for its answer, in a way that matters."""
    return not isinstance(request, ReadRequest) and is_its_own_answer(request)


async def find_out_echo(wire: Transactions, request: Request, attempts: int, wanted: Callable[[], bool]) -> None:
    """Read what the request is to write, until it is known whether the line echoes.

    That the controller refuses to give it will do: a refusal comes after the echo too.

    :param attempts: how often to read at most.
    :param wanted: whether the request is still to be sent: else the line is left to those behind it.
    :raises NotSent: it remains unknown, as where no controller answers.
    """
    reads = Function.READ_COILS if request.function == Function.WRITE_COIL else Function.READ_HOLDING_REGISTERS
    probe = ReadRequest(request.unit, reads, request.address, 1)
    for _ in range(attempts):
        if not wanted():
            raise NotSent("the request is not wanted any more")
        try:
            await wire.silence()
            await wire.ask(probe)
        except (NoAnswer, ExceptionAnswer):
            pass
        if wire.echo is not None:
            return
    raise NotSent("not known whether the line echoes, since no read is answered: a write could not be judged")
