"""The API as a resource: which operation, who may, what it says, what is answered."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.errors import Coded, NotAllowed
from cmmd.fleet.history.told import when_recorded
from cmmd.fleet.service.security import SecurityLog
from cmmd.web.api.context import with_field
from cmmd.web.api.operation import JSON_TYPE, NOT_RECORDED, Answer, Call, Encoded, Operation, Streamed, unrecorded
from cmmd.web.api.reading import chosen, path_value, query_kinds, read_body, read_query
from cmmd.web.http.access import ANONYMOUS, Access, Caller, WrongToken, address_of
from cmmd.web.http.problems import Forbidden, Refused, WrongField, problem_of, refuse
from cmmd.web.http.streaming_body import Gone, StreamingBody
from cmmd.wire.quoting import quoted

__all__ = ["ApiResource"]

log = Logger()


class _Route(Struct, frozen=True):
    operation: Operation
    segments: tuple[str, ...]
    kinds: Mapping[str, Any]


class ApiResource(Resource):
    """Answers by the table.

    :param operations: the table. :param around: what operations work with, their first argument.
    :param access: says who asks. :param clock: for readers that stall.
    """

    isLeaf = True

    def __init__(self, operations: Sequence[Operation], around: Any, access: Access, clock: IReactorTime) -> None:
        super().__init__()
        self._context = around
        self._security: SecurityLog = around.desk.security
        self._access = access
        self._clock = clock
        self._log_limit = LogLimit(clock)
        self._routes: dict[int, list[_Route]] = {}
        for one in operations:
            segments = tuple(one.path.strip("/").split("/"))
            self._routes.setdefault(len(segments), []).append(_Route(one, segments, query_kinds(one.query)))

    def render(self, request: Any) -> int:
        """Answer a request, now or later."""
        answering = Deferred.fromCoroutine(self._answer(request))
        answering.addErrback(lambda failure: log.failure("web: while answering", failure=failure))
        return NOT_DONE_YET

    async def _answer(self, request: Any) -> None:
        ended: list[bool] = []
        request.notifyFinish().addBoth(lambda _: ended.append(True))
        try:
            answer = await self._asked(request)
        except WrongToken as error:
            self._log(request, error)
            self._security.record("wrong_token", address=address_of(request), detail=str(error))
            await self._access.refuse_late(request, error)
        except Exception as error:
            if isinstance(error, NotAllowed | Forbidden):
                self._log(request, error)
            if isinstance(error, Forbidden):
                self._security.record("forbidden", address=address_of(request), detail=_what(request, error))
            if not ended:
                refuse(request, error)
        else:
            if ended or answer is None:
                return
            if isinstance(answer, Streamed):
                await self._pour(request, answer)
            else:
                self._give(request, *answer)

    def _log(self, request: Any, error: Coded) -> None:
        """Log a request that is not allowed, or not possible now."""
        address = address_of(request)
        more = self._log_limit.allows(address)
        if more is not None:
            what = quoted(request.method + b" " + request.path)
            log.warn("web: {address}: {what}: {why}{more}", address=address, what=what, why=str(error), more=more)

    # --- which operation ---------------------------------------------------------------------------------------------

    async def _asked(self, request: Any) -> Streamed | tuple[Operation, Answer] | None:
        if not (request.method == b"POST" and request.postpath == [b"session"]):  # a link is good before any token is
            self._access.check_open(request)
        fitting = self._at(request.postpath)
        method = request.method.decode("ascii", "replace")
        methods = {one.operation.method for one, _ in fitting} | {"OPTIONS"}
        allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
        if not fitting:
            raise Refused("not_found", "there is nothing at this address")
        if method == "OPTIONS":
            self._access.check_origin(request)
            return fitting[0][0].operation, Answer(status=204, headers={"Allow": allowed})
        wanted = "GET" if method == "HEAD" else method
        found = next(((route, path) for route, path in fitting if route.operation.method == wanted), None)
        if found is None:
            raise Refused("method_not_allowed", f"this address knows {allowed}", Allow=allowed)
        route, path = found
        return await self._run(request, route, path)

    def _at(self, segments: list[bytes]) -> list[tuple[_Route, dict[str, bytes]]]:
        """The operations at an address, of all methods, and the values in the places of their paths."""
        fitting = []
        for route in self._routes.get(len(segments), ()):
            path: dict[str, bytes] = {}
            for wanted, there in zip(route.segments, segments, strict=True):
                if wanted.startswith("{"):
                    path[wanted[1:-1]] = there
                elif wanted.encode() != there:
                    break
            else:
                fitting.append((route, path))
        literal = [one for one in fitting if not one[1]]
        return literal or fitting

    async def _run(self, request: Any, route: _Route, path: Mapping[str, bytes]) -> Streamed | tuple[Operation, Answer]:
        operation = route.operation
        caller = self._caller(request, operation)
        if operation.body is None:
            _check_empty(request)
        accept = chosen(request.getHeader("accept"), operation.media_types)
        call = Call(
            caller=caller,
            path={name: path_value(name, text) for name, text in path.items()},
            query=read_query(request.uri.partition(b"?")[2], operation.query, route.kinds),
            body=None if operation.body is None else read_body(request, operation.body, operation.takes),
            accept=accept,
            request=request,
        )
        try:
            if operation.changes:
                answer: Answer | Streamed = await self._changed(operation, call)
            else:
                answer = await _run(operation, self._context, call)
        except Exception as error:
            told = with_field(error, operation)
            if told is error:
                raise
            raise told from error
        if operation.role == "admin" and operation.method != "GET":
            who, address = f"token {caller.name}", address_of(request)
            self._security.record(operation.name, who=who, address=address, device=str(call.path.get("hostid", "")))
        return answer if isinstance(answer, Streamed) else (operation, answer)

    async def _changed(self, operation: Operation, call: Call[Any, Any]) -> Answer:
        """Carry a change out, and answer when it is durable, or has waited for that long enough."""
        changing = Deferred.fromCoroutine(_run(operation, self._context, call))
        told = await when_recorded(changing, self._context.desk.fleet.journal, self._clock)
        if told.result is None:
            return Answer(body=NOT_RECORDED, status=202)
        assert isinstance(told.result, Answer), "a change is no stream"
        return told.result if told.recorded else unrecorded(told.result)

    def _caller(self, request: Any, operation: Operation) -> Caller:
        if operation.role is None:
            self._access.check_origin(request)
            return ANONYMOUS
        caller = self._access.caller(request)
        self._access.check_role(caller, operation.role)
        request.channel.known_as(caller.name, admin=caller.role == "admin")
        return caller

    # --- what is answered --------------------------------------------------------------------------------------------

    def _give(self, request: Any, operation: Operation, answer: Answer) -> None:
        request.setResponseCode(answer.status)
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        if answer.body is None:
            if answer.status != 204:
                request.setHeader("Content-Length", "0")
            request.finish()
            return
        kept = answer.body if isinstance(answer.body, Encoded) else None
        if kept is None and operation.etag:
            kept = Encoded.of(answer.body)
        body = msgspec.json.encode(answer.body) if kept is None else kept.text
        if kept is not None and operation.etag:
            etag = kept.etag
            request.setHeader("ETag", etag)
            if _has(request.getHeader("if-none-match"), etag):
                request.setResponseCode(304)
                request.finish()
                return
        request.setHeader("Content-Type", JSON_TYPE)
        request.setHeader("Content-Length", str(len(body)))
        request.write(body)
        request.finish()

    async def _pour(self, request: Any, answer: Streamed) -> None:
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        request.setHeader("Content-Type", answer.media_type)
        if request.method == b"HEAD":
            request.finish()
            return
        outlet = StreamingBody(request, self._clock)
        try:
            await answer.pour(outlet)
        except Gone:
            pass
        except Exception as error:
            problem, _ = problem_of(error)  # logs what is our bug
            log.warn("web: an answer breaks off: {why}", why=problem.detail)
            outlet.break_off()
        else:
            outlet.finish()


async def _run(operation: Operation, around: Any, call: Call[Any, Any]) -> Answer | Streamed:
    answer = operation.run(around, call)
    return await answer if inspect.isawaitable(answer) else answer


def _what(request: Any, error: Exception) -> str:
    return f"{quoted(request.method + b' ' + request.path)}: {error}"


def _check_empty(request: Any) -> None:
    """Refuse a body where none is expected, since it would be ignored."""
    if request.method not in (b"GET", b"HEAD") and request.content.read(1):
        raise WrongField("body", "this takes no body")


def _has(header: str | None, etag: str) -> bool:
    """Tell whether If-None-Match names an ETag."""
    if header is None:
        return False
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in header.split(","))
