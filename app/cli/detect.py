"""`fsmn-vad detect`: the service's engine without HTTP, or a server's answer, for files on this machine."""

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from app.api.parameters import RequestOptions, read_answer_options
from app.cli.inputs import Input, UsageError, find_inputs
from app.cli.output import Output
from app.cli.settings import read_settings_or_say
from app.cli.work import FileDetector
from app.config import Settings
from app.runtime import audio_policy
from app.vad.errors import InvalidOption, ModelError, VadError
from app.vad.segmenters.options import VadOptions

ALL_WELL, SOME_FAILED, WRONG_USAGE, NO_MODEL = 0, 1, 2, 3
_STDERR = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Request:
    """The command line."""

    sources: list[str]
    format: str | None
    out: Path | None
    options: Mapping[str, Any]
    """Detection options that were set."""
    channel: str
    lang: str
    jobs: int
    model: str | None
    url: str | None
    key: str | None


def run(request: Request) -> int:
    """Detect everything asked for; the exit status."""
    settings = read_settings_or_say(_STDERR, {"model": request.model} if request.model else {})
    if settings is None:
        return WRONG_USAGE
    try:
        with tempfile.TemporaryDirectory(prefix="fsmn-vad-") as directory:
            inputs = find_inputs(request.sources, Path(directory))
            return asyncio.run(_run(request, settings, inputs))
    except (UsageError, InvalidOption) as error:
        _STDERR.print(str(error), style="red", markup=False, soft_wrap=True)
        return WRONG_USAGE
    except (ModelError, FileNotFoundError) as error:
        _STDERR.print(str(error), style="red", markup=False, soft_wrap=True)
        return NO_MODEL
    except KeyboardInterrupt:
        return 130


async def _run(request: Request, settings: Settings, inputs: list[Input]) -> int:
    options = request.options
    answer = read_answer_options({"channel": request.channel, "lang": request.lang})
    VadOptions.parse(settings.default_options, options)
    with Output(request.format, request.out, answer.lang, audio_policy(settings), total=len(inputs)) as output:
        async with _open_detector(request, settings, options, answer) as detector:
            return await _all(detector, output, inputs, request.jobs)


def _open_detector(
    request: Request, settings: Settings, options: Mapping[str, Any], answer: RequestOptions
) -> AbstractAsyncContextManager[FileDetector]:
    if request.url:
        from app.cli.remote import remote_detector

        return remote_detector(request.url, request.key, options, answer, timeout_s=settings.request_timeout_s)
    from app.cli.local import local_detector

    return local_detector(settings, options, answer)


async def _all(detector: FileDetector, output: Output, inputs: list[Input], jobs: int) -> int:
    limit = asyncio.Semaphore(jobs)

    async def one(item: Input) -> bool:
        async with limit:
            try:
                with output.progress(item.shown) as tell:
                    report = await detector(item, tell)
            except (VadError, OSError) as error:
                output.failed(item.shown, str(error))
                return False
            output.result(item, report)
            return True

    done = await asyncio.gather(*(one(item) for item in inputs))
    return ALL_WELL if all(done) else SOME_FAILED
