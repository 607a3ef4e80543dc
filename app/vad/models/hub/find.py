"""Finding a model: a directory, ModelScope's cache, or a download from the hub.

The cache is looked up without importing the hub's client (which takes longer than loading the model) and without
touching the network. What was downloaded is checked before it is called a model, and removed when it is broken.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.vad.errors import InvalidModel, ModelNotFound
from app.vad.models.fsmn.config import MODEL_FILES
from app.vad.models.hub.download import DownloadFailed, download

DEFAULT_ENDPOINT = "https://www.modelscope.cn"
_PATTERNS = (*MODEL_FILES, "configuration.json")


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """Where a model was found."""

    directory: Path
    model_id: str
    revision: str | None
    origin: Literal["directory", "cache", "download"]


def find_model(
    model: str,
    revision: str | None,
    *,
    cache_dir: Path,
    endpoint: str | None = None,
    allow_download: bool = True,
) -> ModelLocation:
    """The model's directory: `model` itself, else ModelScope's cache, else a download into that cache.

    Raises `ModelNotFound` with one message that says what was tried and how to supply the model by hand.
    """
    directory = _directory(model)
    if directory is not None:
        return ModelLocation(directory, directory.resolve().name, None, "directory")
    tried = [f"a directory {model}: there is none"]
    cached = cached_model(model, revision, cache_dir)
    if cached is not None:
        return ModelLocation(cached, model, revision, "cache")
    tried.append(f"ModelScope's cache {cache_dir}: {model} is not in it")
    if not allow_download:
        raise _not_found(model, cache_dir, [*tried, "the hub was not asked"])
    if not _is_hub_id(model):
        raise _not_found(model, cache_dir, [*tried, "the hub: this is not a ModelScope id (owner/name)"])
    base = _with_scheme(endpoint or DEFAULT_ENDPOINT)
    try:
        download(
            model, revision, _PATTERNS, endpoint=base, cache_dir=cache_dir, places=_model_folders(model, cache_dir)
        )
    except DownloadFailed as error:
        raise _not_found(model, cache_dir, [*tried, f"the hub {base}: {error}"]) from None
    found = cached_model(model, revision, cache_dir)
    if found is None:
        raise _not_found(model, cache_dir, [*tried, f"the hub {base}: it did not send {', '.join(MODEL_FILES)}"])
    _check_download(found, model, cache_dir, [*tried, f"the hub {base}: what it sent is broken"])
    return ModelLocation(found, model, revision, "download")


def cached_model(model_id: str, revision: str | None, cache_dir: Path) -> Path | None:
    """The model's complete directory in any of the layouts that versions of ModelScope have used.

    The newest keeps each revision apart; the older ones have one directory for the model, whatever its revision.
    """
    if not _is_hub_id(model_id):
        return None
    newest, *older = _model_folders(model_id, cache_dir)
    snapshots = newest / "snapshots"
    revisions = [snapshots / revision] if revision else sorted(snapshots.glob("*"))
    return next((place for place in (*revisions, *older) if _is_complete(place)), None)


def _model_folders(model_id: str, cache_dir: Path) -> list[Path]:
    """Where versions of ModelScope keep a model: first the newest layout's folder of revisions, then the older ones."""
    owner, name = model_id.split("/")
    bases = (cache_dir / "models", cache_dir, cache_dir / "hub" / "models", cache_dir / "hub")
    names = dict.fromkeys((name, name.replace(".", "___")))
    return [cache_dir / "models" / f"{owner}--{name}", *(base / owner / folder for base in bases for folder in names)]


def _directory(model: str) -> Path | None:
    try:
        directory = Path(model).expanduser()
        return directory if directory.is_dir() else None
    except (OSError, RuntimeError):  # too long, not to be looked at, or the home of nobody
        return None


def _with_scheme(endpoint: str) -> str:
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def _is_hub_id(model: str) -> bool:
    parts = model.split("/")
    return len(parts) == 2 and all(part and part not in (".", "..") and "\\" not in part for part in parts)


def _is_complete(directory: Path) -> bool:
    try:
        return all((directory / name).is_file() for name in MODEL_FILES)
    except OSError:  # not for this user to look at
        return False


def _check_download(directory: Path, model: str, cache_dir: Path, tried: list[str]) -> None:
    from app.vad.models.fsmn.checkpoint import read_checkpoint  # noqa: PLC0415 - brings torch, which the child does not need

    try:
        read_checkpoint(directory, model_id=model)
    except InvalidModel as error:
        # Never to be taken for a model at the next start; what else a user keeps there is not ours.
        for name in MODEL_FILES:
            (directory / name).unlink(missing_ok=True)
        raise _not_found(model, cache_dir, [*tried[:-1], f"{tried[-1]}: {error}"]) from None


def _not_found(model: str, cache_dir: Path, tried: list[str]) -> ModelNotFound:
    lines = [
        f"The model {model} cannot be had. Tried:",
        *(f"  - {attempt}" for attempt in tried),
        "To supply it by hand, either",
        f"  - put its {', '.join(MODEL_FILES)} into a directory and set VAD_MODEL to that directory, or",
        f"  - copy the model into {cache_dir / 'models' / model}, or",
        "  - set MODELSCOPE_ENDPOINT to a mirror that can be reached, or",
        "  - run `fsmn-vad model export DIR` on a connected machine and set VAD_MODEL=DIR here.",
        "For a first look with another model, which needs no download: pip install silero-vad, VAD_MODEL=silero.",
    ]
    return ModelNotFound("\n".join(lines))
