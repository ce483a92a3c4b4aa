"""Which profiles there are, and which one a controller has."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.errors import ProfileError
from tests.support import REPOSITORY

POLLS = "polls = [{unit = 1, function = 3, address = 0, count = 2}]\n"
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
        self.assertEqual([profile.name for profile in catalog], ["generic", "hgm4000n", "hgm6120n"])
        for name, models in {
            "hgm6120n": "HGM6120N;hgm6120n-4g ;HGM6120NC;HGM6110N;HGM6110NC;HGM6120;HGM6100; hgm 6120 n\t;HGM6100N",
            "hgm4000n": "HGM4010N;HGM4020N;HGM40x0;HGM40X0N;hgm4030n-4g;hgm4020",
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
            ("HGM6110N", "hgm6120n"),
            ("HGM4010N", "zz"),
            ("HGM4020N", "hgm4000n"),
        ):
            self.assertEqual(catalog.for_moduletype(model).name, name)


class FolderTests(CatalogTestCase):
    def assert_said(self, expected: str) -> None:
        said = str(self.assertRaises(ProfileError, load_catalog, self.folder))
        self.assertEqual(said, f"{self.folder}{expected}")

    def test_adds(self) -> None:
        self.write("mine.toml", "M1")
        (self.folder / "readme.txt").write_text("not a profile")
        catalog = load_catalog(self.folder)
        self.assertEqual(sorted(profile.name for profile in catalog), ["generic", "hgm4000n", "hgm6120n", "mine"])
        mine = catalog.profile("mine")
        assert mine is not None
        self.assertEqual(mine.plan, "010300000002C40B")
        self.assertIs(catalog.for_moduletype("m1"), mine)
        self.assertIsNone(catalog.profile("other"))

    def test_stands_in_place_of_a_shipped_one(self) -> None:
        self.write("hgm6120n.toml", "HGM6120")
        self.write("generic.toml")
        catalog = load_catalog(self.folder)
        self.assertEqual(len(list(catalog)), 3)
        self.assertEqual(catalog.for_moduletype("HGM6120N").definition.title, "T")
        self.assertEqual(catalog.for_moduletype("HGM6110N").name, "generic")
        self.assertEqual(catalog.for_moduletype("unknown").plan, "010300000002C40B")

    def test_empty(self) -> None:
        self.assertEqual(len(list(load_catalog(self.folder))), 3)

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
