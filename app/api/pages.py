"""What is served to people and to other people's pages: the page under `/ui/`, the reference under `/docs`, the browser
module, and a sample to try. Built files ask no other host for anything, and may not."""

import io
import mimetypes
import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import soundfile
from fastapi import APIRouter, FastAPI, Request
from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.admission import with_place
from app.api.openapi import PROBLEMS
from app.api.service import service_of
from app.audio.voice import voice

STATIC = Path(__file__).resolve().parent.parent / "web" / "static"
_REFERENCE = STATIC / "docs"
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}
"""Of everything that a browser shows as a page of ours."""
_RAW_PAGE_HEADERS = [(name.encode(), value.encode()) for name, value in _PAGE_HEADERS.items()]

_NO_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>FSMN-VAD</title></head>
<body><h1>FSMN-VAD</h1>
<p>The service runs; its page has not been built. With Node.js and npm at hand: <code>make page</code>.</p>
<p>服务正在运行；网页尚未构建。安装 Node.js 与 npm 后运行 <code>make page</code>。</p>
<p><code>curl -F file=@audio.wav http://localhost:8000/vad</code></p></body></html>
"""
_NO_REFERENCE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>FSMN-VAD API</title></head>
<body><h1>FSMN-VAD API</h1>
<p>The pages that show this have not been built. With Node.js and npm at hand: <code>make page</code>.</p>
<p>此文档页面尚未构建。安装 Node.js 与 npm 后运行 <code>make page</code>。</p>
<p>The description itself: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p></body></html>
"""

_MICROPHONE = Path(__file__).parent / "client" / "microphone.js"

SPOKEN = [(1.0, 3.0), (4.0, 7.5), (9.0, 11.0)]
"""Where the sample's voice speaks, s. The pauses take a second and more, which every model here takes for ends."""
SECONDS = 12.0
"""Long enough for three utterances, short enough to be made while a client waits."""
FETCHED_SAMPLE = STATIC / "sample.wav"
"""Put there by `web/sample.py`."""
_SAMPLE_RATE = 16_000
"""Hz, at which every model here but the telephone's listens: nothing is resampled."""
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_WAV: dict[str, Any] = {"content": {"audio/wav": _BINARY, "application/octet-stream": _BINARY}}
"""The second for generators of clients that know no sound, and would leave the operation without an answer."""


class CompressedFiles(StaticFiles):
    """Static files; to clients that take gzip (RFC 9110, 12.5.3) the `.gz` that the build has put beside them."""

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        compressed = Path(f"{full_path}.gz")
        # Compressed answers differ by this header, and so do the plain ones of the same address.
        vary = {"Vary": "Accept-Encoding"}
        if not compressed.is_file():
            return super().file_response(full_path, stat_result, scope, status_code)
        if "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            response = super().file_response(full_path, stat_result, scope, status_code)
            response.headers.update(vary)
            return response
        response = super().file_response(compressed, compressed.stat(), scope, status_code)
        response.headers.update({"Content-Encoding": "gzip", **vary})
        if response.status_code != 304:
            response.headers["content-type"] = mimetypes.guess_type(full_path)[0] or "text/plain"
        return response


router = APIRouter(include_in_schema=False)
"""Of what is always served."""
page_router = APIRouter(include_in_schema=False)
"""Of what `VAD_UI` switches off."""
sample_router = APIRouter(tags=["detection"])


def install(app: FastAPI, *, ui: bool) -> None:
    """Serve all of it; the page only where `ui` says so."""
    app.include_router(sample_router)
    app.include_router(router)
    if _REFERENCE.is_dir():
        app.mount("/docs", _with_page_headers(CompressedFiles(directory=_REFERENCE)), name="docs")
    if not ui:
        return
    app.include_router(page_router)
    if (STATIC / "index.html").is_file():
        app.mount("/ui", _with_page_headers(CompressedFiles(directory=STATIC, html=True)), name="ui")
    else:
        app.add_api_route("/ui/", _page_is_not_built, include_in_schema=False)


@page_router.get("/ui")
async def page_without_slash() -> Response:
    """Where people go who type it."""
    return RedirectResponse("/ui/")


@page_router.get("/")
async def root(request: Request) -> Response:
    """Send browsers to the page; tell programs where things are."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/ui/")
    return JSONResponse({"detect": "/vad", "health": "/health", "documentation": "/docs", "page": "/ui/"})


async def _page_is_not_built() -> HTMLResponse:
    return HTMLResponse(_NO_PAGE, headers=_PAGE_HEADERS)


@router.get("/docs")
async def reference() -> Response:
    """The API, to read and to try: Swagger UI. Its files are named relatively: there may be a proxy's prefix."""
    page = _REFERENCE / "index.html"
    if page.is_file():
        return FileResponse(page, headers=_PAGE_HEADERS)
    return HTMLResponse(_NO_REFERENCE, headers=_PAGE_HEADERS)


@router.get("/redoc")
async def other_reference() -> Response:
    """Where FastAPI's services have a second one: there is one here."""
    return RedirectResponse("docs")


@router.get("/client/microphone.js")
async def microphone() -> FileResponse:
    """The module with which any page hears speech through this service.

    It is open: it holds nothing, and the stream that it opens asks for a key. Pages of other origins may load it where
    `VAD_CORS_ORIGINS` lets them, which their stream needs as well.
    """
    headers = {
        "Cache-Control": "no-cache",  # it changes with the service, and the ETag makes asking cheap
        "X-Content-Type-Options": "nosniff",
    }
    return FileResponse(_MICROPHONE, media_type="text/javascript", headers=headers)


@sample_router.get(
    "/sample.wav",
    operation_id="get_sample",
    summary="Get a recording to try the service with",
    response_class=Response,
    responses={200: _WAV, **PROBLEMS},
)
async def sample(request: Request) -> Response:
    """Half a minute of two people talking. If the build could not fetch it: twelve seconds of a synthetic voice.
    16 kHz, mono, always the same. `X-VAD-Sample` says which: `recording` or `synthetic`."""
    service = service_of(request)
    work = partial(service.threads.run, _sample, FETCHED_SAMPLE)
    content = await with_place(request, work, service.request_timeout_s)
    origin = "recording" if FETCHED_SAMPLE.is_file() else "synthetic"
    headers = {"Content-Disposition": 'inline; filename="sample.wav"', "X-VAD-Sample": origin}
    return Response(content, media_type="audio/wav", headers=headers)


@cache
def _sample(fetched: Path) -> bytes:
    """The project ships no audio: what the build has fetched, else a voice that is made here."""
    if fetched.is_file():
        return fetched.read_bytes()
    written = io.BytesIO()
    soundfile.write(written, voice(SECONDS, SPOKEN, _SAMPLE_RATE), _SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return written.getvalue()


def _with_page_headers(app: ASGIApp) -> ASGIApp:
    """`app` whose answers carry the security headers; hashed assets may be kept for ever, the page itself not."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                lasting = "/assets/" in scope["path"] and message["status"] < 400
                cache = b"public, max-age=31536000, immutable" if lasting else b"no-cache"
                message["headers"] = [*message["headers"], *_RAW_PAGE_HEADERS, (b"cache-control", cache)]
            await send(message)

        await app(scope, receive, send_with_headers)

    return guarded
