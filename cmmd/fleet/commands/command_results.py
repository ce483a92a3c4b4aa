"""What a device's answer to a command says (protocol sections 4.6 and 4.8)."""

from cmmd.modbus.frames import ExceptionResponse, ModbusFrameError, parse_response
from cmmd.store.records import Command, Outcome
from cmmd.wire.messages import ResetAnswer, WriteConfigAnswer
from cmmd.wire.quoting import printable

__all__ = ["LONGEST_REPLY", "outcome_of", "reply_text"]

LONGEST_REPLY = 1000
"""Characters kept of an answer."""


def reply_text(answer: WriteConfigAnswer | ResetAnswer) -> str:
    """What was answered, printable, for people and the audit."""
    if isinstance(answer, ResetAnswer):
        return "reset"
    if answer.params is None:
        return f"modulePort={answer.modulePort},moduleBaud={answer.moduleBaud}"
    return printable(answer.params[:LONGEST_REPLY])


def outcome_of(command: Command, answer: WriteConfigAnswer | ResetAnswer) -> Outcome:
    """What became of a command.

    :return: ``done`` where every frame, or the port, that was sent is echoed, frames with a 1; ``refused`` where any
        has a 0, or is answered with a Modbus exception. ``lost`` where the answer says neither: nobody knows.
    """
    if isinstance(answer, ResetAnswer):
        return "done"
    if not (answer.params or "").strip():
        port = f"modulePort={answer.modulePort},moduleBaud={answer.moduleBaud}"
        return "done" if command.kind == "port" and port == command.request else "lost"
    items = [item for part in (answer.params or "").split(";") if (item := "".join(part.split()))]
    said = [item.rpartition(",") for item in items]
    if any(flag == "0" or _is_exception(frame) for frame, _, flag in said):
        return "refused"
    echoed = [frame.upper() for frame, _, flag in said if flag == "1"]
    return "done" if command.kind == "modbus" and echoed == command.request.split(";") else "lost"


def _is_exception(frame: str) -> bool:
    try:
        return isinstance(parse_response(frame), ExceptionResponse)
    except ModbusFrameError:
        return False
