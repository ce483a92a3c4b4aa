"""The time that an emulated genset lives in: the wall clock's, unless somebody stops it or puts it forward."""

from collections.abc import Callable

__all__ = ["WorldClock"]


class WorldClock:
    """A clock that can be stopped, so that readings stay as they are, and put forward, so that nobody has to wait.

    :param seconds: the wall clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._wall = seconds
        self._ahead = 0.0  # of the wall clock
        self._stopped_at: float | None = None

    def seconds(self) -> float:
        """The time."""
        return self._wall() + self._ahead if self._stopped_at is None else self._stopped_at

    @property
    def stopped(self) -> bool:
        """Whether it stands still."""
        return self._stopped_at is not None

    def stop(self) -> None:
        """Stand still from now on."""
        self._stopped_at = self.seconds()

    def go(self) -> None:
        """Go on from where it stands."""
        self._ahead = self.seconds() - self._wall()
        self._stopped_at = None

    def advance(self, seconds: float) -> None:
        """Put it forward; a clock that stands goes on standing there."""
        if self._stopped_at is None:
            self._ahead += seconds
        else:
            self._stopped_at += seconds
