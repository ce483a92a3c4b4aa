"""Polls of a profile: the reads that a device repeats at its controller."""

from typing import Annotated, Literal

from msgspec import Meta

from cmmd.controllers.fields import Address, Entry, Unit
from cmmd.modbus.frames import Function, ReadRequest

__all__ = ["COILS_PER_POLL", "REGISTERS_PER_POLL", "Poll"]

COILS_PER_POLL = 2000
"""Most coils or discrete inputs in one Modbus request."""

REGISTERS_PER_POLL = 125
"""Most registers in one Modbus request."""


class Poll(Entry, frozen=True, kw_only=True):
    """``[[polls]]``: ``count`` coils or registers from ``address`` on, by Modbus function 1, 2, 3 or 4.

    ``known_counts``: how many other servers poll from the same address. A device that was theirs goes on with that for
    a while, and its answers are understood.
    """

    unit: Unit
    function: Literal[1, 2, 3, 4]
    address: Address
    count: Annotated[int, Meta(ge=1)]
    known_counts: tuple[Annotated[int, Meta(ge=1)], ...] = ()

    @property
    def addresses(self) -> range:
        """Every address that it reads."""
        return range(self.address, self.address + self.count)

    @property
    def most(self) -> int:
        """The most coils or registers that Modbus allows in one request."""
        return COILS_PER_POLL if Function(self.function).reads_bits else REGISTERS_PER_POLL

    @property
    def known_requests(self) -> tuple[ReadRequest, ...]:
        """The requests of other servers, by ``known_counts``."""
        return tuple(
            ReadRequest(self.unit, Function(self.function), self.address, count) for count in self.known_counts
        )

    @property
    def request(self) -> ReadRequest:
        """The same as a Modbus request; only for a poll that has been checked."""
        return ReadRequest(self.unit, Function(self.function), self.address, self.count)
