"""`GET /sample.wav`: something to try, made when it is asked for. The project ships no audio."""

import io
from functools import cache
from typing import Any

import soundfile
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.admission import take_place
from app.api.openapi import PROBLEMS
from app.api.service import service_of
from app.audio.voice import voice

SPOKEN = [(1.0, 3.0), (4.0, 7.5), (9.0, 11.0)]
"""Where the voice is heard, s: pauses of a second and more, which every model here takes for ends."""
SECONDS = 12.0
"""Long enough for three utterances, short enough to be made while somebody waits."""
_RATE = 16_000
"""Hz, at which every model here but the telephone's listens: nothing is resampled."""
_ANSWER: dict[str, Any] = {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}

router = APIRouter(tags=["detection"])


@router.get("/sample.wav", response_class=Response, responses={200: _ANSWER, **PROBLEMS})
async def sample(request: Request) -> Response:
    """Twelve seconds of a synthetic voice that speaks three times: 16 kHz, mono, always the same."""
    await take_place(request)
    content = await service_of(request).threads.run(_made)
    headers = {"Content-Disposition": 'inline; filename="sample.wav"'}
    return Response(content, media_type="audio/wav", headers=headers)


@cache
def _made() -> bytes:
    # Always the same, so it is computed once: 384 kB are kept from the first time on.
    written = io.BytesIO()
    soundfile.write(written, voice(SECONDS, SPOKEN, _RATE), _RATE, format="WAV", subtype="PCM_16")
    return written.getvalue()
