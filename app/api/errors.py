"""The one table from domain errors to HTTP, and problem+json (RFC 9457) for every error, the framework's own
included."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from app.analyses import NoSuchAnalysis
from app.api.request_id import request_id_of
from app.live.hub import NoSuchSession
from app.vad import errors as domain

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"


class UploadTooLarge(domain.VadError):
    """The body is larger than the limit."""


class BodyTimeout(domain.VadError):
    """The client sends its body too slowly."""


class BadRequest(domain.VadError):
    """The body is not what its headers say."""


class Unauthorized(domain.VadError):
    """The key is missing or wrong."""


class TooManyRequests(domain.VadError):
    """This client asks too often."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one class of error is over HTTP."""

    status: int
    code: str
    title: str


TABLE: Mapping[type[Exception], Kind] = {
    domain.NoAudio: Kind(400, "no_audio", "No audio"),
    BadRequest: Kind(400, "bad_request", "Bad request"),
    Unauthorized: Kind(401, "unauthorized", "Key missing or wrong"),
    NoSuchSession: Kind(404, "no_such_session", "No such session"),
    NoSuchAnalysis: Kind(404, "no_such_analysis", "No such analysis"),
    BodyTimeout: Kind(408, "body_timeout", "Upload too slow"),
    UploadTooLarge: Kind(413, "upload_too_large", "Upload too large"),
    domain.UnsupportedAudio: Kind(415, "unsupported_audio", "Unsupported audio"),
    domain.InvalidAudio: Kind(422, "invalid_audio", "Invalid audio"),
    domain.AudioTooLong: Kind(422, "audio_too_long", "Audio too long"),
    domain.InvalidOption: Kind(422, "invalid_option", "Invalid option"),
    TooManyRequests: Kind(429, "too_many_requests", "Too many requests"),
    domain.Overloaded: Kind(503, "overloaded", "Overloaded"),
    domain.NotReady: Kind(503, "not_ready", "Not ready"),
    domain.DeadlineExceeded: Kind(504, "deadline_exceeded", "Deadline exceeded"),
}
_INTERNAL = Kind(500, "internal", "Internal error")
_INTERNAL_DETAIL = "Something went wrong here. The log has the details under this request id."
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "upload_too_large", 422: "invalid_option"}


def kind_of(error: BaseException) -> Kind:
    """The table's entry for an error; `internal` for any that it does not name."""
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), _INTERNAL)


def problem(kind: Kind, detail: str, request_id: str, **members: Any) -> dict[str, Any]:
    """The RFC 9457 document."""
    return {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": kind.code,
        "request_id": request_id,
        **members,
    }


def problem_of(error: BaseException, request_id: str) -> dict[str, Any]:
    """The document for any error. An unknown one is logged with its traceback and answered with a fixed text."""
    kind = kind_of(error)
    if kind is _INTERNAL:
        log.error("unexpected error", request_id=request_id, exc_info=error)
        return problem(kind, _INTERNAL_DETAIL, request_id)
    members = {"option": error.option} if isinstance(error, domain.InvalidOption) else {}
    return problem(kind, str(error), request_id, **members)


def problem_response(document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The answer that carries a problem document."""
    status = int(document["status"])
    all_headers = dict(headers or {})
    if status in (503, 429):
        all_headers.setdefault("Retry-After", "1")
    if status == 500:
        all_headers["Connection"] = "close"  # the server closes it after an exception; say so
    if status == 401:
        all_headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(dict(document), status, headers=all_headers, media_type=PROBLEM_JSON)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    app.add_exception_handler(domain.VadError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(Exception, _on_error)


async def _on_error(request: Request, error: Exception) -> Response:
    return problem_response(problem_of(error, request_id_of(request.scope)))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    kind = Kind(error.status_code, _HTTP_CODES.get(error.status_code, phrase.lower().replace(" ", "_")), phrase)
    return problem_response(problem(kind, str(error.detail), request_id_of(request.scope)), error.headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else "request"
    return await _on_error(request, domain.InvalidOption(name, str(first["msg"])))
