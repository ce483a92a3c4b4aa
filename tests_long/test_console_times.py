"""Bounds in seconds for the console, on an idle machine; ``tests_system`` runs the same tests without them."""

from tests_system import test_console_alarms, test_console_modules, test_console_people

ATTEMPTS = 3


class ManyTests(test_console_modules.ManyTests):
    """Thousands of devices. The bound on a task is twice what people see, for Chromium shares the processor."""

    first_rows_s = 2.0
    longest_task_ms = 400.0
    attempts = ATTEMPTS


class StopTests(test_console_people.StopTests):
    """Stop is sent at once."""

    at_once_s = 2.0


class AlarmPageTests(test_console_alarms.AlarmPageTests):
    """A device that gets worse is the first at once."""

    at_once_s = 3.0
