"""Find the byte order of a device's change uploads where its profile does not say it (protocol section 4.5).

Evidence decides. An upload speaks for the byte order in which its values are plausible; or, where that tells nothing,
for the one in which several of them are near to what was known before. Three uploads are enough, over and above those
that speak for the other one. What is decided stays on trial: uploads that clearly contradict it are not believed, and
after three the question is open again.
"""

from msgspec import Struct

from cmmd.controllers.evidence.weighing import decided_choice, doubted, weigh
from cmmd.controllers.profile import Profile
from cmmd.fleet.telemetry.genset_state import StateDetector
from cmmd.fleet.telemetry.register_state import ORDERS, OTHER_ORDER, RegisterState
from cmmd.modbus.frames import Function
from cmmd.modbus.image import MAX_VALUE_BYTES, ImageError, ImageFullError
from cmmd.store.records import ByteOrder

__all__ = ["Finding", "Judge"]

CLEARLY = 3
"""How many times as many registers must speak for a byte order, for an upload to do so."""

NEARER = 8
"""How many times nearer to the value known before a reading must be, to speak for its byte order."""

SEVERAL = 2
"""Registers of one upload that must be near to what was known before: one alone may be so by chance."""

MOST_WEIGHED = 256
"""Items of one upload that are weighed: more say no more, and a change upload can have a thousand."""

_HOLDING_REGISTERS = Function.READ_HOLDING_REGISTERS


class Finding(Struct, frozen=True):
    """The conclusion from one upload.

    :ivar concerns: anything that is watched may have changed.
    :ivar no_room: registers that the image had no room for.
    :ivar byte_order: what it is now; None: open.
    :ivar changed: whether that is another than before.
    """

    concerns: bool
    no_room: int
    byte_order: ByteOrder | None
    changed: bool


class Judge:
    """Takes the registers of one change upload over, and weighs what they say about its byte order.

    :param known: what is known of the device's controller.
    :param profile: says what is plausible; :param watch: what matters.
    :param trusted: whether the upload is evidence: a stranger's decides nothing.
    """

    def __init__(self, known: RegisterState, profile: Profile, watch: StateDetector, *, trusted: bool) -> None:
        self._known = known
        self._trusted = trusted
        self._profile = profile
        self._watch = watch
        self._items: list[tuple[Function, int, bytes]] = []
        self._plausible: dict[ByteOrder, int] = {"little": 0, "big": 0}
        self._doubted = doubted(known.byte_order_state)
        self._near: dict[ByteOrder, set[int]] = {"little": set(), "big": set()}

    def add(self, function: Function, address: int, values: bytes) -> None:
        """Take an item in.

        :param values: registers as they are in the upload, two bytes each.
        :raises ImageFullError: there are too many of them.
        :raises ImageError: they are none, or there are no such addresses.
        """
        if not values or len(values) % 2 or address + len(values) // 2 > 0x1_0000:
            raise ImageError("no registers, or none that there are")
        if len(values) > MAX_VALUE_BYTES:
            raise ImageFullError(f"more than {MAX_VALUE_BYTES} bytes of values")
        self._items.append((function, address, values))
        if len(self._items) > MOST_WEIGHED:
            return
        for place in range(0, len(values), 2):
            self._weigh(function, address + place // 2, values[place : place + 2])

    def _weigh(self, function: Function, address: int, register: bytes) -> None:
        if register[0] == register[1]:
            return
        little, big = int.from_bytes(register, "little"), int.from_bytes(register, "big")
        before, decided = self._known.image.register(function, address), self._known.byte_order
        if not self._doubted and before is not None and decided is not None:
            now = little if decided == "little" else big
            if now >> 8 == before >> 8:
                return
        if function is _HOLDING_REGISTERS:
            as_little, as_big = self._profile.plausible_raw(address, little), self._profile.plausible_raw(address, big)
            if as_little != as_big:
                self._plausible["little" if as_little else "big"] += 1
                return
        if before is None:
            return
        far_little, far_big = _distance(little, before), _distance(big, before)
        if far_little * NEARER < far_big:
            self._near["little"].add(address)
        elif far_big * NEARER < far_little:
            self._near["big"].add(address)

    def finish(self) -> Finding:
        """At the end of the upload: merge it as it is to be read, and see whether the byte order is decided now."""
        known, before = self._known, self._known.byte_order
        spoken_for = self._spoken_for()
        contradicts = before is not None and spoken_for == OTHER_ORDER[before]
        concerns, no_room = self._merge(certain=before is not None and not contradicts)
        vote = ORDERS.index(spoken_for) if spoken_for is not None and self._trusted else None
        state = weigh(known.byte_order_state, vote)
        choice = decided_choice(state)
        known.byte_order_state = state
        if before is None and choice is not None:
            known.decide(ORDERS[choice], self._profile)
        elif before is not None and choice is None:
            known.reopen()
        changed = known.byte_order != before  # then all that was undecided is read anew
        return Finding(concerns or changed, no_room, known.byte_order, changed)

    def _spoken_for(self) -> ByteOrder | None:
        """The byte order that the upload speaks for; None: for none clearly."""
        for order, other in OTHER_ORDER.items():
            if any(self._plausible.values()):
                if self._plausible[order] > CLEARLY * self._plausible[other]:
                    return order
            elif len(self._near[order]) >= SEVERAL and len(self._near[order]) > CLEARLY * len(self._near[other]):
                return order
        return None

    def _merge(self, *, certain: bool) -> tuple[bool, int]:
        concerns, no_room = False, 0
        watched = self._watch.register_masks
        for function, address, values in self._items:
            try:
                if certain:
                    changed = self._known.take_change(function, address, values)
                    concerns = concerns or self._watch.concerns(function, changed)
                else:
                    for place in range(0, len(values), 2):
                        at = address + place // 2
                        matters = function is _HOLDING_REGISTERS and at in watched
                        was = self._known.register(at) if matters else None
                        self._known.take_undecided(function, at, values[place : place + 2])
                        # To look at all alarms for any register, in each upload of a device whose byte order stays
                        # open, took 0.4 ms. Of one that was open before, nothing is known as before.
                        if matters and self._known.register(at) != was:
                            concerns = True
            except ImageFullError:
                no_room += 1
        return concerns, no_room


def _distance(one: int, other: int) -> int:
    """Measure the distance of two registers on the ring of 16 bits: -1 is next to 0."""
    away = (one - other) & 0xFFFF
    return min(away, 0x1_0000 - away)
