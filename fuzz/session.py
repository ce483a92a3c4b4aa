"""Connections of devices: whatever comes, each answer is one document in a segment of its own, and no bug is logged.

A record is what one segment, or several in a row, bring. Those that begin with a control character:

- 01: time passes, by the byte behind it; 02: the device sends no more; 03: an order is sent to it
- 04: another connection, to which the server sends past its transport; 05: one to which it does not
- 06: the device reads no more, or again
"""

import json
from collections.abc import Iterable

from msgspec import UNSET

from cmmd.fleet.devices import passwords
from cmmd.server.connection import BYTES_A_RECEIVE
from cmmd.server.session import Session
from cmmd.wire.messages import WriteConfig
from fuzz.harness import MOST_TURNS, RECORD, Escape, Peer, Steps, Target, WatchedLog, records, time_passes, turn
from fuzz.words import HOSTID, JSON_WORDS, LARGE_DOCUMENTS, MESSAGE_WORDS
from tests.transports import DirectTransport, SegmentTransport
from tests.world import World

__all__ = ["TARGET", "cheap_passwords"]

TIME, HALF_CLOSE, ORDER, DIRECT, BUFFERED, READS = 1, 2, 3, 4, 5, 6
ORDER_TIMEOUT_S = 30.0
FRAME = "00050003FF007DEB"
MOST_CONNECTIONS = 8
ATTACH = b'{"method":"LongCon","hostid":"%s"}' % HOSTID


def cheap_passwords() -> None:
    """Let a password cost microseconds in this process: that is computed in threads, and no part of a step."""
    passwords._LOG2_N = 1


class SessionTarget(Target):
    """Takes a script of some connections of devices to one daemon."""

    LONGEST = 96 * 1024
    WORDS = (RECORD, *(RECORD + bytes([one]) for one in range(1, 7)), *JSON_WORDS, *MESSAGE_WORDS)
    LARGE = tuple(ATTACH + RECORD + one for one in LARGE_DOCUMENTS)

    def __init__(self, steps: Steps, log: WatchedLog) -> None:
        super().__init__(steps, log)
        cheap_passwords()
        self._world = World()
        self._clock = self._world.clock
        self._world.register()
        self._orders = 0

    def run(self, script: bytes) -> None:
        self._orders = 0
        devices = [_Device(self, SegmentTransport if script[:1] == bytes([BUFFERED]) else DirectTransport)]
        for record in records(script):
            device = devices[-1]
            match record[0]:
                case 1:
                    time_passes(self._clock, record)
                    self._settle(devices)
                case 2:
                    device.half_close()
                case 3:
                    device.order(self._next_uid())
                case 4 | 5 if len(devices) < MOST_CONNECTIONS:
                    devices.append(_Device(self, DirectTransport if record[0] == DIRECT else SegmentTransport))
                case 6:
                    device.transport.peer_reads = not device.transport.peer_reads
                case _:
                    device.say(record)
            self._settle(devices)
            self.log.check()
        for device in devices:
            device.transport.hang_up()
        turn(self._clock)
        self._check(devices)
        if self._world.presence.session_count:
            raise Escape("a session is left behind")

    def _next_uid(self) -> str:
        self._orders += 1
        return f"order {self._orders}"

    def _settle(self, devices: "Iterable[_Device]") -> None:
        """Let the reactor turn until it would sleep, but no longer than a loop without an end should take."""
        for _ in range(MOST_TURNS):
            went_on = [device.turn() for device in devices]
            if not (self.steps(turn, self._clock) or any(went_on)):
                return

    def _check(self, devices: "Iterable[_Device]") -> None:
        orders = 0
        for device in devices:
            for segment in device.transport.segments:
                try:
                    said = json.loads(segment)
                except ValueError:
                    raise Escape(f"a segment is not one document: {segment!r}") from None
                if "method" not in said:
                    raise Escape(f"a segment is no message: {segment!r}")
                orders += said["method"] == "writeConfig" and "result" in said
        if orders > self._orders:
            raise Escape(f"{orders} orders have left, {self._orders} were given")


class _Device:
    """One connection of a device, as a script has it.

    :param kind: how the server's messages leave.
    """

    def __init__(self, target: SessionTarget, kind: type[SegmentTransport]) -> None:
        self._steps = target.steps
        world = target._world
        self.session = Session(world.around, carries_commands=True)
        self.transport = kind(self.session, "192.0.2.7", world.clock.seconds)
        self._steps(self.transport.connect)
        self._peer = Peer(self._steps, self.transport, BYTES_A_RECEIVE)
        self._half_closed = False

    def say(self, data: bytes) -> None:
        """Send bytes; they wait where the server does not read."""
        if not self._half_closed:
            self._peer.say(data)

    def turn(self) -> bool:
        """Let the server receive once, and send once.

        :return: whether anything went on.
        """
        received = self._peer.turn()
        return self._steps(self.transport.turn) or received

    def half_close(self) -> None:
        """Send no more, and read on."""
        if self._peer.has_said_all and not (self._half_closed or self.transport.lost):
            self._half_closed = True
            self._steps(self.transport.half_close)

    def order(self, uid: str) -> None:
        """Have the server send an order."""
        message = WriteConfig(result=FRAME, modulePort=UNSET, uid=uid)
        going = self._steps(self.session.round_trip, message, ORDER_TIMEOUT_S, lambda: True)
        going.addErrback(lambda _: None)


TARGET = SessionTarget
