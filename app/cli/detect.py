"""`fsmn-vad detect`: files on this machine, detected by the service's engine without HTTP, or by a server."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import ValidationError

from app.audio.channel import Channel, parse_channel
from app.audio.options import AudioInput, InputOptions
from app.cli.inputs import Input, find_inputs
from app.cli.local import check_options, check_values, local_model
from app.cli.output import Output, Passes, Tell, choose_format
from app.cli.terminal import ALL_WELL, SOME_FAILED, UsageError, failed, run_command
from app.config import Settings
from app.formats.documents import DetectionDocument
from app.formats.rendering import ExcerptOptions, Lang, RenderContext
from app.formats.report import ChannelSegments, Report, Timing, safe_name
from app.registry import Registry, installed
from app.vad.chunks import Chunk
from app.vad.errors import VadError

if TYPE_CHECKING:
    import httpx

FileDetector = Callable[[Input, Tell], Awaitable[Report]]


@dataclass(frozen=True, slots=True)
class DetectRequest:
    """What the command line of `fsmn-vad detect` asks for."""

    sources: list[str]
    format: str | None
    out: Path | None
    options: Mapping[str, Any]
    """Detection options that were set, and `mode`."""
    excerpts: Mapping[str, Any]
    """The same of `ExcerptOptions`."""
    audio: Mapping[str, Any]
    """And of `InputOptions`."""
    channel: str
    lang: str
    jobs: int
    model: str | None
    preset: str | None
    url: str | None
    key: str | None


def run(request: DetectRequest) -> int:
    """Detect everything asked for; the exit status."""
    return run_command(lambda settings: _run(request, settings))


def _run(request: DetectRequest, settings: Settings) -> int:
    """All that can be wrong with the command line is found before a model is loaded or a server asked."""
    registry = installed()
    channel, lang = parse_channel(request.channel), _lang(request.lang)
    form = choose_format(request.format, request.out, registry.formats)
    if form is not None and channel == "split":
        form = form.split or form
    excerpts, audio = ExcerptOptions.parse(request.excerpts), InputOptions.parse(request.audio)
    if request.url is None:
        check_options(registry, settings, request.model, request.options, preset=request.preset)
    else:
        check_values(registry, request.options)
    with tempfile.TemporaryDirectory(prefix="fsmn-vad-") as directory:
        found = find_inputs(request.sources, Path(directory))
        for problem in found.problems:
            failed(problem, SOME_FAILED)
        rate = excerpts.excerpt_rate
        answering = RenderContext(lang, excerpts=excerpts)
        output = Output(
            form, request.out, answering, lambda path: _passes(settings, audio.source(path), rate), found.inputs
        )
        status = asyncio.run(_detect_all(request, settings, registry, channel, found.inputs, output))
        return SOME_FAILED if found.problems else status


def _lang(text: str) -> Lang:
    if text not in get_args(Lang):
        raise UsageError(f"--lang {text}: there are {', '.join(get_args(Lang))}")
    return cast("Lang", text)


def _passes(settings: Settings, source: AudioInput, sample_rate: int | None) -> AbstractContextManager[Passes]:
    from app.audio.source import SourcePasses
    from app.runtime import audio_policy

    return cast("AbstractContextManager[Passes]", SourcePasses(source, audio_policy(settings), sample_rate))


async def _detect_all(
    request: DetectRequest,
    settings: Settings,
    registry: Registry,
    channel: Channel,
    inputs: list[Input],
    output: Output,
) -> int:
    limit = asyncio.Semaphore(request.jobs)

    async def one(detect: FileDetector, item: Input) -> bool:
        async with limit:
            try:
                with output.progress(item.shown) as tell:
                    report = await detect(item, tell)
                output.result(item, report)
            except (VadError, OSError) as error:
                output.failed(item.shown, str(error))
                return False
            return True

    detector: AbstractAsyncContextManager[FileDetector]
    if request.url is not None:
        detector = remote_detector(request, request.url, timeout_s=settings.request_timeout_s)
    else:
        detector = local_detector(request, settings, registry, channel)
    with output:
        async with detector as detect:
            done = await asyncio.gather(*(one(detect, item) for item in inputs))
    return ALL_WELL if all(done) else SOME_FAILED


@asynccontextmanager
async def local_detector(
    request: DetectRequest, settings: Settings, registry: Registry, channel: Channel
) -> AsyncIterator[FileDetector]:
    """The engine in this process. Raises what starting it raises."""
    from app.detection import FileJob
    from app.request import DetectionRequest

    asked = DetectionRequest.parse(request.options, request.audio, {"channel": request.channel})
    async with local_model(settings, registry, request.model, request.preset) as local:
        plan, detector = asked.plan(local.chosen), local.runtime.detector

        async def detect(item: Input, tell: Tell) -> Report:
            job = FileJob(asked.input(item.path), safe_name(item.path.name), "cli")
            return (await detector.run(plan, job, lambda step: tell(step.done_ms, step.expected_ms))).report()

        yield detect


@asynccontextmanager
async def remote_detector(request: DetectRequest, url: str, *, timeout_s: float) -> AsyncIterator[FileDetector]:
    """The server at `url`: its JSON answers, read back into reports. Its calls raise `VadError` with what it said."""
    import httpx  # of the extra [cli]: files on this machine do without

    headers = {"X-API-Key": request.key} if request.key else {}
    fields = {**request.options, **request.audio, "channel": request.channel, "format": "json"}
    if request.model is not None:
        fields["model"] = request.model
    if request.preset is not None:
        fields["preset"] = request.preset
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


def _report(response: "httpx.Response") -> Report:
    try:
        answer = response.json()
        if response.status_code != HTTPStatus.OK:
            raise VadError(f"{answer.get('detail', 'error')} ({response.status_code} {answer.get('code', '')})")
        return report_of(DetectionDocument.model_validate(answer))
    except (ValidationError, AttributeError):
        raise VadError(f"the server answered {response.status_code}, and in no form that is known here") from None
    except ValueError:
        raise VadError(f"the server answered {response.status_code}, not in JSON") from None


def report_of(document: DetectionDocument) -> Report:
    """The report behind a JSON answer."""
    timing = document.timing
    return Report(
        request_id=document.request_id,
        name=document.name,
        model=document.model.info(),
        device=document.device,
        degraded=document.degraded,
        audio=document.audio.summary(),
        channels=_channels(document),
        options=document.options,
        timing=Timing(timing.queue_ms, timing.decode_ms, timing.inference_ms, timing.total_ms),
        warnings=tuple(warning.warning() for warning in document.warnings),
    )


def _channels(document: DetectionDocument) -> tuple[ChannelSegments, ...]:
    """With `channel=split` the answer lists its channels, those without speech too; else it is one channel's."""
    listed = [entry.channel for entry in document.channels or ()]
    numbers = dict.fromkeys([*listed, *(segment.channel for segment in document.segments)])
    return tuple(_channel(document, number) for number in numbers or (None,))


def _channel(document: DetectionDocument, number: int | None) -> ChannelSegments:
    mine = [each for each in document.segments if each.channel == number]
    if document.chunks is None:
        return ChannelSegments(number, tuple(each.segment() for each in mine))
    spoken = [each.index for each in mine if each.segment().is_speech]
    chunks = tuple(
        Chunk(each.start_ms, each.end_ms, tuple(map(spoken.index, each.segments)))
        for each in document.chunks
        if each.channel == number
    )
    return ChannelSegments(number, tuple(each.segment() for each in mine), chunks=chunks)
