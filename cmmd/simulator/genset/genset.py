"""A genset that does not exist: engine, alternator, mains and load behind a controller such as the HGM6120N.

It lives from event to event (a delay that is over, mains that fail), and between them everything is a function of time.
So it makes no difference how often it is read, and a read costs the same after three seconds as after an hour.
"""

from collections.abc import Callable
from random import Random

from cmmd.simulator.genset.controller import CLOCK_TOLERANCE_S, Controller, Mode, Supply
from cmmd.simulator.genset.engine import TURNING, EngineState
from cmmd.simulator.genset.faults import FAULTS, Fault, RandomFaults
from cmmd.simulator.genset.mains import CONDITIONS, Mains, MainsCondition
from cmmd.simulator.genset.panel import DEFAULT_MODEL, Picture, panel_of
from cmmd.simulator.genset.powertrain import Powertrain

__all__ = ["Genset"]

LONGEST_PAUSE_S = 86_400.0
"""What a genset lives through at once. After a longer pause it continues as if the pause had been this long."""

_SHARE_RUNNING = 0.15

_VERSIONS = {"software_version": 2.3, "hardware_version": 1.2}


class Genset:
    """One genset with its controller. It starts in auto mode, standing by or on load.

    :param random: decides what it is and what happens to it. Same seed, same times: same pictures.
    :param seconds: the time.
    :param running: whether it carries the load through a mains failure at first; None: the seed decides.
    :param mains_schedule: whether the mains fail and return by themselves.
    :param fault_schedule: whether faults come by themselves, and are repaired and reset after some time.
    :param model: the controller's.
    """

    def __init__(
        self,
        random: Random,
        seconds: Callable[[], float],
        *,
        running: bool | None = None,
        mains_schedule: bool = True,
        fault_schedule: bool = False,
        model: str = DEFAULT_MODEL,
    ) -> None:
        chance = random.random() < _SHARE_RUNNING
        running = chance if running is None else running
        self._seconds = seconds
        self._looked_at = seconds()
        self._now = 0.0  # the genset's own time
        self._lived = 0.0  # until when everything is added up
        self._panel = panel_of(model)
        self._powertrain = Powertrain(random, EngineState.RUNNING if running else EngineState.STANDBY)
        self._controller = Controller(running=running, starts=random.randrange(30, 900))
        condition = MainsCondition.BLACKOUT if running else MainsCondition.NORMAL
        self._mains = Mains(random, condition, schedule=mains_schedule)
        self._mishaps = RandomFaults(random, schedule=fault_schedule)
        self._settle(0.0)

    # --- what one sees -----------------------------------------------------------------------------------------------

    @property
    def rating_kw(self) -> int:
        """The rated power of the alternator in kW."""
        return self._powertrain.rating_kw

    @property
    def mode(self) -> Mode:
        """The mode of the controller."""
        return self._controller.mode

    @property
    def engine_state(self) -> EngineState:
        """The state of the engine now."""
        self._pass()
        return self._controller.engine.state

    @property
    def supply(self) -> Supply:
        """The supply that feeds the load now."""
        self._pass()
        return self._controller.transfer.supply

    @property
    def mains_condition(self) -> MainsCondition:
        """The present condition of the mains."""
        self._pass()
        return self._mains.condition

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The present faults of the genset."""
        self._pass()
        return tuple(self._controller.faults.present)

    def look(self) -> Picture:
        """Let the time since the last look pass, and see what the controller shows now."""
        self._pass()
        now = self._now
        sensor_open = Fault.SENSOR_OPEN in self._controller.faults.present
        values: dict[str, float | None] = {
            **_VERSIONS,
            **self._controller.points(now),
            **self._mains.points(now),
            **self._powertrain.points(now, on_load=self._on_load, sensor_open=sensor_open),
        }
        coils = self._panel.with_conclusions(self._event_coils, values)
        return Picture(self._panel.registers(values), coils)

    # --- what one can do to it ---------------------------------------------------------------------------------------

    def command(self, name: str) -> bool:
        """Give the controller a command.

        :param name: start, stop, test, auto, manual, generator_breaker_toggle or mains_breaker_toggle; or, as a
            controller with one breaker has them, generator_breaker_open or generator_breaker_close.
        :return: whether it obeys.
        """
        self._pass()
        obeys = self._controller.command(name, self._now)
        self._settle(self._now)
        return obeys

    def write_coil(self, coil: int) -> bool:
        """Command the controller by setting a coil.

        :return: whether it obeys.
        """
        return self.command(self._panel.command_by_coil.get(coil, ""))

    def fail_mains(self, condition: MainsCondition | str = MainsCondition.BLACKOUT) -> None:
        """Have the mains fail, until :meth:`return_mains`.

        :param condition: blackout, undervoltage, overvoltage or phase_loss.
        :raises ValueError: there is no such condition.
        """
        self._pass()
        self._mains.fail(MainsCondition(condition))
        self._settle(self._now)

    def return_mains(self) -> None:
        """Have the mains return; a schedule continues from here."""
        self._pass()
        self._mains.return_(self._now)
        self._settle(self._now)

    def inject(self, fault: Fault | str) -> None:
        """Have something go wrong; what is wrong already stays so.

        :raises ValueError: there is no such fault.
        """
        fault = Fault(fault)
        self._pass()
        self._break(fault)
        self._settle(self._now)

    def heal(self, fault: Fault | str) -> None:
        """Repair it; what is not wrong stays so. A shutdown stays until the stop command resets the controller.

        :raises ValueError: there is no such fault.
        """
        fault = Fault(fault)
        self._pass()
        self._repair(fault)
        self._settle(self._now)

    def _break(self, fault: Fault) -> None:
        present = self._controller.faults.present
        if fault not in present:
            present.append(fault)
            level = FAULTS[fault].fuel_level
            if level is not None:
                self._powertrain.drain(level)

    def _repair(self, fault: Fault) -> None:
        present = self._controller.faults.present
        if fault in present:
            present.remove(fault)
            if FAULTS[fault].fuel_level is not None:
                self._powertrain.refuel()

    # --- time --------------------------------------------------------------------------------------------------------

    def _pass(self) -> None:
        """Live until now, event by event."""
        read = self._seconds()
        self._now += min(max(read - self._looked_at, 0.0), LONGEST_PAUSE_S)
        self._looked_at = read
        while self._next_event <= self._now + CLOCK_TOLERANCE_S:
            at = self._next_event
            self._live(min(at, self._now))
            self._controller.elapse(at)
            self._mains.elapse(at)
            self._have_mishaps(at)
            self._settle(at)
        self._live(self._now)

    def _have_mishaps(self, now: float) -> None:
        """Have a fault come; or the operator, who repairs it and resets the controller at its panel."""
        before = self._mishaps.present
        self._mishaps.elapse(now, turning=self._controller.engine.state in TURNING)
        after = self._mishaps.present
        if before is after:
            return
        if before is not None:
            self._repair(before)
            self._controller.faults.reset()
        if after is not None:
            self._break(after)

    def _live(self, until: float) -> None:
        turning = self._controller.engine.state in TURNING
        self._powertrain.live(self._lived, until, turning=turning, on_load=self._on_load)
        self._lived = until

    def _settle(self, now: float) -> None:
        """Draw all conclusions from what has just happened: what stays as it is until the next event."""
        controller = self._controller
        controller.settle(mains_abnormal=self._mains.abnormal, now=now)
        state = controller.engine.state
        self._powertrain.aim(state, controller.faults.effects(state), now)
        self._on_load = controller.transfer.supply is Supply.GENERATOR
        self._event_coils = self._panel.coils((*controller.signals(), *CONDITIONS[self._mains.condition].signals))
        self._next_event = min(controller.until, self._mains.until, self._mishaps.until)
