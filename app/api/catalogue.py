"""`GET /models` and `GET /options`: what can be asked for."""

from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse

from app.api.openapi import audio_schema, option_schema, overlap_schema, problem
from app.api.service import service_of
from app.audio.containers import CONTAINERS
from app.formats.documents import Document
from app.models import Model, Models
from app.vad.chunks import ChunkOptions
from app.vad.models import fusion
from app.vad.models.accuracy import BEST, LISTED_SUMS, measured
from app.vad.models.cost import cost_of
from app.vad.models.registry import Catalogue
from app.vad.segmenters.registry import Use

router = APIRouter(tags=["models"])
_BEST_NOTE = (
    "The best of all for conversation, clean and in noise; in meetings pyannote alone is level with it. Files only. An "
    "hour of audio takes 25 to 45 s of CPU, by machine; with fsmn 3 to 6 s."
)
_STATES = ("loaded", "available", "absent")
_NOT_READY: dict[int | str, dict[str, Any]] = {503: problem("Not ready.")}


class AccuracyDocument(Document):
    """How well segments of `mode=tight` fit labelled speech: conversation and meetings, each clean, in white and pink
    noise, over music and by telephone, at one setting for all; cross-validated. See docs/accuracy.md."""

    frame_f1: float = Field(description="Mean over the ten, 0 to 1; differences under 0.005 are noise.")
    threshold: float
    neg_threshold: float = Field(description="The setting that gave this result.")


class ListedModel(Document):
    """A model or a sum of models: one that requests can name, or a known one that can be downloaded."""

    name: str = Field(description="As `model=` takes it.")
    title: str
    alias: str | None = Field(None, description="A short name that `model=` also takes.")
    members: list[str] | None = Field(None, description="The models of a sum. Absent for a single model.")
    weights: list[int] | None = Field(None, description="How often each member counts. Absent if all count the same.")
    note: str | None = Field(None, description="What it is good for, and what it costs.")
    state: Literal["loaded", "available", "absent"] = Field(
        description="`available`: on this machine, loaded at its first use. `absent`: has to be downloaded first."
    )
    default: bool = Field(description="Whether it answers requests that name no model.")
    accuracy: AccuracyDocument | None = Field(description="Null if not measured.")
    cost: float | None = Field(
        None, description="Processor time for the same audio, where that of `fsmn` is 1; absent where not measured."
    )
    id: str
    revision: str | None
    fingerprint: str | None = Field(None, description="SHA-256 of its weights, once it is loaded.")
    licence: str | None
    device: str | None = Field(None, description="The device that it runs on, once it is loaded.")
    sample_rate: int = Field(description="Hz at which it works. Audio of any rate is accepted.")
    frame_ms: int | None = Field(None, description="Time from one frame to the next, once it is loaded.")
    look_ahead_ms: int | None = Field(None, description="How much later audio a frame's probability needs.")
    live: bool = Field(description="Whether it follows live streams.")
    overlap: bool = Field(description="Whether it finds where several people talk at once (`overlap=true`).")
    default_mode: str = Field(description="Its mode if the request names none.")


class ModelsDocument(Document):
    """Answer of `GET /models`."""

    models: list[ListedModel]


class ModeDocument(Document):
    """A way of making segments."""

    mode: str
    use: Use = Field(
        description="What it segments: whole files; live streams, and files of models made for those; models with "
        "labels. A mode without an entry for a use takes its first one."
    )
    title: str
    options: dict[str, dict[str, Any]] = Field(
        description="JSON Schema of each option: type, default, range, `unit`, description."
    )


class ModelOptionsDocument(Document):
    """The defaults of a model."""

    default_mode: str
    use: Use = Field(description="Which entry of a mode applies to its files.")
    defaults: dict[str, dict[str, Any]] = Field(description="For each mode the default of every option.")


class PresetDocument(Document):
    """A named set of settings."""

    name: str = Field(description="As `preset=` takes it.")
    title: str
    model: str
    live_model: str = Field(description="For live streams.")
    mode: str
    options: dict[str, Any]
    live_options: dict[str, Any] | None = Field(description="For live streams, if different; otherwise null.")
    reasons: dict[str, str] = Field(description="The reasons for the model, the mode and each option.")


class FormDocument(Document):
    """A form of answer."""

    name: str = Field(description="As `format=` takes it.")
    media_type: str
    extension: str = Field(description="Ending of the file's name, without the first dot.")
    needs_audio: bool = Field(description="Needs the audio itself, so only `POST /vad` can make it.")
    streams: bool = Field(description="Sent while detection runs, so only `POST /vad` can make it.")


class InputDocument(Document):
    """A type of file that the service reads."""

    name: str = Field(description="As answers have it in `audio.format`.")
    title: str
    suffixes: list[str] = Field(description="Its usual endings. The content decides the type, not the ending.")


class OptionsDocument(Document):
    """Answer of `GET /options`."""

    modes: list[ModeDocument]
    chunks: dict[str, dict[str, Any]] = Field(
        description="The same for the options of chunks, with any mode. An option without a default is off unless "
        "it is set."
    )
    audio: dict[str, dict[str, Any]] = Field(description="The same for the options of reading a file and its channels.")
    overlap: dict[str, dict[str, Any]] = Field(
        description="The same for the options of overlap, for models that find it."
    )
    presets: list[PresetDocument]
    default_preset: str | None = Field(description="The preset of requests that name none.")
    models: dict[str, ModelOptionsDocument]
    default_model: str
    formats: list[str]
    inputs: list[InputDocument]
    forms: list[FormDocument] = Field(description="Facts about each format, in the order of `formats`.")


@router.get(
    "/models",
    operation_id="list_models",
    summary="List the models that requests can name",
    responses={200: {"model": ModelsDocument}, **_NOT_READY},
)
async def models(request: Request) -> JSONResponse:
    """Every known model, and the measured sums of models. The default model comes first."""
    service = service_of(request)
    models = service.ready().models
    available = await models.available()
    document = ModelsDocument.model_construct(models=_listed(models, service.registry.catalogue, available))
    return JSONResponse(document.dump())


@router.get(
    "/options",
    operation_id="list_options",
    summary="List every option, with its range and each model's default",
    responses={200: {"model": OptionsDocument}, **_NOT_READY},
)
async def options(request: Request) -> JSONResponse:
    """Every option of every mode, and the defaults of each loaded model."""
    service = service_of(request)
    models, segmenters = service.ready().models, service.registry.segmenters
    answer = OptionsDocument.model_construct(
        modes=[
            ModeDocument.model_construct(mode=kind.mode, use=use, title=kind.title, options=option_schema(kind.options))
            for use, kind in segmenters.variants()
        ],
        chunks=option_schema(ChunkOptions),
        audio=audio_schema(),
        overlap=overlap_schema(),
        presets=[PresetDocument.model_validate(preset, from_attributes=True) for preset in service.registry.presets],
        default_preset=models.settings.preset.name if models.settings.preset is not None else None,
        models={
            model.info.name: ModelOptionsDocument.model_construct(
                default_mode=model.segmentation({}).kind.mode,
                use=model.use(),
                defaults={mode: model.segmentation({"mode": mode}).document() for mode in segmenters.modes},
            )
            for model in (*models, *models.sums().values())
        },
        default_model=models.default.info.name,
        formats=service.registry.formats.names,
        inputs=[InputDocument.model_validate(each, from_attributes=True) for each in CONTAINERS],
        forms=[FormDocument.model_validate(form, from_attributes=True) for form in service.registry.formats],
    )
    return JSONResponse(answer.dump())


def _listed(models: Models, catalogue: Catalogue, available: Sequence[str]) -> list[ListedModel]:
    """`available`: known models that are not loaded and can be."""
    lines: dict[str, dict[str, Any]] = {}
    for model in models:
        title, licence = (model.info.name, None) if model.known is None else (model.known.title, model.known.licence)
        lines[model.info.name] = {"title": title, "licence": licence, **_of_loaded(model)}
    for spec, known in catalogue.known():
        if known.name not in lines:
            lines[known.name] = {
                "title": known.title,
                "state": "available" if known.name in available else "absent",
                "accuracy": known.accuracy,
                "id": known.source,
                "revision": known.revision,
                "licence": known.licence,
                "sample_rate": known.sample_rate,
                "live": known.live,
                "overlap": known.overlap,
                "default_mode": catalogue.family(spec.family).default_mode,
            }
    sums = models.sums()
    for named in dict.fromkeys([*LISTED_SUMS, *sums]):
        terms = [fusion.Term.parse(each) for each in named]
        members = [lines[term.name] for term in terms]
        licences = [member["licence"] for member in members]
        is_best = named == BEST
        lines["+".join(named)] = {
            "title": f"Mean of {', '.join(named[:-1])} and {named[-1]}",
            **({"alias": fusion.BEST_NAME, "note": _BEST_NOTE} if is_best else {}),
            "members": [term.name for term in terms],
            **({"weights": [term.weight for term in terms]} if any(term.weight > 1 for term in terms) else {}),
            # A sum is as near as the farthest of its members.
            "state": max((member["state"] for member in members), key=_STATES.index),
            "accuracy": measured(*named),
            "id": "+".join(member["id"] for member in members),
            "revision": None,
            "licence": ", ".join(dict.fromkeys(licences)) if None not in licences else None,
            "sample_rate": max(member["sample_rate"] for member in members),
            "live": all(member["live"] for member in members),
            "overlap": any(member["overlap"] for member in members),
            "default_mode": fusion.DEFAULT_MODE,
            **(_of_loaded(sums[named]) if named in sums else {}),
        }
    for name, line in lines.items():
        line |= {"name": name, "default": name == models.default.info.name, "cost": cost_of(name)}
    entries = [ListedModel.model_validate(line, from_attributes=True) for line in lines.values()]
    return sorted(entries, key=lambda each: not each.default)


def _of_loaded(model: Model) -> dict[str, Any]:
    return {
        "state": "loaded",
        "accuracy": model.accuracy,
        "id": model.info.id,
        "revision": model.info.revision,
        "fingerprint": model.info.fingerprint,
        "device": model.device,
        "sample_rate": model.grid.sample_rate,
        "frame_ms": model.grid.frame_ms,
        "look_ahead_ms": model.grid.look_ahead_frames * model.grid.frame_ms,
        "live": model.live,
        "overlap": model.tells_overlap,
        "default_mode": model.default_mode,
    }
