"""Finding a model: a directory, ModelScope's cache, or a download from the hub.

The cache is looked up without importing the hub's client (which takes longer than loading the model) and without
touching the network. What was downloaded is checked before it is called a model, and removed when it is broken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.vad.errors import InvalidModel, ModelNotFound
from app.vad.models.hub.download import USUAL_PATIENCE, DownloadFailed, HubPatience, download

DEFAULT_ENDPOINT = "https://www.modelscope.cn"


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a model's files are."""

    path: Path
    """A directory, or the one file that holds it all."""
    model_id: str
    """ModelScope id, the package's name, or the directory's."""
    revision: str | None
    origin: Literal["directory", "cache", "download", "package"]


@dataclass(frozen=True, slots=True)
class HubModel:
    """What a family wants of a repository on the hub."""

    model_id: str
    revision: str | None
    files: tuple[str, ...]
    """Paths below the model's directory without which it is none."""
    check: Callable[[Path], object]
    """Raises `InvalidModel` for a directory whose files are broken."""
    also: tuple[str, ...] = ("configuration.json",)
    """Taken along when they are there."""


@dataclass(frozen=True, slots=True)
class Hub:
    """ModelScope's cache on this machine, and the hub behind it."""

    cache_dir: Path
    endpoint: str | None = None
    """A mirror; None: the hub itself."""
    allow_download: bool = True
    patience: HubPatience = USUAL_PATIENCE
    """How long the hub is waited for."""

    def find(self, model: HubModel) -> ModelPlace:
        """The model's directory: `model_id` itself, else ModelScope's cache, else a download into that cache.

        Raises `ModelNotFound` with one message that says what was tried and how to supply the model by hand.
        """
        directory = as_directory(model.model_id)
        if directory is not None:
            return ModelPlace(directory, directory.resolve().name, None, "directory")
        tried = [f"a directory {model.model_id}: there is none"]
        cached = cached_model(model, self.cache_dir)
        if cached is not None:
            return ModelPlace(cached, model.model_id, model.revision, "cache")
        tried.append(f"ModelScope's cache {self.cache_dir}: {model.model_id} is not in it")
        if not self.allow_download:
            raise self._not_found(model, [*tried, "the hub was not asked"])
        if not is_hub_id(model.model_id):
            raise self._not_found(model, [*tried, "the hub: this is not a ModelScope id (owner/name)"])
        return ModelPlace(self._download(model, tried), model.model_id, model.revision, "download")

    def _download(self, model: HubModel, tried: list[str]) -> Path:
        base = _with_scheme(self.endpoint or DEFAULT_ENDPOINT)
        places = _model_folders(model.model_id, self.cache_dir)
        try:
            download(
                model.model_id,
                model.revision,
                (*model.files, *model.also),
                endpoint=base,
                cache_dir=self.cache_dir,
                places=places,
                patience=self.patience,
            )
        except DownloadFailed as error:
            raise self._not_found(model, [*tried, f"the hub {base}: {error}"]) from None
        found = cached_model(model, self.cache_dir)
        if found is None:
            missing = _missing_files(model, self.cache_dir)
            raise self._not_found(model, [*tried, f"the hub {base}: it has no {', '.join(missing)}"])
        try:
            model.check(found)
        except InvalidModel as error:
            # Never to be taken for a model at the next start; what else a user keeps there is not ours.
            for name in model.files:
                (found / name).unlink(missing_ok=True)
            raise self._not_found(model, [*tried, f"the hub {base}: what it sent is broken: {error}"]) from None
        return found

    def _not_found(self, model: HubModel, tried: Sequence[str]) -> ModelNotFound:
        lines = [
            f"The model {model.model_id} cannot be had. Tried:",
            *(f"  - {attempt}" for attempt in tried),
            "To supply it by hand, either",
            f"  - put its {', '.join(model.files)} into a directory and set VAD_MODEL to that directory",
            "    (or list the directory in VAD_MODELS), or",
            f"  - copy the model into {self.cache_dir / 'models' / model.model_id}, or",
            "  - set MODELSCOPE_ENDPOINT to a mirror that can be reached, or",
            f"  - run `fsmn-vad model export {model.model_id} DIR` on a connected machine and set VAD_MODEL=DIR here.",
            "Another model, for a first look, needs no download: VAD_MODEL=silero, with the package silero-vad",
            "(pip install silero-vad; in a clone, make install EXTRAS=silero).",
        ]
        return ModelNotFound("\n".join(lines))


def cached_model(model: HubModel, cache_dir: Path) -> Path | None:
    """The model's complete directory in any of the layouts that versions of ModelScope have used.

    The newest keeps each revision apart; the older ones have one directory for the model, whatever its revision.
    """
    if not is_hub_id(model.model_id):
        return None
    return next((place for place in _possible_places(model, cache_dir) if holds_files(place, model.files)), None)


def _missing_files(model: HubModel, cache_dir: Path) -> list[str]:
    """Those that are not in any place where the cache could have them."""
    places = _possible_places(model, cache_dir)
    return [name for name in model.files if not any(holds_files(place, [name]) for place in places)]


def _possible_places(model: HubModel, cache_dir: Path) -> list[Path]:
    """The directories that may be the model's, whether or not they are there."""
    newest, *older = _model_folders(model.model_id, cache_dir)
    snapshots = newest / "snapshots"
    revisions = [snapshots / model.revision] if model.revision else sorted(snapshots.glob("*"))
    return [*revisions, *older]


def _model_folders(model_id: str, cache_dir: Path) -> list[Path]:
    """Where versions of ModelScope keep a model: first the newest layout's folder of revisions, then the older ones."""
    owner, name = model_id.split("/")
    bases = (cache_dir / "models", cache_dir, cache_dir / "hub" / "models", cache_dir / "hub")
    names = dict.fromkeys((name, name.replace(".", "___")))
    return [cache_dir / "models" / f"{owner}--{name}", *(base / owner / folder for base in bases for folder in names)]


def as_directory(model: str) -> Path | None:
    """The directory that `model` names, if there is one."""
    try:
        directory = Path(model).expanduser()
        return directory if directory.is_dir() else None
    except (OSError, RuntimeError):  # too long, not to be looked at, or the home of nobody
        return None


def _with_scheme(endpoint: str) -> str:
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def is_hub_id(model: str) -> bool:
    """Whether it has the form of a ModelScope id, `owner/name`."""
    parts = model.split("/")
    return len(parts) == 2 and all(part and part not in (".", "..") and "\\" not in part for part in parts)


def holds_files(directory: Path, names: Sequence[str]) -> bool:
    """Whether a directory has all of these files."""
    try:
        return all((directory / name).is_file() for name in names)
    except OSError:  # not for this user to look at
        return False
