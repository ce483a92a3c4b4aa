"""The controller: modes, commands, delays; when the engine runs and what feeds the load."""

from collections.abc import Callable, Iterator
from enum import Enum, StrEnum
from math import ceil, inf

from cmmd.simulator.genset.engine import CRANK_ATTEMPTS, FUELLED, Engine, EngineState
from cmmd.simulator.genset.faults import Fault, Faults

__all__ = [
    "CLOCK_TOLERANCE_S",
    "MAINS_ABNORMAL_S",
    "MAINS_NORMAL_S",
    "START_DELAY_S",
    "STOP_DELAY_S",
    "TRANSFER_S",
    "Controller",
    "Delayed",
    "Mode",
    "Supply",
    "Transfer",
    "seconds_left",
]


MAINS_ABNORMAL_S = 5.0
"""How long the mains must be abnormal before the controller takes them for it."""

MAINS_NORMAL_S = 10.0
"""How long they must be normal again."""

START_DELAY_S = 2.0
"""In auto mode, from abnormal mains to the start of the engine."""

STOP_DELAY_S = 5.0
"""In auto mode, from normal mains to the cooling of the engine; the load returns to the mains meanwhile."""

TRANSFER_S = 2.0
"""From the opening of one breaker to the closing of the other."""


CLOCK_TOLERANCE_S = 1e-3
"""What sums of floating-point seconds may lack: a delay is over when less than this is left of it."""


def seconds_left(until: float, now: float) -> int:
    """Compute the shown rest of a delay: whole seconds, 0 where none runs (``until`` is infinite)."""
    return 0 if until == inf else max(ceil(until - now - CLOCK_TOLERANCE_S), 0)


class Delayed:
    """A condition that is believed once it has lasted.

    :param value: what is believed at first.
    :param rise_s: how long it must be true, :param fall_s: or false, to be believed.
    :ivar until: when the belief changes if nothing else does; infinite: the belief is as the condition is.
    """

    __slots__ = ("_fall_s", "_rise_s", "until", "value")

    def __init__(self, value: bool, *, rise_s: float, fall_s: float) -> None:
        self.value = value
        self.until = inf
        self._rise_s = rise_s
        self._fall_s = fall_s

    def follow(self, condition: bool, now: float) -> None:
        """Take over the present condition."""
        if condition == self.value:
            self.until = inf
        elif self.until == inf:
            self.until = now + (self._rise_s if condition else self._fall_s)

    def set(self, value: bool) -> None:
        """Take the new value without a delay."""
        self.value = value
        self.until = inf

    def elapse(self, now: float) -> None:
        """Change the belief if its time has come."""
        if self.until <= now:
            self.set(not self.value)


class Supply(Enum):
    """The supply that feeds the load. The value: register 38 while the switch moves there."""

    NOTHING = 0
    GENERATOR = 1
    MAINS = 2


class Transfer:
    """Opens at once, closes after the transfer time.

    :param supply: what feeds the load at first.
    :ivar supply: what feeds the load.
    :ivar target: what is to feed it.
    :ivar until: when it closes; infinite: nothing is to be closed.
    """

    def __init__(self, supply: Supply) -> None:
        self.supply = self.target = supply
        self.until = inf

    def aim(self, target: Supply, now: float) -> None:
        """Feed the load from there."""
        if target is not self.target:
            self.target = target
            self.supply = Supply.NOTHING
            self.until = inf if target is Supply.NOTHING else now + TRANSFER_S

    def elapse(self, now: float) -> None:
        """Close if it is time."""
        if self.until <= now:
            self.supply = self.target
            self.until = inf


class Mode(StrEnum):
    """The controller's mode: its reason to run."""

    STOP = "stop"
    MANUAL = "manual"
    AUTO = "auto"
    TEST = "test"


class Controller:
    """A controller in auto mode, standing by behind good mains or on load behind failed ones.

    After a change :meth:`settle` has to be called.

    :param running: whether it is on load.
    :param starts: how often the engine has started.
    """

    def __init__(self, *, running: bool, starts: int) -> None:
        self.mode = Mode.AUTO
        self.engine = Engine(EngineState.RUNNING if running else EngineState.STANDBY, starts)
        self.transfer = Transfer(Supply.GENERATOR if running else Supply.MAINS)
        self.faults = Faults()
        self._mains_abnormal = Delayed(running, rise_s=MAINS_ABNORMAL_S, fall_s=MAINS_NORMAL_S)
        self._order = Delayed(running, rise_s=START_DELAY_S, fall_s=STOP_DELAY_S)  # to run

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def until(self) -> float:
        """The end of the next delay; infinite: none runs."""
        return min(
            self.engine.until, self.transfer.until, self.faults.until, self._mains_abnormal.until, self._order.until
        )

    def elapse(self, now: float) -> None:
        """Do what is due."""
        if self.engine.until <= now:
            self.engine.elapse(now, succeeds=not self.faults.spoil(self.engine.state))
            if self.engine.failed_cranks == CRANK_ATTEMPTS and self.engine.state is EngineState.CRANK_REST:
                self.faults.latched.add(Fault.CRANK_FAILURE)
        for delay in (self.transfer, self.faults, self._mains_abnormal, self._order):
            delay.elapse(now)

    def settle(self, *, mains_abnormal: bool, now: float) -> None:
        """Draw all conclusions from what has just happened, and from how the mains are."""
        self._mains_abnormal.follow(mains_abnormal, now)
        self.faults.watch(self.engine.state, now)
        if self.faults.latched:
            self.engine.trip(now)
        self._give_order(now)
        self.engine.follow(self._order.value, now)
        self.faults.watch(self.engine.state, now)
        self.transfer.aim(self._wanted_supply(), now)

    def _give_order(self, now: float) -> None:
        """Tell whether the engine is to run: as the mode says, and after a shutdown not at all."""
        if self.faults.latched or self.mode is Mode.STOP:
            self._order.set(False)
        elif self.mode is Mode.TEST:
            self._order.set(True)
        elif self.mode is Mode.AUTO:
            self._order.follow(self._mains_abnormal.value, now)

    def _wanted_supply(self) -> Supply:
        """Choose the supply: in manual mode as commanded, else the mains when they can."""
        wanted = target = self.transfer.target
        if self.mode is not Mode.MANUAL:
            wanted = Supply.GENERATOR if self._mains_abnormal.value else Supply.MAINS
        if wanted is Supply.GENERATOR and self.engine.state is not EngineState.RUNNING:
            return Supply.NOTHING if target is Supply.GENERATOR else target
        return wanted

    # --- commands ----------------------------------------------------------------------------------------------------

    def command(self, name: str, now: float) -> bool:
        """Take a command from afar.

        :param name: as in the profile.
        :return: whether the controller obeys. Locked at the panel, or without such a command, it does not.
        """
        act = _COMMANDS.get(name)
        return act is not None and Fault.REMOTE_LOCK not in self.faults.present and act(self, now)

    def _start(self, now: float) -> bool:  # noqa: ARG002 - the commands are called alike
        if self.mode is not Mode.MANUAL or self.faults.latched:
            return False
        self._order.set(True)
        return True

    def _switch(self, mode: Mode) -> bool:
        self.mode = mode
        self._order.set(self._order.value)  # a delay that runs was the other mode's
        if mode is Mode.STOP:
            self.faults.reset()
        return True

    def _toggle_generator_breaker(self, now: float) -> bool:
        return self._toggle(Supply.GENERATOR, can_close=self.engine.state is EngineState.RUNNING, now=now)

    def _toggle_mains_breaker(self, now: float) -> bool:
        return self._toggle(Supply.MAINS, can_close=not self._mains_abnormal.value, now=now)

    def _toggle(self, supply: Supply, *, can_close: bool, now: float) -> bool:
        """Open a breaker; or close it, with the other one opened before."""
        if self.mode is not Mode.MANUAL:
            return False
        if self.transfer.target is supply:
            self.transfer.aim(Supply.NOTHING, now)
            return True
        if can_close:
            self.transfer.aim(supply, now)
        return can_close

    def _open_generator_breaker(self, now: float) -> bool:
        if self.mode is not Mode.MANUAL:
            return False
        if self.transfer.target is Supply.GENERATOR:
            self.transfer.aim(Supply.NOTHING, now)
        return True

    def _close_generator_breaker(self, now: float) -> bool:
        if self.mode is not Mode.MANUAL or self.engine.state is not EngineState.RUNNING:
            return False
        self.transfer.aim(Supply.GENERATOR, now)
        return True

    # --- what the panel shows ----------------------------------------------------------------------------------------

    def points(self, now: float) -> dict[str, float]:
        """States and the seconds left in them, by the names of the points."""
        order, transfer, mains = self._order, self.transfer, self._mains_abnormal
        return {
            "engine_state": self.engine.state,
            "engine_state_delay": seconds_left(self.engine.until, now),
            "remote_start_state": 0 if order.until == inf else 2 if order.value else 1,
            "remote_start_delay": seconds_left(order.until, now),
            "ats_state": 0 if transfer.until == inf else transfer.target.value,
            "ats_delay": seconds_left(transfer.until, now),
            "mains_state": int(mains.value),
            "mains_state_delay": seconds_left(mains.until, now),
            "starts": self.engine.starts,
        }

    def signals(self) -> Iterator[str]:
        """The signals that are set, by name; the next event may change them, not time alone."""
        yield f"{self.mode}_mode"
        if self.transfer.supply is not Supply.NOTHING:
            yield "mains_on_load" if self.transfer.supply is Supply.MAINS else "generator_on_load"
        if self.engine.state is EngineState.CRANK:
            yield "crank_relay"
        if self.engine.state in FUELLED:
            yield "fuel_relay"
        yield from self.faults.signals()


_COMMANDS: dict[str, Callable[[Controller, float], bool]] = {
    "start": Controller._start,
    "stop": lambda controller, _: controller._switch(Mode.STOP),
    "test": lambda controller, _: controller._switch(Mode.TEST),
    "auto": lambda controller, _: controller._switch(Mode.AUTO),
    "manual": lambda controller, _: controller._switch(Mode.MANUAL),
    "generator_breaker_toggle": Controller._toggle_generator_breaker,
    "mains_breaker_toggle": Controller._toggle_mains_breaker,
    "generator_breaker_open": Controller._open_generator_breaker,
    "generator_breaker_close": Controller._close_generator_breaker,
}
