"""Commands on the tokens of HTTP: token add, link, list, revoke. They edit the state directory themselves."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import click
from msgspec import Struct
from rich.text import Text
from twisted.internet.defer import Deferred

from cmmd.cli.exit_status import Ends, ExitStatus
from cmmd.cli.formatting import Columns, moment_text, plain
from cmmd.cli.options import command
from cmmd.cli.session import CliSession
from cmmd.fleet.roles import ROLES, Role
from cmmd.fleet.service.sign_in_links import SignInLinks, link_of
from cmmd.fleet.service.tokens import SCOPES, BadTokenName, NoSuchToken, Scope, Tokens, TokensUnusable, read_uses

__all__ = ["TokenMade", "TokenRow", "add_to"]


class TokenMade(Struct, frozen=True, kw_only=True):
    """A token, the only time that it is shown."""

    name: str
    role: Role
    token: str


class TokenRow(Struct, frozen=True, kw_only=True):
    """A token in a list, without itself."""

    name: str
    role: Role
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    networks: tuple[str, ...]
    scopes: tuple[Scope, ...]


class LinkMade(Struct, frozen=True, kw_only=True):
    """A link that signs in once, the only time that it is shown."""

    link: str
    role: Role


_TOKENS: Columns = (
    ("name", lambda one: one.name),
    ("role", lambda one: one.role),
    ("made", lambda one: moment_text(one.created_at)),
    ("expires", lambda one: "never" if one.expires_at is None else moment_text(one.expires_at)),
    ("last used", lambda one: "" if one.last_used_at is None else moment_text(one.last_used_at)),
    ("from", lambda one: ", ".join(one.networks)),
    ("for", lambda one: ", ".join(one.scopes)),
)


def add_to(group: click.Group) -> None:
    """Give them to the command line."""

    @group.group("token", no_args_is_help=False)
    def token() -> None:
        """Manage the tokens for HTTP."""

    @command("add", group=token)
    @click.argument("name")
    @click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What it is good for.")
    @click.option("--days", type=click.FloatRange(min=0.001, max=36500), help="It expires after so many days.")
    @click.option("--network", "networks", multiple=True, help="It counts from there only; may come several times.")
    @click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="It counts for this only; same.")
    def add(
        session: CliSession,
        name: str,
        role: Role,
        days: float | None,
        networks: tuple[str, ...],
        scopes: tuple[Scope, ...],
    ) -> int:
        """Make a token, and show it this once."""

        def work(tokens: Tokens) -> int:
            expires_at = None if days is None else int((time.time() + days * 86_400) * 1000)
            token = tokens.add(name, role, expires_at=expires_at, networks=networks, scopes=scopes)
            made = TokenMade(name=name, role=role, token=token)
            session.output.show(made, lambda: Text(made.token))
            state = tokens.folder
            if (state / "cmmd.lock").exists():
                then = f"the cmmd of {plain(str(state))} takes the token from now on"
            else:
                then = f"but no cmmd has ever run in {plain(str(state))}: is it the right --state?"
            session.output.note(f"{name} is {role}; {then}; it cannot be shown again")
            return ExitStatus.DONE

        return _edit(session, work)

    @command("list", group=token)
    def list_(session: CliSession) -> int:
        """All tokens, without themselves."""

        def work(tokens: Tokens) -> int:
            uses = read_uses(tokens.folder)
            rows = [
                TokenRow(
                    name=one.name,
                    role=one.role,
                    created_at=one.created_at,
                    expires_at=one.expires_at,
                    last_used_at=uses.get(one.name),
                    networks=one.networks,
                    scopes=one.scopes,
                )
                for one in tokens.read()
            ]
            Deferred.fromCoroutine(session.output.records(_each(rows), _TOKENS)).addErrback(
                lambda failure: failure.raiseException()
            )
            return ExitStatus.DONE

        return _edit(session, work)

    @command("link", group=token)
    @click.option("--role", type=click.Choice(ROLES), default="admin", show_default=True, help="Who signs in by it.")
    @click.option("--url", default="http://127.0.0.1:21380/", show_default=True, help="Where the console is.")
    def link(session: CliSession, role: Role, url: str) -> int:
        """Make a link that signs a browser in, once, within 24 hours, and show it this once."""

        def work(tokens: Tokens) -> int:
            made = link_of(url, SignInLinks(tokens.folder).make(role, int(time.time() * 1000)))
            session.output.show(LinkMade(link=made, role=role), lambda: Text(made))
            return ExitStatus.DONE

        return _edit(session, work)

    @command("revoke", group=token)
    @click.argument("name")
    def revoke(session: CliSession, name: str) -> int:
        """Let a token count no more; sessions that were begun with it end."""

        def work(tokens: Tokens) -> int:
            tokens.revoke(name)
            session.output.show({"revoked": name}, lambda: Text(plain(f"{name} is revoked")))
            return ExitStatus.DONE

        return _edit(session, work)


async def _each(rows: list[TokenRow]) -> AsyncIterator[TokenRow]:
    for row in rows:
        yield row


def _edit(session: CliSession, work: Callable[[Tokens], int]) -> int:
    """Do something with the file of a state directory."""
    place = session.where.place
    if not isinstance(place, Path):
        raise click.UsageError("tokens are in the state directory: --state, not --connect")
    try:
        return work(Tokens(place))
    except (BadTokenName, NoSuchToken) as error:
        end = Ends(ExitStatus.FAILED, "bad_argument", str(error))
    except TokensUnusable as error:
        end = Ends(ExitStatus.FAILED, "no_tokens", str(error))
    session.output.failed(end)
    return end.status
