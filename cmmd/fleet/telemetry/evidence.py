"""Have each upload speak for or against the hypotheses about its device, and read the device by what is decided.

Nothing is done here for an upload of a device about which nothing is being found out and in which nothing has changed
that could be evidence: the masks of :class:`cmmd.fleet.telemetry.genset_state.StateDetector` tell.
"""

from collections.abc import Callable, Container
from itertools import chain

from cmmd.controllers.evidence.counters import Baseline, CounterFinding, judge_counters, settled_choices
from cmmd.controllers.evidence.memory import Remembered
from cmmd.controllers.evidence.weighing import (
    decided_choice,
    opened,
    reopenings,
    weigh,
    weighing,
)
from cmmd.fleet.events import Events, Kind
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.register_state import CertainRegisters
from cmmd.modbus.frames import Function
from cmmd.wire.messages import ReqDataChange

__all__ = ["Evidence", "Remember", "is_evidence", "mostly_implausible"]

FEW_VALUES = 4
"""Fewer values than this, of those that have a plausible range, do not tell a wrong controller model."""

MOST_SHARED = 4096
"""Tuples of states that are remembered as shared; beyond that they are forgotten, and devices share new ones."""

Remember = Callable[[str, str, Remembered], None]
"""Keeps how a hypothesis of a device is decided now, given its hostid and the name of the hypothesis."""


class Evidence:
    """Weighs what uploads say about how their device is to be read.

    :param events: told what is decided, and what is open again.
    :param remember: see :data:`Remember`.
    :param decided: notified of the hostid of a device about which something was decided.
    :param reopened: notified of the hostid, of a hypothesis that is open again, and when that was (ms).
    :param replaced: notified of the hostid of a device that has another controller.
    """

    def __init__(
        self,
        events: Events,
        remember: Remember,
        *,
        decided: Callable[[str], None],
        reopened: Callable[[str, str, int], None],
        replaced: Callable[[str], None],
    ) -> None:
        self._decided = decided
        self._reopened = reopened
        self._replaced = replaced
        self._events = events
        self._remember = remember
        self._shared: dict[tuple[int, ...], tuple[int, ...]] = {}

    def weigh(self, record: LiveRecord, fresh: Container[int] | None) -> bool:
        """Take the evidence of the upload that a record has just taken over.

        What a session says that is not trusted is no evidence.

        :param fresh: the holding registers that it had; None: all that the device polls.
        :return: whether the device is read in another way from now on.
        """
        hypotheses = record.profile.hypotheses
        if record.doubted or record.at is None or not record.watch.register_masks:
            return False
        before = record.states
        counters = _judge_counters(record, record.at)
        because = [""] * len(before)
        states = list(before)
        self._of_counters(record, states, because, counters)
        armed: tuple[int, ...] = ()
        if not counters.other_controller:
            known, engine_states = record.known, record.profile.engine_states
            for place, vote in enumerate(hypotheses.votes(known, engine_states, fresh)):
                if vote is not None:
                    states[place] = weigh(states[place], vote[0])
                    because[place] = vote[1]
            now = hypotheses.votes(known, engine_states) if None in map(decided_choice, states) else ()
            armed = tuple(
                place for place, vote in enumerate(now) if vote is not None and decided_choice(states[place]) is None
            )
        if len(self._shared) >= MOST_SHARED:
            self._shared.clear()
        record.states = self._shared.setdefault(tuple(states), tuple(states))
        if counters.suspects is not None:
            record.weighing = True
        else:
            weighed = tuple(place for place, state in enumerate(states) if place in armed or weighing(state))
            record.weighing = hypotheses.awaited(weighed, record.known) if weighed else False
        decided = self._tell(record, before, because)
        read_anew = self._read_by(record)
        if counters.replaced:
            self._replaced(record.hostid)
        if decided:
            self._decided(record.hostid)
        return read_anew

    def hide_jumps(self, record: LiveRecord) -> None:
        """Have counters hidden that do not follow from the history upload before: nothing else of it is evidence."""
        if not record.doubted and record.at is not None:
            _judge_counters(record, record.at)

    def tell(self, hostid: str, hypothesis: str, choice: str | None, before: str, because: str) -> None:
        """Tell how a hypothesis is decided.

        :param choice: None: it is open again; :param before: what it was then.
        """
        kind = Kind.READING_REOPENED if choice is None else Kind.READING_DECIDED
        self._events.emit(kind, hostid, hypothesis=hypothesis, choice=choice or before, because=because)

    def _of_counters(self, record: LiveRecord, states: list[int], because: list[str], counters: CounterFinding) -> None:
        hypotheses = record.profile.hypotheses
        if counters.replaced:
            for place in range(len(states)):
                states[place], because[place] = opened(states[place]), "another controller"
            self._events.emit(Kind.CONTROLLER_REPLACED, record.hostid)
        for place, old, new in counters.rebased:
            point, number = hypotheses.counters[place]
            if number is not None:
                states[number], because[number] = opened(states[number]), "a new base"
            self._events.emit(
                Kind.COUNTER_REBASED, record.hostid, point=point.name, before=f"{old:08X}", after=f"{new:08X}"
            )
        for number, choice, weight, why in counters.votes:
            states[number], because[number] = weigh(states[number], choice, weight), why

    def _tell(self, record: LiveRecord, before: tuple[int, ...], because: list[str]) -> bool:
        """Tell what has changed, and whether anything is decided now that was not."""
        decided, at = False, record.at or 0
        for hypothesis, old, new, why in zip(
            record.profile.hypotheses.all, before, record.states, because, strict=True
        ):
            was, now = decided_choice(old), decided_choice(new)
            if was == now:
                continue
            choice = "" if now is None else hypothesis.choices[now]
            decided = decided or bool(choice)
            self.tell(record.hostid, hypothesis.name, choice or None, hypothesis.choices[was or 0], why)
            self._remember(
                record.hostid,
                hypothesis.name,
                Remembered(choice, record.upload, at, why, reopenings(new)),
            )
            if not choice:
                self._reopened(record.hostid, hypothesis.name, at)
        return decided

    def _read_by(self, record: LiveRecord) -> bool:
        """Read the record by what is decided and not contradicted."""
        profile = record.profile
        profile = profile.settled(settled_choices(profile.hypotheses, record.states, record.suspects))
        if profile is record.profile:
            return False
        record.profile = profile
        return True


def _judge_counters(record: LiveRecord, at: int) -> CounterFinding:
    """Look at the counters of the upload that a record has just taken over; what is not believed is hidden."""
    record.known.hidden = None  # a counter that is hidden is looked at, too
    counters = judge_counters(
        record.profile.hypotheses,
        [decided_choice(state) for state in record.states],
        record.known,
        at,
        Baseline.from_bytes(record.baseline),
        record.suspects,
    )
    record.known.hidden = counters.hidden
    record.baseline, record.suspects = counters.baseline.to_bytes(), counters.suspects
    return counters


def mostly_implausible(record: LiveRecord) -> bool:
    """Tell whether most of what is known of a device, and has a plausible range, cannot be true in any reading.

    A register whose byte order is open cannot be true where neither order makes it so.
    """
    profile, known = record.profile, record.known
    wrong, total = profile.implausible_share(CertainRegisters(known))
    undecided = known.undecided
    if undecided is not None:
        for run in undecided.known(Function.READ_HOLDING_REGISTERS):
            registers = undecided.registers(Function.READ_HOLDING_REGISTERS, run.start, len(run))
            for address, raw in zip(run, registers, strict=True):
                if raw is None or not profile.has_range(address):
                    continue
                total += 1
                swapped = raw >> 8 | (raw & 0xFF) << 8
                wrong += not (profile.plausible_raw(address, raw) or profile.plausible_raw(address, swapped))
    return total >= FEW_VALUES and wrong * 2 > total


def is_evidence(awaited: frozenset[str] | bool, change: ReqDataChange | None) -> bool:
    """Tell whether an upload has what is waited for, see LiveRecord.weighing."""
    return change is None or isinstance(awaited, bool) or not awaited.isdisjoint(chain(*change.params.f03))
