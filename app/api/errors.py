"""The one table from domain errors to HTTP statuses, and problem+json (RFC 9457) for every error, the framework's own
included."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.types import Receive, Scope, Send

from app.analyses import NoSuchAnalysis
from app.api.admission import request_id_of
from app.formats.documents import Problem
from app.live.sessions import NoSuchSession
from app.vad import errors as domain

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"
_REASON_BYTES = 120
"""Of a close frame, which has room for 123."""
CLIENT_GONE = 499
"""nginx's status for a client that left before its answer: only logs and metrics have it."""


class UploadTooLarge(domain.VadError):
    code = "upload_too_large"


class BodyTimeout(domain.VadError):
    code = "body_timeout"


class BadRequest(domain.VadError):
    code = "bad_request"


class Unauthorized(domain.VadError):
    code = "unauthorized"


class ForeignOrigin(domain.VadError):
    code = "foreign_origin"


class UpgradeRequired(domain.VadError):
    code = "upgrade_required"


class UnknownHost(domain.VadError):
    code = "unknown_host"


class TooManyRequests(domain.VadError):
    code = "too_many_requests"


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of error over HTTP."""

    status: int
    title: str


TABLE: Mapping[type[domain.VadError], Kind] = {
    domain.NoAudio: Kind(400, "No audio"),
    BadRequest: Kind(400, "Bad request"),
    Unauthorized: Kind(401, "Key missing or wrong"),
    ForeignOrigin: Kind(403, "Foreign origin"),
    NoSuchSession: Kind(404, "No such session"),
    NoSuchAnalysis: Kind(404, "No such analysis"),
    BodyTimeout: Kind(408, "Upload too slow"),
    UploadTooLarge: Kind(413, "Upload too large"),
    UnknownHost: Kind(421, "Unknown host"),
    UpgradeRequired: Kind(426, "Upgrade required"),
    domain.NothingAcceptable: Kind(406, "Not acceptable"),
    domain.UnsupportedAudio: Kind(415, "Unsupported audio"),
    domain.InvalidAudio: Kind(422, "Invalid audio"),
    domain.AudioTooLong: Kind(422, "Audio too long"),
    domain.InvalidOption: Kind(422, "Invalid option"),
    TooManyRequests: Kind(429, "Too many requests"),
    domain.Overloaded: Kind(503, "Overloaded"),
    domain.NotReady: Kind(503, "Not ready"),
    domain.DeadlineExceeded: Kind(504, "Deadline exceeded"),
}
"""Their codes stand in the classes."""
_INTERNAL = Kind(500, "Internal error")
_INTERNAL_DETAIL = "The service made an error. The log has the details under this request id."
_HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: UploadTooLarge.code,
    422: domain.InvalidOption.code,
}
"""Of the framework's own errors, where the phrase of the status is not the code."""


def kind_of(error: BaseException) -> Kind | None:
    """The table's entry for an error; None for an internal one, which it does not name."""
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), None)


def problem(kind: Kind, code: str, detail: str, request_id: str, **members: Any) -> dict[str, Any]:
    """The RFC 9457 document."""
    return Problem.model_construct(
        type="about:blank",
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=code,
        request_id=request_id,
        **members,
    ).dump()


def problem_of(error: BaseException, request_id: str) -> dict[str, Any]:
    """The document for any error. One that the table does not name is logged with its traceback, and has
    a fixed text."""
    kind = kind_of(error)
    if kind is None or not isinstance(error, domain.VadError):
        log.error("unexpected error", request_id=request_id, exc_info=error)
        return problem(_INTERNAL, domain.VadError.code, _INTERNAL_DETAIL, request_id)
    members = {"option": error.option} if isinstance(error, domain.InvalidOption) else {}
    return problem(kind, error.code, str(error), request_id, **members)


def problem_response(document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The answer that carries a problem document."""
    status = int(document["status"])
    all_headers = dict(headers or {})
    if status == 503:
        # Spread over some seconds, so that the refused do not all come back at once.
        all_headers.setdefault("Retry-After", str(random.randint(1, 5)))  # noqa: S311
    if status == 426:
        # RFC 9110, 15.5.22 and 7.8: the answer names what to speak, and that the name is for the next hop alone.
        all_headers |= {"Upgrade": "websocket", "Connection": "Upgrade"}
    if status == 429:
        all_headers.setdefault("Retry-After", "1")
    if status == 500:
        all_headers["Connection"] = "close"  # the server closes it after an exception; say so
    if status == 401:
        all_headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(dict(document), status, headers=all_headers, media_type=PROBLEM_JSON)


def close_reason(error: domain.VadError) -> str:
    """What is wrong, cut to the room of a close frame: it is all that some clients show."""
    return f"{error.code}: {error}".encode()[:_REASON_BYTES].decode(errors="ignore")


async def refuse(error: domain.VadError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a WebSocket's handshake, with an error."""
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": WS_1008_POLICY_VIOLATION, "reason": close_reason(error)})
            return
    await problem_response(problem_of(error, request_id_of(scope)))(scope, receive, send)


def install(app: FastAPI) -> None:
    """Make every error that a route may raise a problem document. The middleware answers unforeseen ones."""
    app.add_exception_handler(domain.VadError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_client_gone)


async def _on_error(request: Request, error: Exception) -> Response:
    return problem_response(problem_of(error, request_id_of(request.scope)))


async def _on_client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # for the log and the metrics: the client is gone


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    code = _HTTP_CODES.get(error.status_code, phrase.lower().replace(" ", "_"))
    document = problem(Kind(error.status_code, phrase), code, str(error.detail), request_id_of(request.scope))
    return problem_response(document, error.headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else "request"
    return await _on_error(request, domain.InvalidOption(name, str(first["msg"])))
