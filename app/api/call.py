"""A detection request from its head to the point where work can begin."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request

from app.api.access import client_of
from app.api.admission import take_place
from app.api.parameters import Parameters, RequestOptions, read_parameters
from app.api.request_id import request_id_of
from app.api.service import Service, service_of
from app.api.uploads import Upload
from app.detection import Detector, Job, ProbabilityAllowance
from app.formats.rendering import Format
from app.formats.report import safe_name
from app.models import Chosen, Models
from app.vad.errors import InvalidOption
from app.vad.segmenters.registry import Segmentation

NameModel = Callable[[Models, str | None], str | None]
"""Which of the models a request means by what it calls its model."""


def as_called(models: Models, asked: str | None) -> str | None:
    """The one of that name, and no other."""
    return asked


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
async def open_call(
    request: Request, fixed: Mapping[str, str] | None = None, name_model: NameModel = as_called
) -> AsyncIterator[Call]:
    """Receive the body, check every option, the query's before the body, and wait for a place to compute.

    `fixed`: options that stand under the request's own. Raises what can be wrong with any of it.
    """
    service = service_of(request)
    runtime = service.ready()
    fixed = fixed or {}

    async def chosen_by(parameters: Parameters) -> Chosen:
        named = name_model(runtime.models, parameters.answer.model)
        return await runtime.models.choose(named, parameters.answer.preset)

    parameters = read_parameters(request, {})
    chosen = await chosen_by(parameters)
    segmentation = chosen.segmentation({**fixed, **parameters.segmenter})
    async with AsyncExitStack() as resources:
        upload = await resources.enter_async_context(service.uploads.receive(request))
        resources.callback(runtime.engine.cleanup)
        if upload.fields:
            parameters = read_parameters(request, upload.fields)
            chosen = await chosen_by(parameters)
            segmentation = chosen.segmentation({**fixed, **parameters.segmenter})
        form = service.registry.formats.choose(parameters.answer.format, request.headers.get("accept"))
        if parameters.answer.channel_choice == "split":
            form = form.split or form
        if len(upload.files) > 1 and not form.takes_several:
            several = " or ".join(service.registry.formats.for_several_files)
            raise InvalidOption("format", f"{form.name} takes one file a call; several are answered as {several}")
        allowance = runtime.detector.new_allowance()
        jobs = _jobs(request, upload, parameters, chosen, segmentation, allowance)
        await take_place(request)
        yield Call(request, service, runtime.detector, parameters.answer, form, jobs, resources)


def _jobs(
    request: Request,
    upload: Upload,
    parameters: Parameters,
    chosen: Chosen,
    segmentation: Segmentation,
    allowance: ProbabilityAllowance,
) -> list[Job]:
    client = client_of(request.scope)
    return [
        Job(
            source=parameters.answer.source(file.path, file.content_type or request.headers.get("content-type", "")),
            name=safe_name(file.filename or request.path_params.get("filename")),
            request_id=request_id_of(request.scope),
            model=chosen.model,
            segmentation=segmentation,
            channel=parameters.answer.channel_choice,
            probabilities=parameters.answer.probabilities,
            members=parameters.answer.members,
            warnings=chosen.warnings,
            keep_for=client if parameters.answer.keep else None,
            client=client,
            allowance=allowance,
        )
        for file in upload.files
    ]
