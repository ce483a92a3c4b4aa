"""Which profiles there are: the shipped ones and the user's; and which one a controller has."""

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from cmmd.controllers.definition import parse_definition
from cmmd.controllers.errors import ProfileError
from cmmd.controllers.fields import Name
from cmmd.controllers.profile import Profile

__all__ = ["GENERIC", "Catalog", "load_catalog"]

GENERIC = "generic"
"""The profile of controllers that nobody has described: the paper's own plan, no points."""


class Catalog:
    """The profiles of one daemon, by name.

    :param shipped: profiles, among them :data:`GENERIC`.
    :param own: the user's. One with the name of a shipped profile stands in its place; where both name the same model,
        the user's profile has it.
    """

    def __init__(self, shipped: Iterable[Profile], own: Iterable[Profile] = ()) -> None:
        own = tuple(own)
        self._profiles = {profile.name: profile for profile in (*shipped, *own)}
        own_names = {profile.name for profile in own}
        models = [(model, profile) for profile in self._profiles.values() for model in profile.definition.models]
        models.sort(key=lambda pair: (-_exactness(pair[0]), pair[1].name not in own_names))
        self._models = tuple((_beginning(model), profile) for model, profile in models)

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._profiles.values())

    def profile(self, name: str) -> Profile | None:
        """The profile of that name; None: there is none."""
        return self._profiles.get(name)

    def of(self, moduletype: str, name: str | None) -> Profile:
        """The profile of a device.

        :param moduletype: what it says.
        :param name: of the profile that its owner has chosen; None: none. So counts one that there is not any more.
        """
        chosen = None if name is None else self._profiles.get(name)
        return self.for_moduletype(moduletype) if chosen is None else chosen

    def for_moduletype(self, moduletype: str) -> Profile:
        """The profile of a controller.

        :param moduletype: its model as the device says it at login. Letter case and blanks do not count, nor does what
            follows the model's name, unless that is a digit. Of several models that fit, the most exact one counts.
        :return: :data:`GENERIC` where none fits.
        """
        said = "".join(moduletype.split()).upper()
        for beginning, profile in self._models:
            if beginning.match(said):
                return profile
        return self._profiles[GENERIC]


def load_catalog(folder: Path | None = None) -> Catalog:
    """Read the shipped profiles and the user's.

    :param folder: of the user's ``*.toml`` files; None: there is none.
    :raises ProfileError: the folder or a file cannot be read, or a file is wrong.
    """
    return Catalog(_profiles(files(__package__)), () if folder is None else _profiles(folder))


def _profiles(folder: Traversable) -> list[Profile]:
    try:
        toml_files = sorted((one for one in folder.iterdir() if one.name.endswith(".toml")), key=lambda one: one.name)
    except OSError as error:
        raise ProfileError(f"{folder}: {error.strerror}") from None
    profiles = [_profile(file) for file in toml_files]
    owners: dict[str, str] = {}
    for file, profile in zip(toml_files, profiles, strict=True):
        for model in profile.definition.models:
            if model in owners:
                raise ProfileError(f"{file}: models: {model!r} is {owners[model]}'s already")
            owners[model] = file.name
    return profiles


def _profile(file: Traversable) -> Profile:
    try:
        name = msgspec.convert(file.name.removesuffix(".toml"), Name)
        return Profile(name, parse_definition(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ProfileError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"{file}: not UTF-8: {error.reason} at byte {error.start}") from None
    except msgspec.ValidationError:
        raise ProfileError(f"{file}: the file's name is not snake_case ASCII") from None
    except ProfileError as error:
        raise ProfileError(f"{file}: {error}") from None


def _exactness(model: str) -> int:
    """How many characters it settles."""
    return len(model) - model.count("x")


def _beginning(model: str) -> re.Pattern[str]:
    """What matches a moduletype of this model, in capitals and without blanks."""
    return re.compile(re.escape(model).replace("x", "[0-9X]") + "(?![0-9])")
