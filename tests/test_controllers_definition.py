"""What is wrong with a profile file is said in one line that names the key."""

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.definition import parse_definition
from cmmd.controllers.entries import ProfileError
from cmmd.controllers.profile import Profile
from tests.support import REPOSITORY

SHIPPED = REPOSITORY / "cmmd" / "controllers" / "hgm6120n.toml"
SHIPPED_LINES = SHIPPED.read_text(encoding="utf-8").splitlines()

HEAD = (
    'title = "T"\npolls = [{unit = 1, function = 1, address = 0, count = 8}, '
    "{unit = 1, function = 3, address = 10, count = 4}]\n"
)
ENGINE = (
    '[enums.words]\n0 = "off"\n1 = "on"\n[engine]\nstate = "state"\nturns = [1]\n'
    '[points]\nstate = {title = "S", address = 10, enum = "words"}\n'
)
COMMAND = '[commands.go]\ntitle = "Go"\nunit = 1\ncoil = 0\nidempotent = true\n'


def poll(**more: object) -> str:
    parts = {"unit": 1, "function": 3, "address": 0, "count": 1, **more}
    return "{" + ", ".join(f"{key} = {value}" for key, value in parts.items()) + "}"


def with_polls(*polls: str) -> str:
    return f'title = "T"\npolls = [{", ".join(polls)}]\n'


def points(**entries: str) -> str:
    return HEAD + "[points]\n" + "".join(f'{name} = {{title = "T", {entry}}}\n' for name, entry in entries.items())


def signals(**entries: str) -> str:
    return HEAD + "[signals]\n" + "".join(f'{name} = {{title = "T", {entry}}}\n' for name, entry in entries.items())


class WrongTestCase(SynchronousTestCase):
    def assert_said(self, text: str, expected: str) -> None:
        said = str(self.assertRaises(ProfileError, lambda: Profile("p", parse_definition(text))))
        self.assertEqual(said, expected)

    def assert_fine(self, text: str) -> Profile:
        return Profile("p", parse_definition(text))


class ValueTests(WrongTestCase):
    """One value at a time."""

    def test_smallest(self) -> None:
        self.assertEqual(self.assert_fine(with_polls(poll(count=80))).plan, "01030000005045F6")

    def test_not_toml(self) -> None:
        said = str(self.assertRaises(ProfileError, parse_definition, HEAD + "[points\n"))
        self.assertRegex(said, r"\Anot TOML: .*\(at line 3, column 8\)\Z")
        self.assertIn("not TOML", str(self.assertRaises(ProfileError, parse_definition, "a = " + "[" * 100_000)))
        self.assertIn("not TOML", str(self.assertRaises(ProfileError, parse_definition, "a = " + "1" * 5000)))
        twice = points(a="address = 10", b="address = 11") + 'a = {title = "T", address = 12}\n'
        self.assertIn("line 6", str(self.assertRaises(ProfileError, parse_definition, twice)))

    def test_head(self) -> None:
        self.assert_said("polls = []", "polls: Expected `array` of length >= 1")
        self.assert_said(f"polls = [{poll()}]", "title: missing")
        self.assert_said('title = "T"', "polls: missing")
        self.assert_said(HEAD + "colour = 1", "colour: unknown key")
        self.assert_said(HEAD + 'change_byte_order = "odd"', "change_byte_order: Invalid enum value 'odd'")
        self.assertIn("models[0]: ", self.said(HEAD + 'models = ["hgm6120"]'))
        self.assertIn("title: ", self.said('title = "two\\nlines"\n' + with_polls(poll()).partition("\n")[2]))

    def said(self, text: str) -> str:
        said = str(self.assertRaises(ProfileError, parse_definition, text))
        self.assertNotIn("\n", said)
        return said

    def test_tables(self) -> None:
        for kind in ("enums", "points", "signals", "commands"):
            self.assert_said(f"{HEAD}{kind} = []", f"{kind}: not a table")
            self.assert_said(f"{HEAD}{kind} = 1", f"{kind}: not a table")
        self.assert_said(HEAD + "points = {a = 1}", "points.a: Expected `object`, got `int`")
        self.assert_said(HEAD + "enums = {a = 1}", "enums.a: Expected `object`, got `int`")

    def test_poll(self) -> None:
        self.assert_said(with_polls(poll(unit=248)), "polls[0].unit: Expected `int` <= 247")
        self.assert_said(with_polls(poll(unit=-1)), "polls[0].unit: Expected `int` >= 0")
        self.assert_said(with_polls(poll(), poll(function=5)), "polls[1].function: Invalid enum value 5")
        self.assert_said(with_polls(poll(count=0)), "polls[0].count: Expected `int` >= 1")
        self.assert_said(with_polls(poll(address=65536)), "polls[0].address: Expected `int` <= 65535")
        self.assert_said(with_polls(poll(step=1)), "polls[0].step: unknown key")
        self.assert_fine(with_polls(poll(unit=0), poll(function=4)))

    def test_point(self) -> None:
        self.assert_said(points(a="address = 10", b='address = "11"'), "points.b.address: Expected `int`, got `str`")
        self.assert_said(points(a="address = 10, scale = 0"), "points.a.scale: Expected `float` >= 1e-06")
        self.assert_said(points(a='address = 10, type = "u8"'), "points.a.type: Invalid enum value 'u8'")
        self.assert_said(points(a="unit = 'V'"), "points.a.address: missing")
        self.assert_said(points(a="address = 10, colour = 1"), "points.a.colour: unknown key")
        self.assert_said(points(a="address = 10, name = 'b'"), "points.a.name: unknown key")
        self.assert_said(
            points(a="address = 10, plausible = [0]"), "points.a.plausible: Expected `array` of length 2, got 1"
        )

    def test_names(self) -> None:
        for name in ("Big", "two words", "trailing_", "ä", "1st", "a__b", "", "x\\ny"):
            said = self.said(HEAD + f'[points]\n"{name}" = {{title = "T", address = 10}}\n')
            self.assertIn("name: Expected `str` matching regex", said)

    def test_enum(self) -> None:
        self.assertIn("enums.words.words", self.said(HEAD + '[enums.words]\nx = "y"\n'))
        self.assertIn("enums.words.words", self.said(HEAD + '[enums.words]\n-1 = "y"\n'))
        self.assertIn("enums.words.words", self.said(HEAD + "[enums.words]\n"))

    def test_signal(self) -> None:
        self.assert_said(signals(a="address = 0"), "signals.a.severity: missing")
        self.assert_said(signals(a="address = 0, severity = 'bad'"), "signals.a.severity: Invalid enum value 'bad'")

    def test_command(self) -> None:
        self.assert_said(HEAD + COMMAND.replace("idempotent = true\n", ""), "commands.go.idempotent: missing")
        self.assert_said(HEAD + COMMAND.replace("unit = 1", "unit = 300"), "commands.go.unit: Expected `int` <= 247")
        self.assert_said(
            HEAD + COMMAND + "confirmed_by = {when = 'never', signal = 'a'}\n",
            "commands.go.confirmed_by.when: Invalid value 'never'",
        )
        self.assertIsNone(self.assert_fine(HEAD + COMMAND).command_by_name["go"].confirmed_by)

    def test_modes(self) -> None:
        self.assertIn("modes: Invalid enum value 'fast'", self.said(HEAD + "[modes]\nfast = 'a'\n"))

    @given(st.text())
    def test_garbage(self, text: str) -> None:
        self.said(text)

    @given(st.data())
    def test_a_good_file_damaged(self, data: st.DataObject) -> None:
        """Whatever a line becomes: the file is fine, or one line says what is wrong with it."""
        lines = list(SHIPPED_LINES)
        place = data.draw(st.integers(0, len(lines) - 1))
        words = re.findall(r"\w+|\W", lines[place]) or [""]
        words[data.draw(st.integers(0, len(words) - 1))] = data.draw(
            st.sampled_from(
                ["", "0", "-1", "70000", "nan", "1e400", "x", '"', "[", "{", "}", "[[a]]", "true", "1979-05-27"]
            )
            | st.text()
        )
        lines[place] = "".join(words)
        try:
            Profile("p", parse_definition("\n".join(lines)))
        except ProfileError as error:
            self.assertNotIn("\n", str(error))


class RelationTests(WrongTestCase):
    """How the parts go together."""

    def test_models(self) -> None:
        def models(*names: str, commands: str = COMMAND, lacks: str = "") -> str:
            head = HEAD + 'models = ["M1x0", "N1"]\n' + f"command_models = {list(names)}\n"
            return head + f"lacks_commands = {[lacks] if lacks else []}\n" + commands

        self.assert_said(models("M120-B", "M12"), "command_models: 'M12' is none of models")
        self.assert_said(models("N10"), "command_models: 'N10' is none of models")
        self.assert_said(models("M120-4G", "M120-4-G"), "command_models: 'M120-4G' is there twice")
        self.assert_said(
            models("M1x0"), "command_models[0]: Expected `str` matching regex '\\\\A[A-Z0-9][A-Z0-9-]*\\\\Z'"
        )
        self.assert_said(models("N1", commands=""), "command_models: there are no commands")
        self.assert_said(models("N1", lacks="go"), "lacks_commands: 'go' is among commands")
        self.assert_fine(models("M120-B", "M120", "N1-C", lacks="come"))

    def test_polls(self) -> None:
        self.assert_said(with_polls(poll(count=126)), "polls[0].count: 126 is more than 125, the most for function 3")
        self.assert_said(
            with_polls(poll(), poll(function=1, count=2001)),
            "polls[1].count: 2001 is more than 2000, the most for function 1",
        )
        self.assert_fine(with_polls(poll(count=125), poll(function=1, count=2000)))
        self.assert_said(with_polls(poll(address=65535, count=2)), "polls[0]: address and count reach beyond 65535")
        self.assert_fine(with_polls(poll(address=65534, count=2)))
        self.assert_said(
            with_polls(poll(count=10), poll(function=4), poll(address=9)), "polls[2]: address 9 is polls[0]'s already"
        )

    def test_points(self) -> None:
        self.assert_said(points(a="address = 14"), "points.a: register 14 is in no poll of function 3")
        self.assert_said(points(a="address = 13, type = 'u32'"), "points.a: register 14 is in no poll of function 3")
        self.assert_said(points(a="address = 3"), "points.a: register 3 is in no poll of function 3")
        self.assert_said(
            points(a="address = 10, type = 'u32'", b="address = 11"), "points.b: address 11 is points.a's already"
        )
        self.assert_said(points(a="address = 10, enum = 'x'"), "points.a.enum: there is no 'x' in enums")
        for wrong in ("[5, 5]", "[5, 1]", "[nan, 1]"):
            self.assert_said(
                points(a=f"address = 10, plausible = {wrong}"),
                "points.a.plausible: the lowest value comes first, then a higher one",
            )
        self.assert_fine(points(a="address = 10, type = 'u32'", b="address = 12, plausible = [-1.5, inf]"))

    def test_signals(self) -> None:
        status = "severity = 'status'"
        self.assert_said(signals(a=f"address = 8, {status}"), "signals.a: coil 8 is in no poll of function 1")
        self.assert_said(
            signals(a=f"address = 1, {status}", b=f"address = 1, {status}"),
            "signals.b: address 1 is signals.a's already",
        )
        self.assert_said(
            points(a="address = 10") + f"[signals]\na = {{title = 'T', address = 0, {status}}}\n",
            "signals.a: a point has that name",
        )
        self.assert_said(
            signals(a=f"address = 0, {status}, only_in_engine_states = [1]"),
            "signals.a.only_in_engine_states: there is no [engine]",
        )
        self.assert_said(
            HEAD + ENGINE + f"[signals]\na = {{title = 'T', address = 0, {status}, only_in_engine_states = [1, 2]}}\n",
            "signals.a.only_in_engine_states: 2 is no engine state",
        )

    def test_engine(self) -> None:
        self.assert_fine(HEAD + ENGINE)
        self.assert_said(
            HEAD + "[engine]\nstate = 'state'\nturns = [1]\n", "engine.state: there is no 'state' in points"
        )
        for wrong in ('enum = "words", scale = 2', 'enum = "words", type = "s16"', "unit = ''"):
            self.assert_said(
                HEAD + ENGINE.replace('enum = "words"', wrong),
                "engine.state: 'state' is not of type u16 and scale 1 with an enum",
            )
        self.assert_said(HEAD + ENGINE.replace("turns = [1]", "turns = [1, 7]"), "engine.turns: 7 is no engine state")

    def test_modes(self) -> None:
        auto = signals(a="address = 0, severity = 'mode'")
        self.assert_fine(auto + "[modes]\nauto = 'a'\n")
        self.assert_said(auto + "[modes]\nauto = 'b'\n", "modes.auto: there is no 'b' of severity mode in signals")
        message = "signals.a: severity is mode, but not exactly one of modes is it"
        self.assert_said(auto, message)
        self.assert_said(auto + "[modes]\nauto = 'a'\ntest = 'a'\n", message)

    def test_commands(self) -> None:
        self.assert_said(
            HEAD + COMMAND + 'only_in_mode = "manual"\n', "commands.go.only_in_mode: there is no 'manual' in modes"
        )
        for how in ("set", "changes"):
            self.assert_said(
                HEAD + COMMAND + f"confirmed_by = {{when = '{how}', signal = 'a'}}\n",
                "commands.go.confirmed_by.signal: there is no 'a' in signals",
            )
        self.assert_said(
            HEAD + COMMAND + "confirmed_by = {when = 'leaves', point = 'a', value = 0}\n",
            "commands.go.confirmed_by.point: there is no 'a' in points",
        )
        again = COMMAND.replace("commands.go", "commands.move")
        self.assert_said(HEAD + COMMAND + again, "commands.move: address 0 is commands.go's already")
        self.assert_fine(HEAD + COMMAND + again.replace("unit = 1", "unit = 2"))
