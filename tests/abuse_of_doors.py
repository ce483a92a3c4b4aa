"""Abuse by those who know a hostid, from another address than the device; as in :mod:`tests.abuse`."""

import json
import time
from collections.abc import Callable

from tests.abuse import crowd, rush
from tests.plain_device import PlainDevice, message, register

__all__ = ["DOOR_ABUSES", "false_history", "hostids_guessed", "sessions_taken_over"]

VICTIM = "VICTIM"
ELSEWHERE = "127.0.0.{}"
FIRST_ADDRESS = 60


def false_history(port: int) -> None:
    """Uploads that say that they are from last year, at full speed: none is taken, and none is refused for good."""
    register(port, VICTIM)

    def upload(number: int) -> None:
        with PlainDevice(port, ELSEWHERE.format(FIRST_ADDRESS + number)) as device:
            device.ask(message("LongCon", VICTIM))
            for turn in rush():
                itime = int((time.time() - 86_400) * 1000) + turn
                answer = device.ask(message("reqdata", VICTIM, params="0103020001", itime=itime))
                assert answer["retcode"] == "000006", answer

    crowd(upload)


def sessions_taken_over(port: int) -> None:
    """Sessions from elsewhere that come, speak and go without end: the device's own one is served all the time."""
    register(port, VICTIM)

    def take_over(number: int) -> None:
        for _ in rush():
            with PlainDevice(port, ELSEWHERE.format(FIRST_ADDRESS + number)) as device:
                device.send(message("LongCon", VICTIM), message("HB", VICTIM), message("HB", VICTIM))
                device.receive()

    with PlainDevice(port) as own:
        assert own.ask(message("LongCon", VICTIM))["retcode"] == "000000"
        crowd(take_over)
        assert own.ask(message("HB", VICTIM))["retcode"] == "000000"


def hostids_guessed(port: int) -> None:
    """Hostids asked for from many addresses: a known one is answered as an unknown one when a budget is used up."""
    register(port, VICTIM)

    def guess(number: int) -> None:
        address = ELSEWHERE.format(FIRST_ADDRESS + number)
        for turn in rush():
            with PlainDevice(port, address) as device:
                device.send(message("LongCon", f"GUESS{number}x{turn}"))
                assert json.loads(device.rest())["retcode"] == "000003"

    crowd(guess, 20)


DOOR_ABUSES: tuple[Callable[[int], object], ...] = (false_history, sessions_taken_over, hostids_guessed)
