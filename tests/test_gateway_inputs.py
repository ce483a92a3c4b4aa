"""``cmmd.gateway.inputs``: four contacts; what nobody knows is never made up."""

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gpiod
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.inputs import FileContact, GpioContact, InputError, Inputs, contact_at
from cmmd.gateway.link.source import InputStates
from cmmd.gateway.settings import Input

Value = gpiod.line.Value


class _Request:
    """A line that somebody holds."""

    def __init__(self, chips: "_Chips", line: int | str) -> None:
        self._chips = chips
        self._line = line

    def get_value(self, line: int | str) -> Value:
        assert line == self._line
        if self._chips.gone:
            raise OSError(19, "No such device")
        return self._chips.value

    def release(self) -> None:
        self._chips.held -= 1


class _Chips:
    """In place of the kernel's GPIO chips, behind the library's own function.

    :ivar asked: chip, lines and consumer of each request.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[int | str, Any], str]] = []
        self.gone = False
        self.held = 0
        self.value = Value.INACTIVE

    def request_lines(self, path: str, config: dict[int | str, Any], consumer: str) -> _Request:
        self.asked.append((path, config, consumer))
        if self.gone:
            raise FileNotFoundError(2, "No such file or directory")
        self.held += 1
        (line,) = config
        return _Request(self, line)


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp())

    def test_on_and_off(self) -> None:
        for text, active_low, on in (
            ("1\n", False, True),
            ("0\n", False, False),
            ("0", True, True),
            (" 1 ", True, False),
        ):
            self.file.write_text(text)
            self.assertIs(FileContact(self.file, active_low=active_low).read(), on)

    def test_neither(self) -> None:
        for text in ("", "2", "on", "01", "1" * 100, "\xff"):
            self.file.write_text(text)
            self.assertRaises(ValueError, FileContact(self.file, active_low=False).read)

    def test_unreadable(self) -> None:
        self.assertRaises(OSError, FileContact(self.file, active_low=False).read)
        self.file.mkdir()
        self.assertRaises(OSError, FileContact(self.file, active_low=False).read)

    def test_pipe_that_nobody_writes_to(self) -> None:
        os.mkfifo(self.file)
        self.assertRaises(ValueError, FileContact(self.file, active_low=False).read)


class GpioTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chips = _Chips()
        self.patch(gpiod, "request_lines", self.chips.request_lines)

    def contact(self, **options: Any) -> GpioContact:
        contact = contact_at(Input(**{"source": "gpio:/dev/gpiochip0:17", **options}))
        assert isinstance(contact, GpioContact)
        return contact

    def test_line(self) -> None:
        contact = self.contact(active_low=True, bias="pull up")
        self.assertEqual(self.chips.asked, [])
        self.assertIs(contact.read(), False)
        self.chips.value = Value.ACTIVE
        self.assertIs(contact.read(), True)
        ((path, config, consumer),) = self.chips.asked
        self.assertEqual((path, list(config), consumer), ("/dev/gpiochip0", [17], "cmm-gateway"))
        settings = config[17]
        self.assertEqual(settings.direction, gpiod.line.Direction.INPUT)
        self.assertEqual(settings.bias, gpiod.line.Bias.PULL_UP)
        self.assertIs(settings.active_low, True)

    def test_every_bias_is_one_of_the_library(self) -> None:
        for bias in ("as is", "pull up", "pull down", "disabled"):
            self.contact(bias=bias).read()
        given = [config[17].bias for _, config, _ in self.chips.asked]
        kinds = gpiod.line.Bias
        self.assertEqual(given, [kinds.AS_IS, kinds.PULL_UP, kinds.PULL_DOWN, kinds.DISABLED])

    def test_line_by_name(self) -> None:
        self.contact(source="gpio:/dev/gpiochip0:GPIO17").read()
        self.assertEqual(list(self.chips.asked[0][1]), ["GPIO17"])

    def test_chip_that_goes_and_comes(self) -> None:
        contact = self.contact()
        contact.read()
        self.chips.gone = True
        self.assertRaises(OSError, contact.read)
        self.assertEqual(self.chips.held, 0)
        self.assertRaises(OSError, contact.read)
        self.chips.gone = False
        self.assertIs(contact.read(), False)
        self.assertEqual(self.chips.held, 1)
        contact.close()
        contact.close()
        self.assertEqual(self.chips.held, 0)

    def test_real_library_without_a_chip(self) -> None:
        contact = GpioContact("/dev/no-such-chip", 17, active_low=False, bias="as is", gpiod=_Untouched())
        self.assertRaises(OSError, contact.read)


class _Untouched:
    """The library as it is."""

    line = gpiod.line
    LineSettings = gpiod.LineSettings
    request_lines = staticmethod(gpiod.request_lines)


class ConfigurationTests(SynchronousTestCase):
    def test_none(self) -> None:
        self.assertIsNone(contact_at(Input()))

    def test_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text("0")
        contact = contact_at(Input(source=f"file:{path}", active_low=True))
        assert contact is not None
        self.assertIs(contact.read(), True)
        contact.close()

    def test_what_names_none(self) -> None:
        for source in (
            "/sys/class/gpio/gpio17/value",
            "file:",
            "gpio:",
            "gpio:/dev/gpiochip0",
            "gpio:/dev/gpiochip0:",
            "x",
        ):
            error = self.assertRaises(InputError, contact_at, Input(source=source))
            self.assertIn("source: file:PATH or gpio:CHIP:LINE expected", str(error))
        error = self.assertRaises(InputError, contact_at, Input(source="file:/x", bias="pull up"))
        self.assertIn("bias: ", str(error))

    def test_without_the_library(self) -> None:
        with patch.dict(sys.modules, {"gpiod": None}):
            error = self.assertRaises(InputError, contact_at, Input(source="gpio:/dev/gpiochip0:17"))
        self.assertIn("pip install", str(error))


class InputsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def inputs(self, **texts: str | None) -> Inputs:
        """Inputs with these files; None: there is an input, but no file."""
        for name, text in texts.items():
            self.write(name, text)
        contacts = {name: FileContact(self.folder / name, active_low=False) for name in texts}
        return Inputs(contacts, Logger())

    def write(self, name: str, text: str | None) -> None:
        path = self.folder / name
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)

    def test_none_at_all(self) -> None:
        self.assertEqual(Inputs({}, Logger()).read(), InputStates(None, None, None, None))

    def test_each_in_its_place(self) -> None:
        inputs = self.inputs(door="1", fire="0", alarm="1", inhibit="0")
        self.assertEqual(inputs.read(), InputStates(access_alarm=1, fire_alarm=0, alarm_input=1, inhibit_remote=0))
        self.assertEqual(inputs.states, {"door": 1, "fire": 0, "alarm": 1, "inhibit": 0})

    def test_unknown_is_left_out(self) -> None:
        self.assertEqual(self.inputs(door=None, fire="1").read(), InputStates(None, 1, None, None))

    def test_inhibit_that_nobody_knows_inhibits(self) -> None:
        inputs = self.inputs(inhibit=None)
        with capturedLogs() as captured:
            self.assertEqual(inputs.read().inhibit_remote, 1)
        self.assertEqual(inputs.states, {"inhibit": None})
        self.assertIn("commands are refused", captured[0]["what"])

    def test_each_change_is_said_once(self) -> None:
        inputs = self.inputs(door="0")
        said = []
        for text in ("0", "0", None, None, "1", "x", "1", "0"):
            self.write("door", text)
            with capturedLogs() as captured:
                inputs.read()
            said.append([(event["log_level"], event["what"].partition(":")[0]) for event in captured])
        on, off, lost = (LogLevel.info, "is on"), (LogLevel.info, "is off"), (LogLevel.warn, "cannot be read")
        self.assertEqual(said, [[off], [], [lost], [], [on], [lost], [on], [off]])

    def test_close(self) -> None:
        closed = []

        class Held:
            def read(self) -> bool:
                return True

            def close(self) -> None:
                closed.append(self)

        inputs = Inputs({"door": Held(), "fire": Held()}, Logger())
        inputs.close()
        self.assertEqual(len(closed), 2)
