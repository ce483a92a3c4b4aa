"""The catalogue of profiles, shipped and the user's: which one a controller has, and which of its commands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from cmmd.controllers.definition import Tables, parse_definition, read_tables
from cmmd.controllers.entries import Name, ProfileError, beginning_of, exactness, full_name, spelled
from cmmd.controllers.profile import Profile

__all__ = ["GENERIC", "Catalog", "Match", "load_catalog"]

GENERIC = "generic"
"""The profile of controllers that no profile describes: the paper's own plan, no points."""

UNVERIFIED = "no commands are verified for this model; an admin can set the device's profile by hand"
LACKING = "this model has no such command, whatever profile is set"


MOST_MATCHES = 1000
"""Texts of ``moduletype`` whose match is remembered: looking one up spares each login a search through all models."""


class Match(Struct, frozen=True):
    """The profile that a ``moduletype`` has, and how certain that is.

    :ivar profile: with all of its commands, whether they are offered or not.
    :ivar by: ``model``: the profile's commands are verified for exactly this model; ``family``: the name begins like
        one of its models; ``default``: it begins like none, and the profile is :data:`GENERIC`.
    """

    profile: Profile
    by: Literal["model", "family", "default"]

    def withheld(self, chosen: Profile | None) -> dict[str, str]:
        """Say which commands are not offered to a device of this ``moduletype``, and why, by name.

        :param chosen: the profile that an admin has set by hand; None: none, so that it has ours.
        """
        if chosen is None:
            return {} if self.by == "model" else dict.fromkeys(self.profile.command_by_name, UNVERIFIED)
        lacking = self.profile.definition.lacks_commands
        reasons = {name: LACKING for name in chosen.command_by_name if name in lacking}
        if self.by == "model":
            # What the coils of this model do is known: another name on one of them is a wrong button.
            for own in self.profile.definition.commands:
                for other in chosen.definition.commands:
                    if other.coil == own.coil and other.name != own.name:
                        reasons[other.name] = f"coil {own.coil} of this model is {own.name}"
        return reasons


class Catalog:
    """The profiles of one daemon, by name.

    :param shipped: profiles, among them :data:`GENERIC`.
    :param own: the user's. One with the name of a shipped profile takes its place; where both name the same model,
        the user's profile has it.
    """

    def __init__(self, shipped: Iterable[Profile], own: Iterable[Profile] = ()) -> None:
        own = tuple(own)
        self._profiles = {profile.name: profile for profile in (*shipped, *own)}
        own_names = {profile.name for profile in own}
        models = [(model, profile) for profile in self._profiles.values() for model in profile.definition.models]
        models.sort(key=lambda pair: (-exactness(pair[0]), pair[1].name not in own_names))
        self._models = tuple((beginning_of(model), profile) for model, profile in models)
        self._verified = {
            name: frozenset(map(full_name, profile.definition.command_models))
            for name, profile in self._profiles.items()
        }
        self._offered: dict[tuple[str, str, str | None], Profile] = {}
        self._matches: dict[str, Match] = {}

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._profiles.values())

    def profile(self, name: str) -> Profile | None:
        """The profile of that name; None: there is none."""
        return self._profiles.get(name)

    def of(self, moduletype: str, name: str | None) -> Profile:
        """The profile of a device, with the commands that are offered to it and no others.

        All doors read the commands of a device here. The same answer is the same object each time.

        :param moduletype: what it says.
        :param name: of the profile that an admin has set by hand; None: none. So counts one that there is not any more.
        """
        match = self.match(moduletype)
        chosen = None if name is None else self._profiles.get(name)
        key = (match.profile.name, match.by, None if chosen is None else chosen.name)
        offered = self._offered.get(key)
        if offered is None:
            offered = self._offered[key] = (chosen or match.profile).withholding(match.withheld(chosen))
        return offered

    def for_moduletype(self, moduletype: str) -> Profile:
        """The profile of a controller, with all of its commands: what its registers and coils mean."""
        return self.match(moduletype).profile

    def match(self, moduletype: str) -> Match:
        """Find the profile of a controller.

        :param moduletype: its model as the device says it at login. Letter case and blanks do not count, nor does what
            follows the model's name, unless that is a digit. Of several models that fit, the most exact one counts.
        """
        match = self._matches.get(moduletype)
        if match is None:
            if len(self._matches) >= MOST_MATCHES:  # strangers can say anything
                self._matches.clear()
            match = self._matches[moduletype] = self._find(moduletype)
        return match

    def _find(self, moduletype: str) -> Match:
        said = spelled(moduletype)
        for beginning, profile in self._models:
            if beginning.match(said):
                verified = full_name(moduletype) in self._verified[profile.name]
                return Match(profile, "model" if verified else "family")
        return Match(self._profiles[GENERIC], "default")


def load_catalog(folder: Path | None = None) -> Catalog:
    """Read the shipped profiles and the user's.

    :param folder: of the user's ``*.toml`` files; None: there is none.
    :raises ProfileError: the folder or a file cannot be read, or a file is wrong.
    """
    ours = _toml_files(files(__package__))
    shipped = {file.name.removesuffix(".toml"): read_tables(file.read_text(encoding="utf-8")) for file in ours}
    return Catalog(_profiles(ours, shipped), () if folder is None else _profiles(_toml_files(folder), shipped))


def _toml_files(folder: Traversable) -> list[Traversable]:
    try:
        return sorted((one for one in folder.iterdir() if one.name.endswith(".toml")), key=lambda one: one.name)
    except OSError as error:
        raise ProfileError(f"{folder}: {error.strerror}") from None


def _profiles(toml_files: Sequence[Traversable], shipped: Mapping[str, Tables]) -> list[Profile]:
    profiles = [_profile(file, shipped) for file in toml_files]
    owners: dict[str, str] = {}
    for file, profile in zip(toml_files, profiles, strict=True):
        for model in profile.definition.models:
            if model in owners:
                raise ProfileError(f"{file}: models: {model!r} is {owners[model]}'s already")
            owners[model] = file.name
    return profiles


def _profile(file: Traversable, shipped: Mapping[str, Tables]) -> Profile:
    try:
        name = msgspec.convert(file.name.removesuffix(".toml"), Name)
        return Profile(name, parse_definition(file.read_text(encoding="utf-8"), shipped))
    except OSError as error:
        raise ProfileError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"{file}: not UTF-8: {error.reason} at byte {error.start}") from None
    except msgspec.ValidationError:
        raise ProfileError(f"{file}: the file's name is not snake_case ASCII") from None
    except ProfileError as error:
        raise ProfileError(f"{file}: {error}") from None
