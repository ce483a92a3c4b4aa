"""Tell systemd of this process: that it is ready, stopping, and alive (``sd_notify``, ``Type=notify``)."""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["ServiceManager", "tell_service_manager"]

log = Logger()


class ServiceManager(Service):
    """Tells the service manager that started this process, if there is one.

    The watchdog is answered from the reactor's own turns: a process whose reactor hangs is killed and started again.

    :param clock: for the watchdog. :param environment: has ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``. They are taken out
        of it, so that no process which this one starts speaks for it.
    """

    def __init__(self, clock: IReactorTime, environment: MutableMapping[str, str] = os.environ) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        watched = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        interval_us = environment.pop("WATCHDOG_USEC", "")
        self._interval_s = int(interval_us) / 1_000_000 if watched and interval_us.isdigit() else 0.0
        self._beating = LoopingCall(self._tell, "WATCHDOG=1")
        self._beating.clock = clock

    def startService(self) -> None:
        """Say that the process serves: call it when everything is listened on."""
        super().startService()
        if self._address:
            self._tell(f"READY=1\nMAINPID={os.getpid()}")
            if self._interval_s > 0:
                self._beating.start(self._interval_s / 2)

    def stopService(self) -> None:
        """Say that the process is stopping; its watchdog continues until it has."""
        super().stopService()
        if self._address:
            self._tell("STOPPING=1")

    def end(self) -> None:
        """Say nothing any more."""
        if self._beating.running:
            self._beating.stop()

    def _tell(self, message: str) -> None:
        address = self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as telling:
            telling.setblocking(False)
            telling.sendto(message.encode("ascii"), "\0" + address[1:] if address.startswith("@") else address)


def tell_service_manager(reactor: Any) -> None:
    """Tell systemd of the service that twistd runs: ready when its reactor runs, stopping when the reactor is stopped.

    twistd starts all services, and they listen, before the reactor runs.
    """
    manager = ServiceManager(reactor)
    reactor.callWhenRunning(manager.startService)
    reactor.addSystemEventTrigger("before", "shutdown", manager.stopService)
    reactor.addSystemEventTrigger("after", "shutdown", manager.end)
