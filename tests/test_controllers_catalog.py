"""Which profiles there are, and which one a controller has."""

import re
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import LACKING, UNVERIFIED, load_catalog
from cmmd.controllers.entries import ProfileError
from cmmd.controllers.profile import Profile
from tests.support import REPOSITORY

POLLS = "polls = [{unit = 1, function = 3, address = 0, count = 2}]\n"
COMMANDS = """[commands.on]
title = "On"
unit = 1
coil = 5
idempotent = true
"""
NAMES = ["generic", "hgm4000n", "hgm4010n", "hgm6110n", "hgm6120n"]
DOCUMENTED = REPOSITORY / "docs" / "controllers.md"


class CatalogTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, name: str, *models: str) -> Path:
        file = self.folder / name
        file.write_text(f'title = "T"\nmodels = {list(models)}\n{POLLS}', encoding="utf-8")
        return file


class ModelTests(CatalogTestCase):
    def test_shipped(self) -> None:
        catalog = load_catalog()
        self.assertEqual([profile.name for profile in catalog], NAMES)
        for name, models in {
            "hgm6120n": "HGM6120N;hgm6120n-4g ;HGM6120NC;HGM6120;HGM6100; hgm 6120 n\t;HGM6100N",
            "hgm6110n": "HGM6110N;HGM6110NC;HGM6110;hgm6110-4g",
            "hgm4000n": "HGM4020N;HGM40x0;HGM40X0N;hgm4030n-4g;hgm4020",
            "hgm4010n": "HGM4010N;HGM4010;hgm 4010 can",
            "generic": ";HGM;HGM612;HGM61200;HGM40100;HGM9510N;XHGM6120N;6120;\x00",
        }.items():
            for model in models.split(";"):
                self.assertEqual(catalog.for_moduletype(model).name, name, model)

    def test_most_exact_model(self) -> None:
        self.write("any.toml", "HGM6xx0")
        self.write("exact.toml", "HGM6120N-4G")
        catalog = load_catalog(self.folder)
        for model, name in (("HGM6120N-4G", "exact"), ("HGM6120N", "hgm6120n"), ("HGM6320", "any")):
            self.assertEqual(catalog.for_moduletype(model).name, name)

    def test_the_users_profile_has_a_model_before_the_shipped_one(self) -> None:
        self.write("mine.toml", "HGM6120")
        self.write("zz.toml", "HGM4010N")
        catalog = load_catalog(self.folder)
        for model, name in (
            ("HGM6120N", "mine"),
            ("HGM6110N", "hgm6110n"),
            ("HGM4010N", "zz"),
            ("HGM4020N", "hgm4000n"),
        ):
            self.assertEqual(catalog.for_moduletype(model).name, name)


class OfferedTests(CatalogTestCase):
    """Which commands a device has."""

    TOGGLES = ("generator_breaker_toggle", "mains_breaker_toggle")
    ONE_BREAKER = ("generator_breaker_open", "generator_breaker_close")
    MODES: ClassVar = {"start", "stop", "auto", "manual"}

    def setUp(self) -> None:
        super().setUp()
        self.catalog = load_catalog()

    def offered(self, model: str, by_hand: str | None = None) -> set[str]:
        profile = self.catalog.of(model, by_hand)
        self.assertIs(profile, self.catalog.of(model, by_hand))
        self.assertEqual(set(profile.command_by_name), {command.name for command in profile.definition.commands})
        for name in profile.withheld:
            self.assertNotIn(name, profile.command_by_name)
        return set(profile.command_by_name)

    def test_models_for_which_they_are_verified(self) -> None:
        for model in (
            *("HGM6120", "HGM6120N", "HGM6120NC", "HGM6120N-4G"),
            *("hgm6120n-4g", "HGM6120N 4G", "Hgm6120n_4G", " hgm 6120 n\t"),
        ):
            self.assertEqual(self.catalog.match(model).by, "model", model)
            self.assertEqual(self.offered(model), {*self.MODES, "test", *self.TOGGLES}, model)
        for model in ("HGM4020N", "hgm 4020-n"):
            self.assertEqual(self.offered(model), {*self.MODES, *self.TOGGLES}, model)

    def test_models_of_a_family_have_none(self) -> None:
        for model in (
            *("HGM6110", "HGM6110N", "HGM6110NC", "HGM4010", "HGM4010N", "HGM6100", "HGM6100N", "HGM6100NC"),
            *("HGM40x0", "HGM4030N", "HGM4020", "HGM4020NC", "HGM6120CAN", "HGM6120N-5G", "HGM6120NX", "HGM6120N.4G"),
            *("HGM6120N_V1.4", "HGM6120N V2", "HGM6120N\x00", "HGM6120N/HGM6110N", "HGM6120\u0274"),
        ):
            self.assertEqual(self.catalog.match(model).by, "family", model)
            self.assertEqual(self.offered(model), set(), model)
            profile, whole = self.catalog.of(model, None), self.catalog.for_moduletype(model)
            self.assertIs(profile.whole, whole)
            self.assertEqual(profile.withheld, dict.fromkeys(whole.command_by_name, UNVERIFIED))
            self.assertEqual((profile.definition.points, profile.plan), (whole.definition.points, whole.plan))

    def test_unknown_models_have_none(self) -> None:
        for model in ("", "HSC941", "HGM9520N", "HGM61200", "XHGM6120N"):
            match = self.catalog.match(model)
            self.assertEqual((match.profile.name, match.by), ("generic", "default"))
            self.assertEqual(self.offered(model), set())

    def test_by_hand(self) -> None:
        for model in ("HGM6100N", "HGM6120N-5G", "HGM4020N", "ABC"):
            self.assertEqual(self.offered(model, "hgm6120n"), {*self.MODES, "test", *self.TOGGLES}, model)
        for model, name in (("HGM6110N", "hgm6110n"), ("HGM4010N", "hgm4010n"), ("HGM6100", "hgm6110n")):
            self.assertEqual(self.offered(model, name), {*self.MODES, "test", *self.ONE_BREAKER}, model)
        self.assertEqual(self.offered("HGM6120N", "generic"), set())

    def test_a_profile_that_is_gone_is_not_set_by_hand(self) -> None:
        self.assertEqual(self.offered("HGM6100N", "mine"), set())
        self.assertTrue(self.offered("HGM6120N", "mine"))

    def test_no_mains_breaker_where_there_is_none(self) -> None:
        """Coil 6 closes the generator's breaker there; whatever profile is set by hand, it has no such name."""
        for model in ("HGM6110", "HGM6110N", "hgm 6110-nc", "HGM4010", "HGM4010N"):
            for profile in self.catalog:
                offered = self.offered(model, profile.name)
                self.assertFalse(offered & set(self.TOGGLES), (model, profile.name))
            withheld = self.catalog.of(model, "hgm6120n").withheld
            self.assertEqual(withheld, dict.fromkeys(self.TOGGLES, LACKING))

    def test_no_other_name_on_a_coil_that_is_known(self) -> None:
        """A toggle is no open."""
        for model in ("HGM6120N", "HGM4020N"):
            for name in ("hgm6110n", "hgm4010n"):
                self.assertEqual(self.offered(model, name), {*self.MODES, "test"})
                self.assertEqual(
                    self.catalog.of(model, name).withheld["generator_breaker_open"],
                    "coil 5 of this model is generator_breaker_toggle",
                )

    def test_why_not(self) -> None:
        for model, by_hand, command, why in (
            ("HGM6110N", None, "stop", f"hgm6110n: stop is not offered: {UNVERIFIED}"),
            ("HGM6110N", None, "mains_breaker_toggle", "hgm6110n has no command 'mains_breaker_toggle'"),
            (
                "HGM6110N",
                "hgm6120n",
                "mains_breaker_toggle",
                f"hgm6120n: mains_breaker_toggle is not offered: {LACKING}",
            ),
            ("HGM6120N", None, "explode", "hgm6120n has no command 'explode'"),
        ):
            self.assertEqual(self.catalog.of(model, by_hand).why_not_offered(command), why)

    def test_a_users_profile(self) -> None:
        """Its commands are offered to the models that it names whole, and to no others."""
        text = f'title = "T"\nmodels = ["ACME1x0"]\ncommand_models = ["ACME120-B"]\n{POLLS}{COMMANDS}'
        (self.folder / "acme.toml").write_text(text)
        self.catalog = load_catalog(self.folder)
        for model, offered in (("acme120b", {"on"}), ("ACME120", set()), ("ACME130-B", set())):
            self.assertEqual(self.catalog.match(model).profile.name, "acme")
            self.assertEqual(self.offered(model), offered, model)

    def test_a_users_profile_in_place_of_a_shipped_one(self) -> None:
        """What was verified for the shipped one is not verified for it."""
        (self.folder / "hgm6120n.toml").write_text(f'title = "T"\nmodels = ["HGM6120"]\n{POLLS}{COMMANDS}')
        self.catalog = load_catalog(self.folder)
        self.assertEqual(self.offered("HGM6120N"), set())
        self.assertEqual(self.offered("HGM6120N", "hgm6120n"), {"on"})


class FolderTests(CatalogTestCase):
    def assert_said(self, expected: str) -> None:
        said = str(self.assertRaises(ProfileError, load_catalog, self.folder))
        self.assertEqual(said, f"{self.folder}{expected}")

    def test_adds(self) -> None:
        self.write("mine.toml", "M1")
        (self.folder / "readme.txt").write_text("not a profile")
        catalog = load_catalog(self.folder)
        self.assertEqual(sorted(profile.name for profile in catalog), [*NAMES, "mine"])
        mine = catalog.profile("mine")
        assert mine is not None
        self.assertEqual(mine.plan, "010300000002C40B")
        self.assertIs(catalog.for_moduletype("m1"), mine)
        self.assertIsNone(catalog.profile("other"))

    def test_stands_in_place_of_a_shipped_one(self) -> None:
        self.write("hgm6120n.toml", "HGM6120")
        self.write("generic.toml")
        catalog = load_catalog(self.folder)
        self.assertEqual(len(list(catalog)), len(NAMES))
        self.assertEqual(catalog.for_moduletype("HGM6120N").definition.title, "T")
        self.assertEqual(catalog.for_moduletype("HGM6100N").name, "generic")
        self.assertEqual(catalog.for_moduletype("unknown").plan, "010300000002C40B")

    def test_empty(self) -> None:
        self.assertEqual(len(list(load_catalog(self.folder))), len(NAMES))

    def test_no_folder(self) -> None:
        self.folder.rmdir()
        self.assert_said(": No such file or directory")
        self.folder.touch()
        self.assert_said(": Not a directory")

    def test_file_that_cannot_be_read(self) -> None:
        (self.folder / "mine.toml").mkdir()
        self.assert_said("/mine.toml: Is a directory")

    def test_file_that_is_wrong(self) -> None:
        file = self.write("mine.toml")
        file.write_text('title = "T"\n' + POLLS.replace("count = 2", "count = 200"))
        self.assert_said("/mine.toml: polls[0].count: 200 is more than 125, the most for function 3")
        file.write_text("title = 1\n")
        self.assert_said("/mine.toml: title: Expected `str`, got `int`")
        file.write_bytes(b"title = '\xff'\n")
        self.assert_said("/mine.toml: not UTF-8: invalid start byte at byte 9")

    def test_file_name(self) -> None:
        self.write("My Controller.toml")
        self.assert_said("/My Controller.toml: the file's name is not snake_case ASCII")

    def test_model_of_two_profiles(self) -> None:
        self.write("a.toml", "M1")
        self.write("b.toml", "M2", "M1")
        self.assert_said("/b.toml: models: 'M1' is a.toml's already")


class ExtendingTests(CatalogTestCase):
    """Files that say only in what they differ from a shipped profile."""

    def profile(self, text: str, name: str = "mine") -> Profile:
        (self.folder / f"{name}.toml").write_text(f'title = "T"\n{text}', encoding="utf-8")
        profile = load_catalog(self.folder).profile(name)
        assert profile is not None
        return profile

    def assert_said(self, text: str, expected: str) -> None:
        said = str(self.assertRaises(ProfileError, self.profile, text))
        self.assertEqual(said, f"{self.folder}/mine.toml: {expected}")

    def test_all_of_it_but_what_is_true_of_its_models_only(self) -> None:
        shipped = load_catalog().profile("hgm6120n")
        mine = self.profile('extends = "hgm6120n"\n')
        assert shipped is not None
        expected = replace(shipped.definition, title="T", models=(), command_models=())
        self.assertEqual(mine.definition, expected)

    def test_what_is_another_stays_in_its_place(self) -> None:
        text = """extends = "hgm6120n"
models = ["ABC"]
polls = [{unit = 2, function = 1, address = 0, count = 90}, {unit = 2, function = 3, address = 0, count = 60}]
[points]
mains_frequency = {title = "F", address = 6, scale = 0.1}
more = {title = "More", address = 59}
[enums.mains_state]
0 = "good"
"""
        shipped = load_catalog().profile("hgm6120n")
        mine = self.profile(text)
        assert shipped is not None
        self.assertEqual(list(mine.point_by_name), [*shipped.point_by_name, "more"])
        self.assertEqual((mine.point_by_name["mains_frequency"].scale, mine.definition.polls[0].unit), (0.1, 2))
        self.assertEqual(mine.definition.signals, shipped.definition.signals)
        self.assertEqual({one.name: len(one.words) for one in mine.definition.enums}["mains_state"], 1)

    def test_one_that_extends(self) -> None:
        shipped = load_catalog().profile("hgm6110n")
        mine = self.profile('extends = "hgm6110n"\nwithout = ["test"]\n')
        assert shipped is not None
        self.assertEqual(mine.definition.points, shipped.definition.points)
        self.assertEqual(shipped.command_by_name.keys() - mine.command_by_name.keys(), {"test"})
        self.assertEqual(mine.definition.lacks_commands, ())

    def test_the_shipped_one_of_its_own_name(self) -> None:
        mine = self.profile('extends = "generic"\nmodels = ["M1"]\n', "generic")
        self.assertEqual((mine.plan, mine.definition.title), ("01030000005045F6", "T"))

    def test_what_is_wrong(self) -> None:
        self.profile('extends = "generic"\n', "other")
        self.assert_said('extends = "other"\n', "extends: there is no shipped profile 'other'")
        self.assert_said("extends = 1\n", "extends: Expected `str`, got `int`")
        self.assert_said('without = ["load"]\n', "extends: missing")
        self.assert_said('extends = "generic"\nwithout = ["load"]\n', "without: there is no 'load' in generic")
        self.assert_said('extends = "hgm6120n"\nwithout = "load"\n', "without: Expected `array`, got `str`")
        self.assert_said('extends = "hgm6120n"\npoints = 3\n', "points: not a table")
        self.assert_said(
            'extends = "hgm6120n"\nwithout = ["stop_mode"]\n',
            "modes.stop: there is no 'stop_mode' of severity mode in signals",
        )
        self.assert_said('extends = "hgm6120n"\npoints.load.scale = 2\n', "points.load.title: missing")


class DocumentationTests(CatalogTestCase):
    """docs/controllers.md, as its reader takes it."""

    def test_example(self) -> None:
        text = DOCUMENTED.read_text(encoding="utf-8")
        example = re.search(r"```toml\n# profiles/acme100\.toml\n(.*?)```", text, re.DOTALL)
        assert example is not None
        (self.folder / "acme100.toml").write_text(example[1], encoding="utf-8")
        acme = load_catalog(self.folder).for_moduletype("ACME120-B")
        self.assertEqual(acme.name, "acme100")
        self.assertEqual([one.addresses for one in acme.definition.polls], [range(16), range(100, 105)])
        self.assertEqual(len(acme.point_by_name), 4)

    def test_example_that_extends(self) -> None:
        text = DOCUMENTED.read_text(encoding="utf-8")
        example = re.search(r"```toml\n# profiles/hgm6120n\.toml\n(.*?)```", text, re.DOTALL)
        assert example is not None
        (self.folder / "hgm6120n.toml").write_text(example[1], encoding="utf-8")
        shipped, mine = load_catalog().of("HGM6120N", None), load_catalog(self.folder).of("HGM6120N", None)
        self.assertEqual(mine.point_by_name["run_time_hours"].scale, 0.1)
        self.assertEqual(list(mine.point_by_name), list(shipped.point_by_name))
        self.assertEqual(shipped.signal_by_name.keys() - mine.signal_by_name.keys(), {"low_fuel_warning"})
        self.assertEqual(mine.command_by_name, shipped.command_by_name)

    def test_models_with_commands(self) -> None:
        text = " ".join(DOCUMENTED.read_text(encoding="utf-8").split())
        for profile in load_catalog():
            *most, last = profile.definition.command_models or ("", "")
            names = " and ".join((", ".join(most), last)) if most else last
            if last:
                self.assertIn(f"commands for {names}.", text)

    def test_numbers(self) -> None:
        text = " ".join(DOCUMENTED.read_text(encoding="utf-8").split())
        profile = load_catalog().for_moduletype("HGM6120N")
        points, signals, commands = profile.point_by_name, profile.signal_by_name, profile.command_by_name
        self.assertIn(f"{len(points)} points, {len(signals)} signals, {len(commands)} commands", text)

    def test_units(self) -> None:
        text = " ".join(DOCUMENTED.read_text(encoding="utf-8").split())
        listed = re.search(r"\*\*Units\*\* in the shipped profiles: ([^.]*)\.", text)
        assert listed is not None
        used = {point.unit for profile in load_catalog() for point in profile.definition.points} - {""}
        self.assertEqual(set(listed[1].split(", ")), used)
