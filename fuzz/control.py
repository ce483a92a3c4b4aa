"""A program at the control port: whatever comes, each request has at most one answer, and no bug is logged.

A record is one request: lines ``key=value`` divided by the byte 1F, sent as a box of AMP with a number to answer to.
Those that begin with a control character:

- 01: time passes, by the byte behind it; 02: what follows is sent as it is
- 03: a box without a number; 06: the program reads no more, or again
"""

import itertools

from twisted.protocols import amp

from cmmd.control.connection import BYTES_A_RECEIVE
from cmmd.control.responder import Responder
from fuzz.harness import MOST_TURNS, RECORD, Escape, Peer, Steps, Target, WatchedLog, records, time_passes, turn
from fuzz.session import cheap_passwords
from fuzz.words import HOSTID
from tests.control_world import ControlWorld
from tests.transports import MemoryTransport

__all__ = ["LINE", "TARGET"]

LINE = b"\x1f"
NAMES = (
    *("Status", "ListDevices", "GetDevice", "GetLive", "GetMonitor", "GetHistory", "ListEvents", "ListSecurityEvents"),
    *("ListAlarms", "AcknowledgeAlarm", "SetDevice", "Enrol", "GetEnrolment", "SetEnrolment", "ApproveDevice"),
    *("RejectDevice", "ForgetDevice", "ResetPassword", "LockDevice", "UnlockDevice", "ClearInput", "SendCommand"),
    *("WriteConfig", "WritePort", "Reset", "ListCommands", "GetCommand", "CancelCommand", "Watch", "Unwatch"),
)


class ControlTarget(Target):
    """Takes a script of one connection of a program."""

    INPUTS = 100
    WORDS = (
        *(RECORD, RECORD + b"\x01", RECORD + b"\x02", RECORD + b"\x03", RECORD + b"\x06", LINE),
        *(b"_command=" + name.encode() for name in NAMES),
        *(b"_ask=1", b"_answer=1", b"_error=1", b"hostid=" + HOSTID, b"result=00050003FF007DEB", b"limit=1"),
        *(b"requester=x", b"timeout=1e9", b"override=remote_inhibited", b"name=stop", b"changes={}", b"\0\x08hostid"),
    )

    def __init__(self, steps: Steps, log: WatchedLog) -> None:
        super().__init__(steps, log)
        cheap_passwords()
        self._control = ControlWorld()
        self._control.online()
        self._clock = self._control.clock
        self._numbers = itertools.count(1)

    def run(self, script: bytes) -> None:
        gone: list[object] = []
        responder = Responder(self._control.around(), known=lambda _: "uid 1000 pid 77", gone=gone.append)
        transport = MemoryTransport(responder)
        self.steps(responder.makeConnection, transport)
        program = Peer(self.steps, transport, BYTES_A_RECEIVE)
        self._asked: set[bytes] = set()
        reads, raw = True, False
        for record in records(script):
            match record[0]:
                case 1:
                    time_passes(self._clock, record)
                case 6 if not transport.lost:
                    reads = not reads
                    self.steps(responder.resumeProducing if reads else responder.pauseProducing)
                case 2:
                    raw = True
                    program.say(record[1:])
                case _:
                    program.say(self._box(record))
            for _ in range(MOST_TURNS):
                received = program.turn()
                if not (self.steps(turn, self._clock) or received):
                    break
            self.log.check()
        self._check(transport.value(), raw)
        self.steps(transport.lose)
        if gone != [responder]:
            raise Escape(f"the end of the connection was told {len(gone)} times")

    def _box(self, record: bytes) -> bytes:
        is_ask = record[:1] != b"\x03"
        lines = dict(line.partition(b"=")[::2] for line in record.lstrip(b"\x03").split(LINE))
        fields = {key[: amp.MAX_KEY_LENGTH]: value[: amp.MAX_VALUE_LENGTH] for key, value in lines.items() if key}
        if is_ask and not fields.keys() & {amp.ASK, amp.ANSWER, amp.ERROR}:
            fields[amp.ASK] = b"%x" % next(self._numbers)
        if amp.ASK in fields:
            self._asked.add(fields[amp.ASK])
        box: bytes = amp.Box(fields).serialize()
        return box

    def _check(self, said: bytes, raw: bool) -> None:
        answers: set[bytes] = set()
        for box in amp.parseString(said):
            number = box.get(amp.ANSWER) or box.get(amp.ERROR)
            if number is None:
                if amp.COMMAND not in box:
                    raise Escape(f"a box that is no answer and no request: {box}")
            elif not raw and number not in self._asked:
                raise Escape(f"an answer to nothing: {box}")
            else:
                answers.add(number)


TARGET = ControlTarget
