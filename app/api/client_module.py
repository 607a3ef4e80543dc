"""`GET /client/microphone.js`: the module with which any page hears speech through this service.

Open to everybody, as the page is: it holds nothing, and a key is asked for by the stream that it opens. A page of
another origin may load it where `VAD_CORS_ORIGINS` lets that origin in, which is what its stream needs as well.
"""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

router = APIRouter(include_in_schema=False)

_MODULE = Path(__file__).parent / "client" / "microphone.js"
_HEADERS = {
    "Cache-Control": "no-cache",  # it changes with the service, and the ETag makes asking cheap
    "X-Content-Type-Options": "nosniff",
}


@router.get("/client/microphone.js")
async def microphone() -> FileResponse:
    """The file itself; browsers take no module of another media type."""
    return FileResponse(_MODULE, media_type="text/javascript", headers=_HEADERS)
