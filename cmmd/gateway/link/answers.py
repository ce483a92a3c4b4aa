"""Send the answer to a command at once, or as a test hook decides that imitates other devices."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from cmmd.wire.messages import ResetAnswer, WriteConfigAnswer

__all__ = ["Answers", "OrderAnswer", "Step", "at_once"]

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
"""The steps that an answer goes out in, called once for each order; none at all: there is no answer."""


def at_once(answer: OrderAnswer) -> Iterable[Step]:
    """Send it: what a device does."""
    return (Step(0.0, answer),)
