"""Report the state of the gateway, gathered from its parts, for the status file and a log line."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cmmd import __version__
from cmmd.gateway.bus import Bus
from cmmd.gateway.inputs import Inputs
from cmmd.gateway.link.link import Link
from cmmd.gateway.poller import BusSource
from cmmd.gateway.port_settings import PortSettings

__all__ = ["Report"]

_COUNTED_OF_SOURCE = ("cycles", "unanswered", "exceptions", "withheld", "refused")
_COUNTED_OF_RECORDER = ("kept", "failed")
_COUNTED_OF_HISTORIAN = ("sent", "refused", "undated", "outdated")


class Report:
    """Tells how the parts are. All counts are since the start.

    :param login: where the link logs in. :param tls: whether with TLS.
    :param now: Unix time in seconds.
    """

    def __init__(
        self,
        *,
        login: str,
        tls: bool,
        link: Link,
        source: BusSource,
        bus: Bus,
        wiring: PortSettings,
        inputs: Inputs,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._login = login
        self._tls = tls
        self._link = link
        self._source = source
        self._bus = bus
        self._wiring = wiring
        self._inputs = inputs
        self._now = now
        self._started_at = now()

    def describe(self) -> dict[str, Any]:
        """Build the content of the status file as JSON; docs/gateway.md explains it."""
        identity = self._source.identity()
        return {
            "at": round(self._now(), 3),
            "started_at": round(self._started_at, 3),
            "pid": os.getpid(),
            "version": __version__,
            "hostid": identity.hostid,
            "hostname": identity.hostname,
            "moduletype": identity.moduletype,
            "server": self._server(),
            "controller": self._controller(),
            "buffer": self._buffer(),
            "inputs": dict(self._inputs.states),
        }

    def sum_up(self) -> str:
        """The same in a line."""
        server, controller, buffer = self._server(), self._controller(), self._buffer()
        hours = (self._now() - self._started_at) / 3600
        words = [
            "online" if server["online"] else "OFFLINE",
            "the controller answers" if controller["answers"] else "the controller DOES NOT ANSWER",
            f"in {hours:.1f} h {server['uploads']} uploads, {server['commands']} orders, {server['logins']} logins",
            f"{controller['cycles']} polls with {controller['unanswered']} requests unanswered",
        ]
        if buffer is not None:
            words.append(f"{buffer['waiting']} uploads wait in the buffer, {buffer['sent']} were sent from it")
        return "; ".join(words)

    def _server(self) -> dict[str, Any]:
        counted = asdict(self._link.counters)
        return {
            "login": self._login,
            "tls": self._tls,
            "online": counted.pop("online") > 0,
            "clock_offset_s": self._link.clock_offset,
            **counted,
        }

    def _controller(self) -> dict[str, Any]:
        source, bus = self._source, self._bus
        return {
            "port": bus.line.url,
            "module_port": self._wiring.module_port,
            "module_baud": self._wiring.module_baud,
            "baud_rate": bus.line.baud_rate,
            "open": bus.is_open,
            "answers": None if source.silent is None else not source.silent,
            **{name: getattr(source, name) for name in _COUNTED_OF_SOURCE},
            "unread": source.unread,
            "bus": asdict(bus.statistics),
        }

    def _buffer(self) -> dict[str, int] | None:
        outages = self._link.outages
        if outages is None:
            return None
        return {
            "waiting": outages.buffer.rows,
            "lost": outages.buffer.lost,
            **{name: getattr(outages.recorder, name) for name in _COUNTED_OF_RECORDER},
            **{name: getattr(outages.historian, name) for name in _COUNTED_OF_HISTORIAN},
        }
