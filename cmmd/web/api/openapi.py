"""The OpenAPI 3.1 document, made of the table and of the types in it."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import FieldInfo, fields

from cmmd import __version__
from cmmd.web.api.operation import JSON_TYPE, Operation
from cmmd.web.api.reading import PATHS, query_kinds
from cmmd.web.api.table import OPERATIONS, PREFIX, errors_of
from cmmd.web.http.access import CSRF
from cmmd.web.http.browser_sessions import COOKIE
from cmmd.web.http.problems import HEADERS, MEANS, MEDIA_TYPE, STATUS, Problem

__all__ = ["document"]

_REFERENCE = "#/components/schemas/{name}"

_ABOUT = """\
What cmmd knows of its gensets, and what it can have them do. Times are milliseconds since 1970, UTC. What is not known
is null. Errors are application/problem+json (RFC 9457); `code` is for programs and stays as it is.

Without any token the API answers on localhost only, and nothing can be changed."""

_TEXT = {"type": "string"}
_NUMBERS = ("Retry-After",)
"""Headers that are one."""

_NOT_RECORDED = {"type": "object", "properties": {"recorded": {"const": False}}, "required": ["recorded"]}
"""In each other answer to a change, too, where the store does not take it."""

_CSRF = "With a session's cookie: what `GET /session` tells as `csrf`. With a bearer token it is not looked at."

_CODES = {
    304: "It is still what If-None-Match names.",
    200: "Done.",
    201: "Made.",
    202: "Accepted.",
    204: "Done.",
}


@cache
def document() -> Mapping[str, Any]:
    """Make the document, once a process: it says the same of every daemon of this version."""
    kinds = [Problem]
    for operation in OPERATIONS:
        kinds += [kind for kind in (*operation.answers.values(), operation.body) if kind is not None]
        kinds += query_kinds(operation.query).values()
    kinds += PATHS.values()
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    by_kind = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cmmd",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"session": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": {name: _said(schema) for name, schema in components.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `cmmctl token add`."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "Of `POST /api/v1/session`. Its name continues with `_` and the instance, and begins"
                    f" with `__Host-` over TLS. What writes needs the header {CSRF}, too.",
                },
            },
        },
    }


def _said(schema: Any) -> Any:
    """With descriptions whose lines are not indented as they are in the source, and tuples of one kind as plain arrays.

    Several readers of OpenAPI documents refuse `prefixItems` inside an array.
    """
    if isinstance(schema, dict):
        said = {name: _said(value) for name, value in schema.items()}
        first, *others = said.get("prefixItems", [None])
        if said.get("items") is False and all(other == first for other in others):
            said["items"] = first
            del said["prefixItems"]
        if isinstance(said.get("description"), str):
            said["description"] = "\n".join(line.strip() for line in said["description"].splitlines())
        return said
    return [_said(one) for one in schema] if isinstance(schema, list) else schema


def _operation(operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": "Anybody may." if operation.role is None else f"Needs the role {operation.role}.",
        "parameters": _parameters(operation, schemas),
        "responses": _responses(operation, schemas),
    }
    if operation.role is None:
        described["security"] = []
    if operation.body is not None:
        schema = schemas[repr(operation.body)]
        described["requestBody"] = {"required": True, "content": {one: {"schema": schema} for one in operation.takes}}
    return described


def _parameters(operation: Operation, schemas: Mapping[str, Any]) -> list[dict[str, Any]]:
    parameters = [
        {"name": name[1:-1], "in": "path", "required": True, "schema": schemas[repr(PATHS[name[1:-1]])]}
        for name in operation.path.split("/")
        if name.startswith("{")
    ]
    kinds = query_kinds(operation.query)
    parameters += [_query_parameter(field, schemas[repr(kinds[field.name])]) for field in fields(operation.query)]
    headers = dict(operation.headers)
    if operation.etag:
        headers["If-None-Match"] = "The ETag of an answer: where it is still the same, 304 comes instead."
    if "bad_csrf_token" in operation.errors:
        headers[CSRF] = _CSRF
    parameters += [
        {"name": name, "in": "header", "description": means, "schema": _TEXT} for name, means in headers.items()
    ]
    return parameters


def _query_parameter(field: FieldInfo, schema: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in schema.items() if name != "description"}
    if field.default is not msgspec.NODEFAULT and field.default is not None:
        plain["default"] = field.default
    parameter: dict[str, Any] = {"name": field.name, "in": "query", "schema": plain}
    if field.required:
        parameter["required"] = True
    if "description" in schema:
        parameter["description"] = schema["description"]
    if plain.get("type") == "array":
        parameter |= {"style": "form", "explode": False}
    return parameter


def _responses(operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    etag = {"ETag": "Of this very answer, for If-None-Match."} if operation.etag else {}
    for status, kind in operation.answers.items():
        answer: dict[str, Any] = {"description": _CODES[status]}
        if kind is not None:
            answer["content"] = {JSON_TYPE: {"schema": schemas[repr(kind)]}}
            for media_type in operation.media_types[1:]:
                answer["content"][media_type] = {"schema": {"type": "string"}}
        responses[str(status)] = answer | _headers({**operation.answer_headers, **etag})
    if operation.changes:
        responses["202"] = {
            "description": "Not durable, since the store does not answer. It may be done, and is told so later.",
            "content": {JSON_TYPE: {"schema": _NOT_RECORDED}},
        }
    if operation.etag:
        responses["304"] = {"description": _CODES[304], **_headers(etag)}
    for status, codes in _by_status(errors_of(operation)).items():
        responses[str(status)] = {
            "description": "\n".join(f"- `{code}`: {MEANS[code]}" for code in codes),
            "content": {MEDIA_TYPE: {"schema": schemas[repr(Problem)]}},
            **_headers(HEADERS.get(status, {})),
        }
    return responses


def _headers(meanings: Mapping[str, str]) -> dict[str, Any]:
    """The headers of an answer, as a part of it; nothing, where there are none."""
    headers = {
        name: {"description": means, "schema": {"type": "integer"} if name in _NUMBERS else _TEXT}
        for name, means in meanings.items()
    }
    return {"headers": headers} if headers else {}


def _by_status(codes: Sequence[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for code in codes:
        found.setdefault(STATUS[code], []).append(code)
    return dict(sorted(found.items()))
