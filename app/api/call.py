"""A detection request from its head to the point where work can begin."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request

from app.api.access import client_of
from app.api.parameters import RequestOptions, read_parameters
from app.api.request_id import request_id_of
from app.api.service import Service, service_of
from app.api.uploads import Upload
from app.detection import Detector, Job
from app.formats.registry import Format, choose
from app.formats.report import safe_name
from app.vad.errors import InvalidOption


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose body has been received."""

    request: Request
    service: Service
    detector: Detector
    answer: RequestOptions
    format: Format
    jobs: Sequence[Job]
    resources: AsyncExitStack
    """Gives the upload back; a streamed answer takes it over by `pop_all`."""


@asynccontextmanager
async def open_call(request: Request, preset: Mapping[str, str] | None = None) -> AsyncIterator[Call]:
    """Receive the body and check every option, the query's before the body.

    `preset`: options that stand under the request's own. Raises what can be wrong with any of it.
    """
    service = service_of(request)
    detector = service.ready_detector()
    preset = preset or {}
    detector.options({**preset, **read_parameters(request, {}).detection})
    async with AsyncExitStack() as resources:
        upload = await resources.enter_async_context(service.ready_uploads().receive(request))
        resources.callback(detector.engine.cleanup)
        yield _call(request, service, detector, upload, preset, resources)


def _call(
    request: Request,
    service: Service,
    detector: Detector,
    upload: Upload,
    preset: Mapping[str, str],
    resources: AsyncExitStack,
) -> Call:
    parameters = read_parameters(request, upload.fields)
    options = detector.options({**preset, **parameters.detection})
    form = choose(parameters.answer.format, request.headers.get("accept"))
    if len(upload.files) > 1 and form.name not in ("json", "funasr"):
        raise InvalidOption("format", f"{form.name} takes one file a call; several are answered as json or funasr")
    jobs = [
        Job(
            path=file.path,
            name=safe_name(file.filename),
            request_id=request_id_of(request.scope),
            options=options,
            channel=parameters.answer.channel_choice,
            probabilities=parameters.answer.probabilities,
            keep_for=client_of(request.scope) if parameters.answer.keep else None,
        )
        for file in upload.files
    ]
    return Call(request, service, detector, parameters.answer, form, jobs, resources)
