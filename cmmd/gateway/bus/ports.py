"""Choose the kind of port for a line."""

from typing import Any

from twisted.internet.defer import Deferred

from cmmd.gateway.bus.line import Line
from cmmd.gateway.bus.port import Port, PortOpener, PortUser
from cmmd.gateway.bus.tcp import open_tcp
from cmmd.gateway.bus.threaded import open_threaded
from cmmd.gateway.bus.tty import open_tty
from cmmd.gateway.link.address import tcp_endpoints

__all__ = ["port_opener"]


def port_opener(reactor: Any) -> PortOpener:  # of all interfaces that the kinds want
    """The usual way to open ports.

    A device is opened at once; a ``socket://`` is a TCP connection; whatever else is a URL is opened by pyserial, in a
    thread, because it may block.

    :param reactor: the one they live in.
    """
    endpoints = tcp_endpoints(reactor)

    async def open_port(line: Line, user: PortUser) -> Port:
        if not line.remote:
            return open_tty(line, user, reactor)
        if line.address is not None:
            return await open_tcp(endpoints(line.address), user)
        return await open_threaded(line, user, reactor)

    return lambda line, user: Deferred.fromCoroutine(open_port(line, user))
