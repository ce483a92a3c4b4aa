"""Hypotheses about a device: what counts for them, what decides them, and what a profile can say about them."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.definition import parse_definition, read_tables
from cmmd.controllers.entries import ProfileError
from cmmd.controllers.evidence.counters import Baseline, judge_counters
from cmmd.controllers.evidence.memory import (
    Remembered,
    only_byte_order,
    overrides_in,
    recalled,
    states_of,
    with_entry,
)
from cmmd.controllers.evidence.weighing import (
    AGAIN,
    AGAINST,
    DECISIVE,
    ENOUGH,
    OPEN,
    decided_choice,
    decided_state,
    doubted,
    opened,
    reopenings,
    settled_choice,
    votes_for,
    weigh,
)
from cmmd.controllers.profile import Profile

HEAD = """
title = "T"
polls = [{unit = 1, function = 1, address = 0, count = 8}, {unit = 1, function = 3, address = 10, count = 6}]
[enums.words]
0 = "off"
1 = "on"
[enums.more]
0 = "a"
[engine]
state = "state"
turns = [1]
[points]
state = {title = "S", address = 10, enum = "words"}
hertz = {title = "H", address = 11, scale = 0.1}
other = {title = "O", address = 12, enum = "more"}
pair = {title = "P", address = 14, type = "u32"}
[signals]
normal = {title = "N", address = 0, severity = "status"}
[commands.go]
title = "Go"
unit = 1
coil = 0
idempotent = true
confirmed_by = {when = "leaves", point = "other", value = 0}
"""


def variant(rest: str = "", one: str = "", two: str = "") -> str:
    return (
        f'{HEAD}\n[variants.v]\ntitle = "V"\n{rest}\n[variants.v.choices.one]\ntitle = "1"\n{one}\n'
        f'[variants.v.choices.two]\ntitle = "2"\n{two}\n'
    )


class WeighingTests(SynchronousTestCase):
    def after(self, *votes: int | None, state: int = OPEN) -> int:
        for vote in votes:
            state = weigh(state, vote)
        return state

    def test_enough_decide(self) -> None:
        self.assertIsNone(decided_choice(self.after(*[1] * (ENOUGH - 1))))
        self.assertEqual(settled_choice(self.after(*[1] * ENOUGH)), 1)

    def test_the_lead_counts(self) -> None:
        self.assertIsNone(decided_choice(self.after(0, 1, 0, 1, 0, 1, 0, 1)))
        self.assertEqual(decided_choice(self.after(0, 1, 0, 0, 0)), 0)
        self.assertEqual(votes_for(self.after(0, 0, None), 0), 2)

    def test_a_contradiction_counts_at_once(self) -> None:
        decided = self.after(0, 0, 0)
        state = weigh(decided, 1)
        self.assertTrue(doubted(state))
        self.assertEqual((decided_choice(state), settled_choice(state)), (0, None))
        self.assertEqual(weigh(state, 0), decided)

    def test_opened_again(self) -> None:
        state = self.after(0, 0, 0, *[1] * AGAINST)
        self.assertEqual((decided_choice(state), reopenings(state)), (None, 1))
        self.assertIsNone(decided_choice(self.after(*[1] * (AGAIN - AGAINST - 1), state=state)))
        self.assertEqual(decided_choice(self.after(*[1] * (AGAIN - AGAINST), state=state)), 1)

    def test_decisive(self) -> None:
        self.assertEqual(decided_choice(weigh(self.after(0, 0), 1, DECISIVE)), 1)

    def test_fixed(self) -> None:
        fixed = decided_state(1, fixed=True)
        self.assertEqual(self.after(0, 0, 0, 0, state=fixed), fixed)
        self.assertEqual(opened(fixed), fixed)

    def test_another_controller(self) -> None:
        self.assertEqual(opened(self.after(1, 1)), OPEN)
        self.assertEqual(reopenings(opened(self.after(1, 1, 1))), 1)

    @given(st.lists(st.none() | st.integers(0, 3), max_size=60))
    def test_what_is_said_last_and_long_enough_wins(self, votes: list[int | None]) -> None:
        state = self.after(*votes, *[2] * 20)
        self.assertEqual(settled_choice(state), 2)


class MemoryTests(SynchronousTestCase):
    def test_to_and_fro(self) -> None:
        text = with_entry("", "scale", Remembered("tenths", 3, 1000, "register 6 = 600"))
        text = with_entry(text, "byte_order", Remembered("big"))
        self.assertEqual(recalled(text)["scale"], Remembered("tenths", 3, 1000, "register 6 = 600"))
        self.assertEqual(list(recalled(only_byte_order(text))), ["byte_order"])
        self.assertEqual(only_byte_order(""), "")

    def test_what_cannot_be_read_is_forgotten(self) -> None:
        for text in ("x", "{}x", '{"scale": 3}', "[]"):
            self.assertEqual(recalled(text), {})

    def test_overrides(self) -> None:
        self.assertEqual(overrides_in(" byte_order = big,scale=tenths, "), {"byte_order": "big", "scale": "tenths"})
        self.assertEqual(overrides_in(None), {})
        for wrong in ("big", "=big", "scale=", "scale=a, scale=b"):
            self.assertRaises(ValueError, overrides_in, wrong)

    def test_states(self) -> None:
        profile = load_catalog().for_moduletype("HGM6120N")
        text = with_entry("", "scale", Remembered("tenths", reopened=2))
        text = with_entry(text, "names", Remembered("", reopened=1))
        states = states_of(profile.hypotheses.all, text, "remote_start=none_is_2")
        self.assertEqual([decided_choice(one) for one in states], [1, 1, None, None, None, None])
        self.assertEqual([reopenings(one) for one in states], [2, 0, 1, 0, 0, 0])
        newer = states_of(profile.hypotheses.all, text, None, states)
        self.assertEqual([decided_choice(one) for one in newer], [1, None, None, None, None, None])


class CounterTests(SynchronousTestCase):
    """What a whole device does with counters is in tests.test_evidence."""

    def test_packed(self) -> None:
        baseline = Baseline(1_700_872_746_500, b"\x00\x01\x02\x03")
        self.assertEqual(Baseline.from_bytes(baseline.to_bytes()), baseline)
        for damaged in (b"", b"1", bytes(11)):
            self.assertIsNone(Baseline.from_bytes(damaged))

    def test_of_another_profile(self) -> None:
        hypotheses = load_catalog().for_moduletype("HGM6120N").hypotheses
        found = judge_counters(hypotheses, hypotheses.open, _Nothing(), 0, Baseline(0, bytes(4)), None)
        self.assertEqual((found.hidden, found.votes, found.rebased), (None, (), ()))


class _Nothing:
    def coil(self, _: int) -> None:
        return None

    def register(self, _: int) -> None:
        return None


class ProfileTests(SynchronousTestCase):
    def said(self, text: str) -> str:
        return str(self.assertRaises(ProfileError, lambda: Profile("p", parse_definition(text))))

    def test_fine(self) -> None:
        profile = Profile(
            "p",
            parse_definition(
                variant(
                    'tells = [{says = "one", points = {hertz = [450, 660]}, signals = ["normal"]}]',
                    'points.hertz = {scale = 1}\nsignals.leak = {title = "L", address = 5, severity = "warning"}',
                    'signals.ecu = {title = "E", address = 5, severity = "shutdown"}',
                )
            ),
        )
        self.assertEqual([one.name for one in profile.hypotheses.all], ["v"])
        neutral = profile.signal_by_name["coil_5"]
        self.assertEqual((neutral.severity, neutral.title), ("shutdown", "Coil 5: L or E, by firmware"))
        self.assertEqual(profile.settled((0,)).point_by_name["hertz"].scale, 1)
        self.assertEqual(profile.settled((1,)).renamed("leak"), profile.settled((1,)).signal_by_name["ecu"])
        self.assertIs(profile.settled((1,)).settled((None,)), profile)
        self.assertNotEqual(profile.fingerprint, profile.settled((0,)).fingerprint)

    def test_what_is_wrong(self) -> None:
        ok = "points.hertz = {scale = 1}"
        for text, expected in (
            (variant('tells = [{says = "no", signals = ["normal"]}]'), "variants.v.tells[0].says: there is no 'no'"),
            (variant('tells = [{says = "one"}]'), "variants.v.tells[0]: it looks at nothing"),
            (variant('tells = [{says = "one", signals = ["x"]}]'), "variants.v.tells[0].signals: there is no 'x'"),
            (
                variant('tells = [{says = "one", points = {pair = [0, 1]}}]'),
                "variants.v.tells[0].points: there is no 'pair'",
            ),
            (variant("", "points.nothing = {scale = 1}"), "variants.v.choices.one.points: there is no 'nothing'"),
            (
                variant("", "points.state = {scale = 1}"),
                "variants.v.choices.one.points: commands, or the engine's state",
            ),
            (
                variant("", "points.other = {scale = 1}"),
                "variants.v.choices.one.points: commands, or the engine's state",
            ),
            (variant("", 'enums.words = {0 = "x"}'), "variants.v.choices.one.enums: commands, or the engine's state"),
            (variant("", 'enums.more = {0 = "x"}'), "variants.v.choices.one.enums: commands, or the engine's state"),
            (variant("", 'enums.none = {0 = "x"}'), "variants.v.choices.one.enums: there is no 'none'"),
            (
                variant("", 'signals.a = {title = "A", address = 0, severity = "warning"}'),
                "variants.v.choices.one.signals.a: address 0 is normal's already",
            ),
            (
                variant("", 'signals.a = {title = "A", address = 9, severity = "warning"}'),
                "variants.v.choices.one.signals.a: coil 9 is in no poll",
            ),
            (
                variant("", 'signals.a = {title = "A", address = 5, severity = "inhibit"}'),
                "variants.v.choices.one.signals.a.severity: not inhibit in a variant",
            ),
            (
                variant("", 'signals.normal = {title = "A", address = 5, severity = "warning"}'),
                "variants.v.choices.one.signals.normal: that name is taken",
            ),
            (variant("", ok) + '[variants.w]\ntitle = "W"\n', "variants.w.choices: not a table"),
            (variant("", "signals = 3"), "variants.v.choices.one.signals: not a table of tables"),
            (variant("", ok).replace("variants.v", "variants.hertz"), "variants.hertz: a point, or the byte order"),
            (
                HEAD.replace("[enums.words]", 'identity = ["pair"]\n[enums.words]'),
                "identity: 'pair' is no point of one",
            ),
            (HEAD.replace('type = "u32"', 'reading = "auto"'), "points.pair: reading and most_per_hour are for points"),
        ):
            self.assertIn(expected, self.said(text))

    def test_an_extension_without_what_a_variant_looks_at(self) -> None:
        base = read_tables(
            variant(
                'tells = [{says = "one", points = {hertz = [1, 2]}}, {says = "two", signals = ["normal"]}]',
                'points.hertz = {scale = 1}\nsignals.leak = {title = "L", address = 5, severity = "warning"}',
            )
        )
        text = 'title = "E"\nextends = "base"\nwithout = ["hertz", "leak"]\n'
        profile = Profile("e", parse_definition(text, {"base": base}))
        (left,) = profile.as_written.variants
        self.assertEqual([rule.says for rule in left.tells], ["two"])
        self.assertEqual([(one.points, one.signals) for one in left.choices], [({}, ()), ({}, ())])

    def test_every_counter_of_a_shipped_profile_has_its_limits(self) -> None:
        for profile in load_catalog():
            for point in profile.as_written.points:
                if point.type == "u32":
                    self.assertIsNotNone(point.plausible_range, point.name)
                    self.assertIsNotNone(point.most_per_hour, point.name)
                    self.assertIsNone(point.believed((0xFFFF, 0xFFFF)), point.name)
