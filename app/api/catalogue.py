"""`GET /models` and `GET /options`: what can be asked for."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse

from app.api.parameters import option_schema
from app.api.service import service_of
from app.formats.documents import Document, Problem
from app.models import Listed

router = APIRouter(tags=["models"])
_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "Not ready.", "model": Problem}}


class ListedModel(Document):
    """A model that can be asked for, or that is known and could be."""

    name: str = Field(description="As `model=` takes it.")
    title: str
    state: Literal["loaded", "available", "absent"] = Field(
        description="`available`: at hand, loaded at its first use. `absent`: not to be had here without a download."
    )
    default: bool = Field(description="Whether it serves requests that name none.")
    id: str
    revision: str | None
    fingerprint: str | None = Field(None, description="SHA-256 of its weights; once it is loaded.")
    licence: str | None
    device: str | None = Field(None, description="Where it runs; once it is loaded.")
    sample_rate: int = Field(description="Hz that it works at; audio of any rate is taken.")
    frame_ms: int | None = Field(None, description="Distance of its frames; once it is loaded.")
    look_ahead_ms: int | None = Field(None, description="Audio after a frame that its probability waits for.")
    live: bool = Field(description="Whether it follows live streams.")
    default_mode: str = Field(description="How its segments are made where a request names no `mode`.")


class ModelsDocument(Document):
    """Answer of `GET /models`."""

    models: list[ListedModel]


class ModeDocument(Document):
    """A way of making segments."""

    mode: str
    use: Literal["file", "live", "labelled"] = Field(
        description="What it segments: whole files; live streams, and files of models made for those; models with "
        "labels. A mode without an entry for a use takes its first one."
    )
    title: str
    options: dict[str, dict[str, Any]] = Field(
        description="JSON Schema of each option: type, default, range, `unit`, description."
    )


class ModelOptionsDocument(Document):
    """What a model sets."""

    default_mode: str
    use: Literal["file", "live", "labelled"] = Field(description="Which of a mode's entries segments its files.")
    defaults: dict[str, dict[str, Any]] = Field(description="For each mode every option's value where none is given.")


class OptionsDocument(Document):
    """Answer of `GET /options`."""

    modes: list[ModeDocument]
    models: dict[str, ModelOptionsDocument]
    default_model: str
    formats: list[str]


@router.get("/models", responses={200: {"model": ModelsDocument}, **_NOT_READY})
async def models(request: Request) -> JSONResponse:
    """Every model there is or could be, the default one first."""
    service = service_of(request)
    runtime = service.ready()
    lines = await service.threads.run(runtime.models.listed)
    return JSONResponse(ModelsDocument.model_construct(models=[_listed(line) for line in lines]).dump())


@router.get("/options", responses={200: {"model": OptionsDocument}, **_NOT_READY})
async def options(request: Request) -> JSONResponse:
    """Every option of every mode, and what each loaded model takes where none is given."""
    service = service_of(request)
    models, segmenters = service.ready().models, service.registry.segmenters
    answer = OptionsDocument.model_construct(
        modes=[
            ModeDocument.model_construct(mode=kind.mode, use=use, title=kind.title, options=option_schema(kind))
            for use, kind in segmenters.variants()
        ],
        models={
            model.info.name: ModelOptionsDocument.model_construct(
                default_mode=model.segmentation({}).kind.mode,
                use=model.use(),
                defaults={mode: model.segmentation({"mode": mode}).document() for mode in segmenters.modes},
            )
            for model in models
        },
        default_model=models.default.info.name,
        formats=service.registry.formats.names,
    )
    return JSONResponse(answer.dump())


def _listed(line: Listed) -> ListedModel:
    model, known = line.model, line.known
    members: dict[str, Any] = {
        "name": line.name,
        "title": known.title if known is not None else line.name,
        "state": line.state,
        "default": line.default,
        "licence": known.licence if known is not None else None,
        "live": model.live if model is not None else known is None or known.live,
    }
    if model is not None:
        grid = model.grid
        members |= {
            "id": model.info.id,
            "revision": model.info.revision,
            "fingerprint": model.info.fingerprint,
            "device": model.device,
            "sample_rate": grid.sample_rate,
            "frame_ms": grid.frame_ms,
            "look_ahead_ms": grid.look_ahead_frames * grid.frame_ms,
            "default_mode": model.default_mode,
        }
    elif known is not None:
        members |= {
            "id": known.source,
            "revision": known.revision,
            "sample_rate": known.sample_rate,
            "default_mode": line.default_mode,
        }
    return ListedModel.model_construct(**members)
