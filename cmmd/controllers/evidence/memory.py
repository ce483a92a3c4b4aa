"""Remember how the hypotheses about a device were decided, when and by what; and what an administrator has set."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from cmmd.controllers.evidence.hypotheses import BYTE_ORDER, Hypothesis
from cmmd.controllers.evidence.weighing import OPEN, decided_state, is_fixed

__all__ = ["Remembered", "byte_order_of", "only_byte_order", "overrides_in", "recalled", "states_of", "with_entry"]


class Remembered(Struct, frozen=True, array_like=True):
    """The last decision about a hypothesis.

    :ivar choice: empty: it is open again. :ivar upload: the running number of the upload that decided it.
    :ivar at: when that came, milliseconds UTC. :ivar because: what it said. :ivar reopened: how often it was re-opened.
    """

    choice: str
    upload: int = 0
    at: int = 0
    because: str = ""
    reopened: int = 0


_DECODER = msgspec.json.Decoder(dict[str, Remembered])


def recalled(text: str) -> dict[str, Remembered]:
    """Read the memory of a device; empty where it cannot be read: the evidence comes again."""
    if not text:
        return {}
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError:
        return {}


def _text(memory: Mapping[str, Remembered]) -> str:
    return msgspec.json.encode(memory).decode() if memory else ""


def with_entry(text: str, name: str, entry: Remembered) -> str:
    """Give the memory with another entry for one hypothesis."""
    return _text({**recalled(text), name: entry})


def only_byte_order(text: str) -> str:
    """Give what is left of the memory with another controller: the byte order is the module's."""
    return _text({name: entry for name, entry in recalled(text).items() if name == BYTE_ORDER})


def overrides_in(text: str | None) -> dict[str, str]:
    """Read what an administrator has set: ``byte_order=big, scale=tenths``.

    :return: choices by hypothesis.
    :raises ValueError: it is something else.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        if part.strip():
            name, equals, choice = (one.strip() for one in part.partition("="))
            if not equals or not name or not choice or name in found:
                raise ValueError(f"{part.strip()!r} is no NAME=CHOICE")
            found[name] = choice
    return found


def byte_order_of(overrides: str | None) -> str | None:
    """Give the byte order that an administrator has set; None: none."""
    try:
        return overrides_in(overrides).get(BYTE_ORDER)
    except ValueError:
        return None


def states_of(
    hypotheses: Sequence[Hypothesis], text: str, overrides: str | None, now: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Give the states of a device's hypotheses.

    :param text: its memory; :param overrides: see :func:`overrides_in`.
    :param now: the states so far, which are newer than the memory; None: there are none.
    """
    memory = recalled(text)
    try:
        said = overrides_in(overrides)
    except ValueError:
        said = {}
    states = []
    for place, hypothesis in enumerate(hypotheses):
        choice = said.get(hypothesis.name)
        entry = memory.get(hypothesis.name)
        if choice in hypothesis.choices:
            states.append(decided_state(hypothesis.choices.index(choice), fixed=True))
        elif now is not None and not is_fixed(now[place]):
            states.append(now[place])
        elif entry is not None and entry.choice in hypothesis.choices:
            states.append(decided_state(hypothesis.choices.index(entry.choice), reopened=entry.reopened))
        else:
            states.append(OPEN if entry is None else min(entry.reopened, 15) << 8)
    return tuple(states)
