"""`/docs`: the API, to read and to try. Swagger UI, built into the page's files; it asks no other host for anything."""

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from app.api.ui import PAGE_HEADERS, STATIC, with_page_headers

_FILES = STATIC / "docs"
_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>FSMN-VAD API</title></head>
<body><h1>FSMN-VAD API</h1>
<p>The pages that show this have not been built. With Node.js and npm at hand: <code>make page</code>.</p>
<p>此文档页面尚未构建。安装 Node.js 与 npm 后运行 <code>make page</code>。</p>
<p>The description itself: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p></body></html>
"""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def reference() -> Response:
    """The reference, or how it is built. Its files are named relatively: there may be a proxy's prefix."""
    page = _FILES / "index.html"
    if page.is_file():
        return FileResponse(page, headers=PAGE_HEADERS)
    return HTMLResponse(_NOT_BUILT, headers=PAGE_HEADERS)


@router.get("/redoc")
async def elsewhere() -> Response:
    """Where FastAPI's services have a second one: there is one here."""
    return RedirectResponse("docs")


def install(app: FastAPI) -> None:
    """Serve `/docs` and what it is made of."""
    app.include_router(router)
    if _FILES.is_dir():
        app.mount("/docs", with_page_headers(StaticFiles(directory=_FILES)), name="docs")
