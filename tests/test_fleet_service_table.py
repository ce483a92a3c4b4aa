"""``cmmd.fleet.service.table``: both doors have the operations of ControlService, and no others."""

import inspect
from typing import get_args

from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control import commands
from cmmd.control.responder import Responder
from cmmd.fleet.commands import requests
from cmmd.fleet.service.operations import ControlService
from cmmd.fleet.service.table import AMP_ONLY, HTTP_ONLY, OPERATIONS
from cmmd.web.api import table
from cmmd.web.api.commands import CommandBody

HELPERS = {"is_stop", "seek_alarms"}
"""Methods of ControlService that serve an operation and are none."""


def amp_commands() -> dict[str, type[amp.Command]]:
    found = vars(commands).items()
    public = {name: one for name, one in found if isinstance(one, type) and issubclass(one, amp.Command)}
    return {name: one for name, one in public.items() if not name.startswith("_")}


class TableTests(SynchronousTestCase):
    def test_every_method_of_the_service(self) -> None:
        public = {
            name for name, _ in inspect.getmembers(ControlService, inspect.isfunction) if not name.startswith("_")
        }
        self.assertEqual(public - HELPERS, set(OPERATIONS))

    def test_amp(self) -> None:
        named = [name for doors in OPERATIONS.values() for name in doors.amp]
        self.assertEqual(sorted([*named, *AMP_ONLY]), sorted(amp_commands()))
        responder = object.__new__(Responder)
        answered = [name for name, one in amp_commands().items() if responder.locateResponder(one.commandName)]
        self.assertEqual(set(answered), {*named, *AMP_ONLY} - {"Event"}, "answered by the daemon")

    def test_http(self) -> None:
        named = [name for doors in OPERATIONS.values() for name in doors.http]
        self.assertEqual(sorted([*named, *HTTP_ONLY]), sorted(one.name for one in table.OPERATIONS))

    def test_what_goes_to_a_device_is_the_same_at_both_doors(self) -> None:
        """A request has the same values, but that only HTTP says until when it may be sent."""
        kinds = {one.__name__: one for one in get_args(requests.Request)}
        http = {one.__name__: one for one in get_args(CommandBody)}
        self.assertEqual(set(kinds), set(http))
        for name, kind in kinds.items():
            self.assertTrue(issubclass(http[name], kind))
            self.assertEqual(set(http[name].__struct_fields__) - set(kind.__struct_fields__), {"not_after"}, name)
        renamed = {"frames": "result", "port": "modulePort", "baud": "moduleBaud"}
        for name, command in zip(kinds, OPERATIONS["submit"].amp, strict=True):
            said = {key.decode() for key, _ in amp_commands()[command].arguments}
            wanted = {renamed.get(field, field) for field in kinds[name].__struct_fields__}
            self.assertEqual(said - {"hostid", "requester", "datatype"}, wanted, command)
