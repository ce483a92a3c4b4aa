"""Log the server's commands: the time of each, and its outcome."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from cmmd.controllers.catalog import Catalog
from cmmd.gateway.link.source import InputStates, Precondition, Source, unopposed
from cmmd.gateway.port_settings import named
from cmmd.modbus.frames import ModbusFrameError, ReadRequest, WriteCoilRequest, parse_request
from cmmd.wire.messages import ChangeParams, LoginParams
from cmmd.wire.quoting import quoted

__all__ = ["CommandLog", "names_of"]

Names = Callable[[str], str]
"""What a frame is called."""


def names_of(catalog: Catalog, moduletype: str) -> Names:
    """Name the frames of a controller's commands: the profile's name, and the written value.

    :param moduletype: the controller's model.
    """
    commands = {one.coil: one.name for one in catalog.for_moduletype(moduletype).definition.commands}

    def name(frame: str) -> str:
        try:
            request = parse_request(frame)
        except ModbusFrameError:
            return f"no Modbus frame {quoted(frame)}"
        text = request.to_hex()
        if isinstance(request, WriteCoilRequest) and request.on and request.address in commands:
            return f"{commands[request.address]} ({text})"
        if isinstance(request, ReadRequest):
            return f"{text}, which writes nothing"
        return f"function {request.function:02X}, address {request.address} ({text})"

    return name


class CommandLog:
    """A source that hands everything on to another, and tells its orders.

    :param source: the other.
    :param name: what frames are called.
    """

    def __init__(self, source: Source, name: Names, log: Logger) -> None:
        self._source = source
        self._name = name
        self._log = log

    def identity(self) -> LoginParams:
        return self._source.identity()

    def follow(self, plan: str, data_mode: int) -> None:
        self._source.follow(plan, data_mode)

    def full_upload(self) -> Awaitable[str]:
        return self._source.full_upload()

    def change_upload(self) -> Awaitable[ChangeParams | str | None]:
        return self._source.change_upload()

    def reading(self) -> str:
        return self._source.reading()

    def inputs(self) -> InputStates:
        return self._source.inputs()

    async def write(self, frame: str, veto: Precondition = unopposed) -> bool:
        return await self._told(self._name(frame), self._source.write(frame, veto))

    def is_stop(self, frame: str) -> bool:
        return self._source.is_stop(frame)

    async def stop(self, frame: str, waits_s: float) -> bool:
        return await self._told(self._name(frame), self._source.stop(frame, waits_s), passes_inhibit=True)

    async def set_port(self, module_port: int | None, module_baud: int | None, veto: Precondition = unopposed) -> bool:
        return await self._told(named(module_port, module_baud), self._source.set_port(module_port, module_baud, veto))

    async def _told(self, what: str, doing: Awaitable[bool], *, passes_inhibit: bool = False) -> bool:
        inhibited = self._source.inputs().inhibit_remote == 1
        despite = ", passed on despite the inhibit input" if inhibited and passes_inhibit else ""
        self._log.info("order from the server: {what}{despite}", what=what, despite=despite)
        try:
            done = await doing
        except CancelledError:  # whatever else is raised is told by who answers the server
            self._log.warn("{what}: the session ended first, the server is not answered", what=what)
            raise
        if done:
            self._log.info("{what}: done", what=what)
        else:
            why = "refused: remote control is inhibited" if inhibited and not passes_inhibit else "not done"
            self._log.warn("{what}: {why}", what=what, why=why)
        return done
