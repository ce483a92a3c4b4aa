"""The state of a genset as far as it is known, and the events between two uploads."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import astuple

from cmmd.controllers.entries import ALARMING
from cmmd.controllers.profile import Profile, Reader
from cmmd.fleet.events import Kind
from cmmd.modbus.frames import Function, ReadRequest
from cmmd.modbus.image import ChangedAddresses
from cmmd.store.records import Detail

__all__ = ["GensetState", "StateDetector", "differs", "merged_state"]


_COILS, _HOLDING_REGISTERS = Function.READ_COILS, Function.READ_HOLDING_REGISTERS


class GensetState(Struct, frozen=True, gc=False):
    """The state of a genset. None: not known, or the profile does not say where to read it.

    :ivar engine_state: raw, as the profile's enum has it.
    :ivar engine_turns: whether that is a state in which the engine turns.
    :ivar mode: stop, manual, auto or test.
    """

    engine_state: int | None = None
    engine_turns: bool | None = None
    mode: str | None = None
    mains_on_load: bool | None = None
    generator_on_load: bool | None = None
    mains_normal: bool | None = None


def merged_state(before: GensetState, now: GensetState) -> GensetState:
    """The newest that was ever known of each: what is unknown now stays as it was."""
    return GensetState(*(old if new is None else new for old, new in zip(astuple(before), astuple(now), strict=True)))


def differs(before: GensetState, now: GensetState) -> bool:
    """Tell whether anything is another that was known and is known."""
    pairs = zip(astuple(before), astuple(now), strict=True)
    return any(_differ(old, new) for old, new in pairs)


_BREAKERS = (("mains_on_load", "mains"), ("generator_on_load", "generator"))
_SIGNALS = ("mains_on_load", "generator_on_load", "mains_normal")


class StateDetector:
    """Finds state changes in the uploads of devices with one profile. Made once a profile.

    :param profile: has the addresses.
    :ivar coil_mask: the coils that matter, bit *n* for coil *n*: of alarming signals, modes, breakers and mains.
    :ivar inhibits: the coils of signals that say that remote control is locked.
    :ivar register_masks: the bits of registers that matter, by address: all of the engine's state, on which depends
        whether some alarming signals mean anything, and of others those that are evidence, see
        cmmd.controllers.evidence.hypotheses.
    """

    def __init__(self, profile: Profile) -> None:
        definition, by_name = profile.definition, profile.signal_by_name
        self._profile = profile
        self._engine = None if definition.engine is None else profile.point_by_name[definition.engine.state]
        self._signals = tuple(by_name.get(name) for name in _SIGNALS)
        watched = [signal for signal in definition.signals if signal.severity in ALARMING]
        watched += [by_name[name] for name in definition.modes.values()]
        watched += [signal for signal in self._signals if signal is not None]
        self.inhibits = [signal.address for signal in definition.signals if signal.severity == "inhibit"]
        self.coil_mask = 0
        for signal in watched:
            self.coil_mask |= 1 << signal.address
        for address in profile.hypotheses.coils:
            self.coil_mask |= 1 << address
        self.register_masks = dict(profile.hypotheses.register_masks)
        if self._engine is not None:
            self.register_masks[self._engine.address] = 0xFFFF
        # As they stand in an integer of several registers, of which the lowest byte is the first on the wire.
        self._swapped = [(address, mask >> 8 | (mask & 0xFF) << 8) for address, mask in self.register_masks.items()]

    def concerns(self, function: Function, differs: ChangedAddresses) -> bool:
        """Tell whether anything that matters is among what a merge has changed."""
        if function is _COILS:
            return differs.difference << differs.address & self.coil_mask != 0
        if function is _HOLDING_REGISTERS and differs.difference:
            difference, start = differs.difference, differs.address
            return any(
                difference >> (address - start) * 16 & mask for address, mask in self._swapped if address >= start
            )
        return False

    def mask(self, request: ReadRequest) -> int:
        """Mask the bits of a response to a request whose change ``concerns`` would report."""
        if request.function is _COILS:
            return self.coil_mask >> request.address & (1 << request.count) - 1
        found = 0
        if request.function is _HOLDING_REGISTERS:
            for address, mask in self._swapped:
                if 0 <= address - request.address < request.count:
                    found |= mask << (address - request.address) * 16
        return found

    def situation(self, reader: Reader) -> GensetState:
        """Read the present state, as far as it is known."""
        profile = self._profile
        return GensetState(
            profile.engine_state_number(reader),
            profile.engine_turns(reader),
            profile.mode(reader),
            *(None if signal is None else profile.signal_state(signal, reader) for signal in self._signals),
        )

    def changes(self, before: GensetState, now: GensetState) -> Iterator[tuple[Kind, dict[str, Detail]]]:
        """Find the events between two states. A value that was or is unknown is no event."""
        if _differ(before.mode, now.mode):
            yield Kind.MODE_CHANGED, {"before": before.mode, "after": now.mode}
        if _differ(before.mains_normal, now.mains_normal):
            yield (Kind.MAINS_RETURNED if now.mains_normal else Kind.MAINS_LOST), {}
        if _differ(before.engine_turns, now.engine_turns):
            yield (Kind.ENGINE_STARTED if now.engine_turns else Kind.ENGINE_STOPPED), {"state": self._word(now)}
        for name, breaker in _BREAKERS:
            closed = getattr(now, name)
            if _differ(getattr(before, name), closed):
                yield Kind.BREAKER_CHANGED, {"breaker": breaker, "closed": closed}

    def _word(self, now: GensetState) -> str | None:
        return None if self._engine is None else self._profile.word(self._engine, now.engine_state)


def _differ(old: object, new: object) -> bool:
    return old is not None and new is not None and old != new
