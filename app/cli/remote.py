"""A server in place of the engine: its JSON answer, read back into a report."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.api.parameters import RequestOptions
from app.cli.inputs import Input
from app.cli.work import FileDetector, Tell
from app.formats.report import AudioSummary, ChannelSegments, ModelInfo, Report, Timing
from app.vad.errors import VadError
from app.vad.segment import Segment


@asynccontextmanager
async def remote_detector(
    url: str, key: str | None, given: Mapping[str, Any], answer: RequestOptions, *, timeout_s: float
) -> AsyncIterator[FileDetector]:
    """A detector that asks the server at `url`. Its calls raise `VadError` with what the server said."""
    headers = {"X-API-Key": key} if key else {}
    fields = {**given, "channel": answer.channel}
    async with httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=timeout_s) as client:

        async def detect(item: Input, tell: Tell) -> Report:
            tell(0, None)
            with item.path.open("rb") as file:
                try:
                    response = await client.post("/vad", data=fields, files={"file": (item.path.name, file)})
                except httpx.HTTPError as error:
                    raise VadError(f"no answer from {url}: {error or type(error).__name__}") from None
            return _report(response)

        yield detect


def _report(response: httpx.Response) -> Report:
    try:
        document = response.json()
    except ValueError:
        raise VadError(f"the server answered {response.status_code}, not in JSON") from None
    if response.status_code != httpx.codes.OK:
        raise VadError(f"{document.get('detail', 'error')} ({response.status_code} {document.get('code', '')})")
    return report_of(document)


def report_of(document: Mapping[str, Any]) -> Report:
    """The report behind a JSON answer."""
    timing = document["timing"]
    return Report(
        request_id=document["request_id"],
        name=document["name"],
        model=ModelInfo(**document["model"]),
        device=document["device"],
        degraded=document["degraded"],
        audio=AudioSummary(**document["audio"]),
        channels=_channels(document["segments"]),
        options=document["options"],
        timing=Timing(**{name: timing[name] for name in Timing.__dataclass_fields__}),
    )


def _channels(segments: list[Mapping[str, Any]]) -> tuple[ChannelSegments, ...]:
    by_channel: dict[int | None, list[Segment]] = {}
    for entry in segments:
        segment = Segment(entry["start_ms"], entry["end_ms"], entry["forced_end"], entry["speech_probability"])
        by_channel.setdefault(entry.get("channel"), []).append(segment)
    return tuple(ChannelSegments(channel, tuple(found)) for channel, found in by_channel.items())
