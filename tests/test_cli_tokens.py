"""cmmctl token, without a daemon."""

import io
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.cli.main import command_line
from cmmd.cli.output import Output
from cmmd.cli.session import CliContext
from cmmd.fleet.service.tokens import Tokens
from tests.cli_world import Called


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()

    def call(self, *arguments: str, where: tuple[str, ...] | None = None) -> Called:
        out, err = io.StringIO(), io.StringIO()
        around = CliContext(Output(out, err), io.StringIO(), lambda _: self.fail("no daemon is asked"))
        status = command_line([*(where or ("--state", str(self.state))), *arguments], around)
        return Called(status, out.getvalue(), err.getvalue())

    def test_add_list_revoke(self) -> None:
        made = self.call("token", "add", "yard", "--role", "operator")
        self.assertEqual(made.status, 0)
        self.assertIn("yard is operator", made.err)
        found = Tokens(self.state).find(made.out.strip())
        assert found is not None
        self.assertEqual((found.name, found.role), ("yard", "operator"))
        listed = self.call("token", "list")
        self.assertIn("operator", listed.out)
        self.assertNotIn(made.out.strip(), listed.out)
        self.assertEqual(self.call("token", "revoke", "yard").out, "yard is revoked\n")
        self.assertEqual(Tokens(self.state).read(), [])

    def test_json(self) -> None:
        made = self.call("--json", "token", "add", "me").json
        self.assertEqual((made["name"], made["role"]), ("me", "viewer"))
        self.assertIsNotNone(Tokens(self.state).find(made["token"]))
        (row,) = self.call("token", "list", "--json").json
        self.assertEqual((row["name"], row["role"], set(row)), ("me", "viewer", {"name", "role", "created_at"}))
        self.assertEqual(self.call("token", "revoke", "me", "--json").json, {"revoked": "me"})

    def test_wrong(self) -> None:
        for arguments, status, code in (
            (("add", "a b"), 1, "bad_argument"),
            (("revoke", "nobody"), 1, "bad_argument"),
            (("add", "me", "--role", "king"), 2, "usage"),
            (("add",), 2, "usage"),
        ):
            called = self.call("--json", "token", *arguments)
            self.assertEqual((called.status, called.error["error"]), (status, code), arguments)
        called = self.call("--json", "token", "list", where=("--connect", "unix:/nowhere"))
        self.assertEqual((called.status, called.error["error"]), (2, "usage"))
        called = self.call("--json", "token", "add", "me", where=("--state", "/nowhere"))
        self.assertEqual((called.status, called.error["error"]), (1, "no_tokens"))
