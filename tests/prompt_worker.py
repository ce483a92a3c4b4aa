"""A worker that works at once, for tests without threads."""

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

__all__ = ["PromptWorker"]

T = TypeVar("T")


class PromptWorker:
    """A :class:`cmmd.gateway.store_and_forward.buffer.Worker`.

    :ivar running: whether it may be asked. :ivar fails: what the next work fails with, before it is begun.
    """

    def __init__(self) -> None:
        self.running = False
        self.fails: Exception | None = None

    def start(self) -> None:
        assert not self.running, "started twice"
        self.running = True

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        assert self.running, "not started"
        return maybeDeferred(self._work, work)

    def stop(self) -> None:
        self.running = False

    def _work(self, work: Callable[[], T]) -> T:
        if self.fails is not None:
            raise self.fails
        return work()
