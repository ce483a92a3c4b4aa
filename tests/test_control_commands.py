"""The AMP surface: names, codes, and values that are longer than AMP lets them be."""

import re

from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control import commands, errors
from cmmd.control.boxes import JSON
from cmmd.fleet.errors import NotAllowed, refusal
from tests.support import REPOSITORY

CODES = (
    "unknown_device unknown_command bad_frame bad_port commands_disabled device_disabled device_offline"
    " expired remote_inhibited remote_locked locked ambiguous_session stale admin_only queue_full not_audited"
    " engineer_only raw_disabled out_of_range forbidden"
    " not_allowed no_such_point no_such_alarm no_such_command too_late under_way already_enrolled registry_full"
    " bad_argument unavailable too_many_requests internal_error"
)
"""Programs hold on to these."""


def public() -> dict[str, type[amp.Command]]:
    found = {name: getattr(commands, name) for name in commands.__all__}
    return {name: kind for name, kind in found.items() if issubclass(kind, amp.Command)}


class CodeTests(SynchronousTestCase):
    def test_codes_stay(self) -> None:
        self.assertEqual(set(errors.BY_CODE), set(CODES.split()))

    def test_every_interlock_has_its_code(self) -> None:
        kinds = NotAllowed.__subclasses__()
        self.assertNotEqual(kinds, [])
        for kind in kinds:
            answered = refusal(kind("why"))
            assert answered is not None
            self.assertEqual((answered.code, str(answered)), (kind.code, "why"))
            self.assertIsInstance(answered, errors.NotAllowed)

    def test_on_the_wire(self) -> None:
        for name, kind in public().items():
            if kind is not commands.Event:
                self.assertEqual(kind.errors[errors.DeviceOffline], b"DEVICE_OFFLINE", name)
                self.assertEqual(len(kind.errors), len(errors.BY_CODE), name)

    def test_bugs_have_no_code(self) -> None:
        self.assertIsNone(refusal(KeyError("x")))


class NameTests(SynchronousTestCase):
    def arguments(self, command: type[amp.Command], *, optional: bool | None = None) -> str:
        chosen = (name.decode() for name, kind in command.arguments if optional in (None, kind.optional))
        return " ".join(chosen)

    def test_as_the_design_says(self) -> None:
        self.assertEqual(self.arguments(commands.WriteConfig), "hostid result datatype requester timeout override")
        self.assertEqual(self.arguments(commands.WritePort, optional=False), "hostid modulePort moduleBaud")
        self.assertEqual(self.arguments(commands.SendCommand, optional=False), "hostid name")
        self.assertEqual(self.arguments(commands.Reset, optional=False), "hostid")
        for command in (commands.SendCommand, commands.WriteConfig, commands.WritePort, commands.Reset):
            answered = " ".join(name.decode() for name, kind in command.response if not kind.optional)
            self.assertEqual(answered, "commandId uid outcome reply seconds")
            self.assertEqual([name for name, kind in command.response if kind.optional], [b"recorded"])

    def test_commands_are_called_what_their_classes_are(self) -> None:
        for name, kind in public().items():
            self.assertEqual(kind.commandName.decode(), name)

    def test_names_are_camel_case_and_fit(self) -> None:
        for kind in public().values():
            for name, _ in (*kind.arguments, *kind.response):
                self.assertRegex(name.decode(), r"\A[a-z][A-Za-z]{0,200}\Z")


class DocumentTests(SynchronousTestCase):
    """docs/control.md has all of it, and nothing else."""

    def setUp(self) -> None:
        self.text = (REPOSITORY / "docs" / "control.md").read_text(encoding="utf-8")

    def test_commands(self) -> None:
        rows = dict(re.findall(r"^\| `([A-Z][a-z][A-Za-z]+)` \|(.*?)\|", self.text, re.MULTILINE))
        self.assertEqual(set(rows), set(public()))
        for name, kind in public().items():
            listed = re.findall(r"`(\w+)`(\??)", rows[name])
            there_are = [(argument.decode(), "?" if way.optional else "") for argument, way in kind.arguments]
            self.assertEqual(sorted(listed), sorted(there_are), name)

    def test_codes(self) -> None:
        rows = set(re.findall(r"^\| `([A-Z_]+)` \|", self.text, re.MULTILINE))
        self.assertEqual(rows, {code.upper() for code in CODES.split()})


class JSONTests(SynchronousTestCase):
    def roundtrip(self, value: object) -> amp.Box:
        argument, box = JSON(object), amp.Box()
        argument.toBox(b"list", box, {"list": value}, None)
        read: dict[str, object] = {}
        argument.fromBox(b"list", amp.parseString(box.serialize())[0], read, None)
        self.assertEqual(read, {"list": value})
        return box

    def test_short(self) -> None:
        self.assertEqual(dict(self.roundtrip([1, "ü"])), {b"list": '[1,"ü"]'.encode()})

    def test_longer_than_a_value(self) -> None:
        for length in (amp.MAX_VALUE_LENGTH - 2, amp.MAX_VALUE_LENGTH - 1, 500_000):
            box = self.roundtrip("ü" * (length // 2) + "x" * (length % 2))
            self.assertEqual(len(box), -(-(length + 2) // amp.MAX_VALUE_LENGTH))

    def test_optional(self) -> None:
        argument, box, read = JSON(int, optional=True), amp.Box(), dict[str, object]()
        argument.toBox(b"x", box, {"x": None}, None)
        argument.fromBox(b"x", box, read, None)
        self.assertEqual((dict(box), read), ({}, {"x": None}))
