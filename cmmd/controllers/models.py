"""Models of controllers: how the ``moduletype`` that a device says at login is compared with the models in profiles."""

import re
from typing import Annotated

from msgspec import Meta

__all__ = ["FullModel", "Model", "beginning_of", "exactness", "full_name", "spelled"]

Model = Annotated[str, Meta(pattern=r"\A[A-Z0-9](x|[A-Z0-9-])*\Z", max_length=30)]
"""The beginning of a ``moduletype``: capitals, digits and hyphens; a small x stands for any digit."""

FullModel = Annotated[str, Meta(pattern=r"\A[A-Z0-9][A-Z0-9-]*\Z", max_length=30)]
"""A whole ``moduletype``, suffix included: capitals, digits and hyphens."""


def spelled(moduletype: str) -> str:
    """Give a ``moduletype`` in capitals and without blanks."""
    return "".join(moduletype.split()).upper()


def beginning_of(model: str) -> re.Pattern[str]:
    """Make the pattern that matches every spelled ``moduletype`` of a model's family."""
    return re.compile(re.escape(model).replace("x", "[0-9X]") + "(?![0-9])")


def exactness(model: str) -> int:
    """Count the characters that a model settles: of two families that fit, the one with more of them counts."""
    return len(model) - model.count("x")


def full_name(moduletype: str) -> str:
    """Give what two spellings of one model have in common: letter case, blanks, hyphens and underscores do not count.

    Everything else counts, to the last character: a suffix that is not known may stand for another wiring of the coils.
    """
    return re.sub("[-_]", "", spelled(moduletype))
