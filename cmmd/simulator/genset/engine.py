"""The engine's states as the controller numbers and walks them: a table, and the machine that follows it."""

from enum import IntEnum
from math import inf
from typing import NamedTuple

__all__ = ["CRANK_ATTEMPTS", "FUELLED", "RATED_SPEED", "STEPS", "TURNING", "Engine", "EngineState", "Step"]

CRANK_ATTEMPTS = 3
"""Attempts to start before the controller gives up."""

RATED_SPEED = 1500.0  # r/min: two pole pairs, 50 Hz


class EngineState(IntEnum):
    """Register 34 of the HGM6120N."""

    STANDBY = 0
    PREHEAT = 1
    FUEL_OUTPUT = 2
    CRANK = 3
    CRANK_REST = 4
    SAFETY_RUN = 5
    START_IDLE = 6
    WARM_UP = 7
    WAIT_FOR_LOAD = 8
    RUNNING = 9
    COOLING = 10
    STOP_IDLE = 11
    ETS = 12
    WAIT_FOR_STOP = 13
    STOP_FAILURE = 14
    AFTER_STOP = 15


TURNING = frozenset(EngineState(number) for number in range(EngineState.SAFETY_RUN, EngineState.STOP_IDLE + 1))
"""The states in which the engine runs by itself: its hours count."""

FUELLED = TURNING | {EngineState.FUEL_OUTPUT, EngineState.CRANK}
"""The states in which the fuel relay is on."""


class Step(NamedTuple):
    """One state and its successors. None: the state lasts.

    :ivar seconds: how long it lasts; infinite: until an order or a fault ends it.
    :ivar speed: the engine's, r/min, once it has settled.
    :ivar then: the state after it.
    :ivar on_run: where the order to run leads at once.
    :ivar on_stop: where the order to stop leads.
    :ivar on_trip: where a shutdown leads.
    :ivar otherwise: the state after it where the step fails: the engine does not fire, or does not stop.
    """

    seconds: float
    speed: float
    then: EngineState | None
    on_run: EngineState | None
    on_stop: EngineState | None
    on_trip: EngineState | None
    otherwise: EngineState | None = None


_S = EngineState

# fmt: off
STEPS: dict[EngineState, Step] = {
    # state           Step(s,    r/min,  then              on_run      on_stop        on_trip        otherwise
    _S.STANDBY:       Step(inf,  0.0,    None,             _S.PREHEAT, None,          None),
    _S.PREHEAT:       Step(2.0,  0.0,    _S.FUEL_OUTPUT,   None,       _S.AFTER_STOP, _S.AFTER_STOP),
    _S.FUEL_OUTPUT:   Step(1.0,  0.0,    _S.CRANK,         None,       _S.AFTER_STOP, _S.AFTER_STOP),
    _S.CRANK:         Step(4.0,  200.0,  _S.SAFETY_RUN,    None,       _S.ETS,        _S.ETS,        _S.CRANK_REST),
    _S.CRANK_REST:    Step(6.0,  0.0,    _S.FUEL_OUTPUT,   None,       _S.AFTER_STOP, _S.AFTER_STOP),
    _S.SAFETY_RUN:    Step(3.0,  800.0,  _S.START_IDLE,    None,       _S.STOP_IDLE,  _S.ETS),
    _S.START_IDLE:    Step(3.0,  800.0,  _S.WARM_UP,       None,       _S.STOP_IDLE,  _S.ETS),
    _S.WARM_UP:       Step(8.0,  1500.0, _S.WAIT_FOR_LOAD, None,       _S.COOLING,    _S.ETS),
    _S.WAIT_FOR_LOAD: Step(2.0,  1500.0, _S.RUNNING,       None,       _S.COOLING,    _S.ETS),
    _S.RUNNING:       Step(inf,  1500.0, None,             None,       _S.COOLING,    _S.ETS),
    _S.COOLING:       Step(20.0, 1500.0, _S.STOP_IDLE,     _S.RUNNING, None,          _S.ETS),
    _S.STOP_IDLE:     Step(4.0,  800.0,  _S.ETS,           _S.WARM_UP, None,          _S.ETS),
    _S.ETS:           Step(3.0,  0.0,    _S.WAIT_FOR_STOP, None,       None,          None),
    _S.WAIT_FOR_STOP: Step(5.0,  0.0,    _S.AFTER_STOP,    None,       None,          None,          _S.STOP_FAILURE),
    _S.STOP_FAILURE:  Step(10.0, 0.0,    _S.AFTER_STOP,    None,       None,          None,          _S.STOP_FAILURE),
    _S.AFTER_STOP:    Step(3.0,  0.0,    _S.STANDBY,       None,       None,          None),
}
"""The states in the order in which a start, a run and a stop pass through them."""
# fmt: on


class Engine:
    """Moves from state to state.

    :param state: where it is at time 0.
    :param starts: how often it has started.
    :ivar until: when the state ends by itself; infinite: it does not.
    :ivar starts: attempts that succeeded, ever.
    :ivar failed_cranks: attempts of this start that did not.
    """

    def __init__(self, state: EngineState, starts: int) -> None:
        self.state = state
        self.until = inf
        self.starts = starts
        self.failed_cranks = 0

    def elapse(self, now: float, *, succeeds: bool) -> None:
        """Go on to the next state: the time of this one is over.

        :param succeeds: whether the step did what it is for.
        """
        step = STEPS[self.state]
        if self.state is EngineState.CRANK:
            self.starts += succeeds
            self.failed_cranks = 0 if succeeds else self.failed_cranks + 1
        after = step.then if succeeds or step.otherwise is None else step.otherwise
        assert after is not None  # states without an end have no successor
        self._enter(after, now)

    def follow(self, order: bool, now: float) -> None:
        """Obey the order to run or to stop, as far as the state allows."""
        step = STEPS[self.state]
        state = step.on_run if order else step.on_stop
        if state is not None:
            self._enter(state, now)

    def trip(self, now: float) -> None:
        """Shut down: no idling, no cooling."""
        state = STEPS[self.state].on_trip
        if state is not None:
            self._enter(state, now)

    def _enter(self, state: EngineState, now: float) -> None:
        self.state = state
        self.until = now + STEPS[state].seconds
        if state is EngineState.STANDBY:
            self.failed_cranks = 0
