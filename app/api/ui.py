"""The page: built files under `/ui/`, and `/` for browsers. It needs nothing from any other host, and may ask for
nothing."""

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).resolve().parent.parent / "web" / "static"
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}
"""Of everything that a browser shows as a page of ours."""
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in PAGE_HEADERS.items()]
_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>FSMN-VAD</title></head>
<body><h1>FSMN-VAD</h1>
<p>The service runs; its page has not been built. With Node.js and npm at hand: <code>make page</code>.</p>
<p>服务正在运行；网页尚未构建。安装 Node.js 与 npm 后运行 <code>make page</code>。</p>
<p><code>curl -F file=@audio.wav http://localhost:8000/vad</code></p></body></html>
"""

router = APIRouter(include_in_schema=False)


@router.get("/ui")
async def without_slash() -> Response:
    """As people type it."""
    return RedirectResponse("/ui/")


@router.get("/")
async def root(request: Request) -> Response:
    """Browsers go to the page; programs are told where things are."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/ui/")
    return JSONResponse({"detect": "/vad", "health": "/health", "documentation": "/docs", "page": "/ui/"})


def install(app: FastAPI) -> None:
    """Serve the page, or say how it is built."""
    app.include_router(router)
    if (STATIC / "index.html").is_file():
        app.mount("/ui", with_page_headers(StaticFiles(directory=STATIC, html=True)), name="ui")
    else:
        app.add_api_route("/ui/", _not_built, include_in_schema=False)


async def _not_built() -> HTMLResponse:
    return HTMLResponse(_NOT_BUILT, headers=PAGE_HEADERS)


def with_page_headers(app: ASGIApp) -> ASGIApp:
    """`app` whose answers carry the security headers; hashed assets may be kept for ever, the page itself not."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                lasting = "/assets/" in scope["path"] and message["status"] < 400
                cache = b"public, max-age=31536000, immutable" if lasting else b"no-cache"
                message["headers"] = [*message["headers"], *_RAW_HEADERS, (b"cache-control", cache)]
            await send(message)

        await app(scope, receive, send_with_headers)

    return guarded
