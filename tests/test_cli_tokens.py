"""cmmctl token, without a daemon."""

import io
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.cli.main import command_line
from cmmd.cli.output import Output
from cmmd.cli.session import CliContext
from cmmd.cli.tokens import TokenRow
from cmmd.fleet.service.sign_in_links import SignInLinks
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
        self.assertEqual((row["name"], row["role"], set(row)), ("me", "viewer", set(TokenRow.__struct_fields__)))
        self.assertEqual((row["expires_at"], row["last_used_at"], row["networks"], row["scopes"]), (None, None, [], []))
        limits = ("--days", "1", "--network", "192.0.2.7/24", "--scope", "metrics")
        self.call("token", "add", "prometheus", *limits)
        row = self.call("token", "list", "--json").json[1]
        self.assertEqual(round((row["expires_at"] - row["created_at"]) / 86_400_000), 1)
        self.assertEqual((row["networks"], row["scopes"]), (["192.0.2.0/24"], ["metrics"]))
        self.call("token", "revoke", "prometheus")
        self.assertEqual(self.call("token", "revoke", "me", "--json").json, {"revoked": "me"})

    def test_link(self) -> None:
        made = self.call("token", "link", "--url", "https://gensets.example")
        base, _, secret = made.out.strip().partition("/#link=")
        self.assertEqual(base, "https://gensets.example")
        self.assertNotIn(secret, (self.state / "links.json").read_text())
        token = SignInLinks(self.state).use(secret, int(time.time() * 1000))
        assert token is not None
        self.assertEqual((token.role, token.scopes), ("admin", ("console",)))
        self.assertIsNone(SignInLinks(self.state).use(secret, int(time.time() * 1000)))

    def test_wrong(self) -> None:
        for arguments, status, code in (
            (("add", "a b"), 1, "bad_argument"),
            (("revoke", "nobody"), 1, "bad_argument"),
            (("add", "me", "--network", "nowhere"), 1, "bad_argument"),
            (("add", "me", "--role", "king"), 2, "usage"),
            (("add",), 2, "usage"),
        ):
            called = self.call("--json", "token", *arguments)
            self.assertEqual((called.status, called.error["error"]), (status, code), arguments)
        called = self.call("--json", "token", "list", where=("--connect", "unix:/nowhere"))
        self.assertEqual((called.status, called.error["error"]), (2, "usage"))
        called = self.call("--json", "token", "add", "me", where=("--state", "/nowhere"))
        self.assertEqual((called.status, called.error["error"]), (1, "no_tokens"))
