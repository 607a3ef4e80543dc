"""`POST /render`: segments that a client has, corrected by hand or from elsewhere, in any text format."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from starlette.responses import Response

from app.api.admission import request_id_of, with_place
from app.api.errors import UploadTooLarge
from app.api.openapi import PROBLEMS, answer_forms
from app.api.service import blank_is, service_of
from app.formats.documents import AudioDocument, DetectionDocument, ModelDocument
from app.formats.registry import Lang, RenderContext
from app.formats.report import AudioSummary, ChannelSegments, Report, Timing, safe_label, safe_name
from app.registry import Registry
from app.vad.errors import InvalidOption
from app.vad.models.family import ModelInfo
from app.vad.segment import SPEECH, Segment

_MAX_BODY_BYTES = 16 << 20
"""A day with a segment every second is 8 MB of JSON."""
_LABEL = r"^\P{C}{0,63}[^\p{C}\p{Z}]$"
"""One line of up to 64 characters that can be seen, as `Anna (host)!`. Forms that have no room for some of them write
them in their own way."""
_MOST_LABELS = 256
"""Different ones: some forms have a tier for each label of each channel."""
_MOST_MS: Final = 10 * 366 * 24 * 3_600_000
"""Ten years: times beyond are no times."""
_UNKNOWN_RATE = 16_000
"""Hz, of audio that nobody has told about; no text form has it but JSON."""
_BY_HAND = ModelInfo("manual", "manual", None, "")
_CORRECTED = {"mode": "corrected"}
"""Stands for the options; Label Studio's `model_version` ends in it."""


class GivenSegment(BaseModel):
    """One part of the audio, from a client."""

    start_ms: int = Field(ge=0, le=_MOST_MS)
    end_ms: int = Field(ge=0, le=_MOST_MS)
    channel: int | None = Field(None, ge=0, le=63)
    label: Annotated[str, Field(pattern=_LABEL), AfterValidator(safe_label)] | None = Field(
        None, description="Its label, without `=`, `+`, `-` and `@` at the beginning. Not set: `speech`."
    )
    forced_end: bool = False
    speech_probability: float = Field(1.0, ge=0, le=1, description="1 if a person set the segment.")


class GivenSegments(BaseModel):
    """Body of `POST /render`."""

    name: str = Field("audio", description="Name of the file, without characters that could do harm.")
    audio: AudioDocument | None = Field(
        None, description="`audio` of the answer to the file. Not set: the audio ends with the last segment."
    )
    model: ModelDocument | None = Field(None, description="The model whose segments were corrected.")
    segments: list[GivenSegment] = Field(max_length=100_000)

    def report(self, request_id: str) -> Report:
        """Make the report that formats write.

        If any segment has a label, those without one are `speech`. Raises `InvalidOption` for segments that end before
        they begin or overlap others of their channel and label, for too many labels, and for a length that is none.
        """
        if self.audio is not None and not 0 <= self.audio.duration_ms <= _MOST_MS:
            raise InvalidOption("audio.duration_ms", f"must be from 0 to {_MOST_MS}")
        labelled = any(each.label is not None for each in self.segments)
        by_channel: dict[int | None, list[Segment]] = {} if self.segments else {None: []}
        for each in self.segments:
            label = (each.label or SPEECH) if labelled else None
            segment = Segment(each.start_ms, each.end_ms, each.forced_end, each.speech_probability, label)
            by_channel.setdefault(each.channel, []).append(segment)
        for segments in by_channel.values():
            segments.sort(key=lambda segment: segment.start_ms)
            _check(segments)
        labels = tuple(dict.fromkeys(each.label or SPEECH for each in self.segments)) if labelled else ()
        if len(labels) > _MOST_LABELS:
            raise InvalidOption("segments", f"more than {_MOST_LABELS} different labels")
        channels = sorted(by_channel, key=lambda channel: -1 if channel is None else channel)
        return Report(
            request_id=request_id,
            name=safe_name(self.name),
            model=self.model.info() if self.model is not None else _BY_HAND,
            device="",
            degraded=False,
            audio=self.audio.summary() if self.audio is not None else self._unknown_audio(),
            channels=tuple(ChannelSegments(channel, tuple(by_channel[channel])) for channel in channels),
            options=_CORRECTED,
            timing=Timing(0, 0, 0, 0),
            labels=labels,
        )

    def _unknown_audio(self) -> AudioSummary:
        end_ms = max((each.end_ms for each in self.segments), default=0)
        channels = 1 + max((each.channel or 0 for each in self.segments), default=0)
        return AudioSummary(end_ms, _UNKNOWN_RATE, channels, format="", subtype="", truncated=False)


def _check(segments: Sequence[Segment]) -> None:
    for each in segments:
        if each.end_ms <= each.start_ms:
            raise InvalidOption("segments", f"one ends at {each.end_ms} ms and begins at {each.start_ms}")
    reached: dict[str | None, int] = {}
    for each in segments:
        if each.start_ms < reached.get(each.label, 0):
            raise InvalidOption("segments", f"two overlap at {each.start_ms} ms")
        reached[each.label] = each.end_ms


def new_router(registry: Registry) -> APIRouter:
    """The endpoint, documented with what the registry has."""
    router = APIRouter(tags=["detection"])
    body = {"required": True, "content": {"application/json": {"schema": _inlined(GivenSegments.model_json_schema())}}}
    router.post(
        "/render",
        operation_id="render_segments",
        summary="Write your own segments in a text format",
        responses={200: {"model": DetectionDocument, "content": answer_forms(registry)}, **PROBLEMS},
        openapi_extra={"requestBody": body},
    )(render)
    return router


def _inlined(schema: Any, definitions: Mapping[str, Any] | None = None) -> Any:
    """Resolve a schema's references: FastAPI gathers the definitions only of bodies that it reads itself."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    known = schema.get("$defs", definitions or {})
    if "$ref" in schema:
        return _inlined(known[schema["$ref"].rpartition("/")[2]], known)
    return {name: _inlined(part, known) for name, part in schema.items() if name != "$defs"}


Named = Annotated[str, Query(description="A format of `GET /options` that does not need the audio."), blank_is("json")]
Spoken = Annotated[Lang, blank_is("zh")]


async def render(request: Request, format: Named = "json", lang: Spoken = "zh") -> Response:  # noqa: A002 - its name there
    """Write your own segments in a text format, as `POST /vad` would write them."""
    service = service_of(request)
    form = service.registry.formats[format]
    if form.needs_audio or form.streams:
        raise InvalidOption("format", f"{form.name} is made from the audio; send the file to /vad")
    request_id = request_id_of(request.scope)
    async with service.uploads.receive(request) as upload:
        [file, *_] = upload.files
        if file.size > _MAX_BODY_BYTES:
            raise UploadTooLarge(f"more than {_MAX_BODY_BYTES >> 20} MiB of segments")

        def rendered() -> tuple[str, bytes]:
            try:
                given = GivenSegments.model_validate_json(file.read())
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"]) or "body"
                raise InvalidOption(place, str(first["msg"])) from None
            report = given.report(request_id)
            return report.name, b"".join(form.new(RenderContext(lang)).finish(report))

        name, content = await with_place(request, partial(service.threads.run, rendered), service.request_timeout_s)
    headers = {"Content-Disposition": f"inline; filename*=UTF-8''{quote(f'{name}.{form.extension}')}"}
    return Response(content, media_type=form.media_type, headers=headers)
