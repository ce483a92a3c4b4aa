"""Operations on sessions: a browser signs in with a token, asks who it is, and signs out."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from cmmd.fleet.roles import Role
from cmmd.web.api.context import ApiContext
from cmmd.web.api.operation import Answer, Body, Call, NoQuery
from cmmd.web.http.access import Caller, WrongToken, address_of
from cmmd.web.http.browser_sessions import COOKIE, LONGEST_S
from cmmd.web.http.problems import Unauthorized, WrongField

__all__ = ["SessionNow", "SignInBody", "get_session", "sign_in", "sign_out"]


Secret = Annotated[str, Meta(min_length=1, max_length=200)]

CLEARED = '"cache"'
"""What a browser forgets of this page at the end of a session. Not ``"cookies"``: those of other daemons of this host
would go, too. What is stored is the language and the colours.
"""


class SignInBody(Body, frozen=True, kw_only=True):
    """A token, or the secret of a link (``cmmctl token link``) that signs in once; one of the two."""

    token: Secret | None = None
    link: Secret | None = None


class SessionNow(Struct, frozen=True, kw_only=True):
    """The caller of this request.

    :ivar name: of the token; ``localhost`` where there are none at all; null: there is no sign-in; the same for role.
    :ivar csrf: to be sent as ``X-CSRF-Token`` with whatever writes; null: there is no session, and none is needed.
    """

    name: str | None
    role: Role | None
    csrf: str | None


async def sign_in(around: ApiContext, call: Call[NoQuery, SignInBody]) -> Answer:
    """Begin a session. A wrong token is answered late, as everywhere."""
    access = around.access
    address = address_of(call.request)
    if (call.body.token is None) == (call.body.link is None):
        raise WrongField("body.token", "a token or a link is needed, one of the two")
    if call.body.token is not None:
        token = access.of_token(call.body.token, address, "console")
    else:
        made = around.links.use(call.body.link or "", int(around.now() * 1000))
        if made is None:
            raise WrongToken("this link was used already, or is too old: cmmctl token link makes another one")
        token = made
    before = call.request.received_cookies.get(COOKIE.encode())
    if before is not None:
        access.sign_ins.end(before.decode("ascii", "replace"))
    way = "a token" if call.body.token is not None else "a link"
    around.desk.security.record(
        "signed_in", who=f"token {token.name}", address=address, detail=f"{token.role}, by {way}"
    )
    cookie, session = access.sign_ins.begin(token.name, token.sha256)
    now = SessionNow(name=token.name, role=token.role, csrf=session.csrf)
    return Answer(body=now, status=201, headers={"Set-Cookie": _cookie(cookie, int(LONGEST_S), call.request)})


def get_session(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Describe the caller, and the token for writes. A page asks before a sign-in, which is no error."""
    try:
        caller: Caller = around.access.caller(call.request)
    except WrongToken:
        raise
    except Unauthorized:
        return Answer(body=SessionNow(name=None, role=None, csrf=None))
    csrf = None if caller.session is None else caller.session.csrf
    return Answer(body=SessionNow(name=caller.name, role=caller.role, csrf=csrf))


def sign_out(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """End the session, if there is one."""
    shown = call.request.received_cookies.get(COOKIE.encode())
    if shown is not None and call.caller.session is not None:
        around.access.sign_ins.end(shown.decode("ascii", "replace"))
        who = f"token {call.caller.name}"
        around.desk.security.record("signed_out", who=who, address=address_of(call.request))
    headers = {"Set-Cookie": _cookie("", 0, call.request), "Clear-Site-Data": CLEARED}
    return Answer(status=204, headers=headers)


def _cookie(value: str, seconds: int, request: Any) -> str:
    # Behind a proxy that ends TLS it is the page's own address that says so.
    secure = request.isSecure() or (request.getHeader("origin") or "").startswith("https://")
    flags = "; Secure" if secure else ""
    name = request.channel.site.cookies.name(secure=secure)
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{flags}"
