"""Orders of a server at login, counters of links, and answers to commands, at once or as a test hook decides."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import UNSET

from cmmd.wire.messages import LoginResult, ResetAnswer, WriteConfigAnswer

__all__ = ["Answers", "LinkCounters", "OrderAnswer", "Orders", "Step", "at_once"]


DEFAULT_PERIOD_S = 3.0
"""The period of the paper (4.1), for a server that says none."""

SECONDS_BELOW = 100
"""A rate below this is in seconds (4.10): no server means ten uploads a second, and login answers say 5 or 15."""

SHORTEST_PERIOD_S = 0.1
LONGEST_PERIOD_S = 3600.0
"""What an upload period may be, whatever a server asks for."""


@dataclass(slots=True)
class LinkCounters:
    """Plain integers, shared by as many links as one likes.

    :ivar online: links that are attached now.
    :ivar logins: logins that were accepted.
    :ivar uploads: uploads that were answered with OK.
    :ivar refused: uploads and heartbeats that were answered with something else.
    :ivar commands: orders that came: writes, port changes, resets.
    :ivar failures: attempts and sessions that ended in trouble.
    """

    online: int = 0
    logins: int = 0
    uploads: int = 0
    refused: int = 0
    commands: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Orders:
    """The parts of a login answer that a session needs (protocol section 4.1).

    :ivar upload_period: seconds.
    :ivar data_mode: 0 changes, 1 everything.
    :ivar reset_packet_num: change packets after which a full set is due again; 0: never.
    """

    upload_period: float
    data_mode: int
    reset_packet_num: int

    @classmethod
    def of(cls, result: LoginResult, data_mode: int | None = None) -> "Orders":
        """Read them off a login answer.

        :param data_mode: overrides what the answer says; None: as the answer says, 1 where it says nothing.
        """
        if data_mode is None:
            data_mode = 0 if result.data_mode == 0 else 1
        packets = 0 if result.reset_packet_num is UNSET else max(result.reset_packet_num, 0)
        return cls(_period(result.online_rate), data_mode, packets)


def _period(online_rate: float) -> float:
    """The seconds between two uploads that a login answer means."""
    if online_rate <= 0:
        return DEFAULT_PERIOD_S
    period = online_rate if online_rate < SECONDS_BELOW else min(online_rate, LONGEST_PERIOD_S * 1000) / 1000
    return max(period, SHORTEST_PERIOD_S)


OrderAnswer = WriteConfigAnswer | ResetAnswer
"""What a device says to an order (sections 4.6 and 4.8)."""


class Step(NamedTuple):
    """A part of answering.

    :ivar after_s: seconds since the step before it, or since the order was carried out.
    :ivar message: what is sent; None: the line is dropped.
    """

    after_s: float
    message: OrderAnswer | None


Answers = Callable[[OrderAnswer], Iterable[Step]]
"""The steps that an answer is sent in, called once for each order; none at all: there is no answer."""


def at_once(answer: OrderAnswer) -> Iterable[Step]:
    """Send it: what a device does."""
    return (Step(0.0, answer),)
