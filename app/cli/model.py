"""`fsmn-vad model`."""

import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from app.cli.settings import read_settings_or_say
from app.config import Settings
from app.vad.errors import ModelError, ModelNotFound

NO_MODEL_STATUS = 3
_STDOUT, _STDERR = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False)


def path() -> int:
    """Print where the model is."""
    return _with_settings(lambda settings: _STDOUT.print(str(_find(settings, download=False)), markup=False))


def download() -> int:
    """Get the model if it is not here."""
    return _with_settings(lambda settings: _STDOUT.print(str(_find(settings, download=True)), markup=False))


def verify() -> int:
    """Read and check the model."""
    return _with_settings(_verify)


def export(directory: Path) -> int:
    """Bundle the model."""
    return _with_settings(lambda settings: _export(settings, directory))


def _with_settings(command: Callable[[Settings], None]) -> int:
    settings = read_settings_or_say(_STDERR)
    if settings is None:
        return 2
    try:
        command(settings)
    except ModelError as error:
        _STDERR.print(str(error), style="red", markup=False, soft_wrap=True)
        return NO_MODEL_STATUS
    except OSError as error:
        _STDERR.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    return 0


def _find(settings: Settings, *, download: bool) -> Path:
    from app.vad.models.hub.find import find_model
    from app.vad.models.silero.checkpoint import NAMES, silero_file

    if settings.model in NAMES:
        return silero_file()
    return find_model(
        settings.model,
        settings.model_revision,
        cache_dir=settings.modelscope_cache,
        endpoint=settings.modelscope_endpoint,
        allow_download=download,
    ).directory


def _verify(settings: Settings) -> None:
    from app.vad.models.fsmn.checkpoint import read_checkpoint
    from app.vad.models.silero.checkpoint import NAMES, read_silero

    if settings.model in NAMES:
        weights = read_silero(settings.model, settings.model_fingerprint or None)
        _STDOUT.print(f"{weights.model_id} {weights.version}: sound\nfingerprint {weights.fingerprint}", markup=False)
        return
    directory = _find(settings, download=False)
    checkpoint = read_checkpoint(
        directory, model_id=settings.model, expected_fingerprint=settings.model_fingerprint or None
    )
    frontend, encoder = checkpoint.config.frontend, checkpoint.config.encoder
    _STDOUT.print(f"{directory}: sound", markup=False)
    _STDOUT.print(f"fingerprint {checkpoint.fingerprint}")
    _STDOUT.print(f"{frontend.sample_rate} Hz, {frontend.n_mels} mel bins, {encoder.fsmn_layers} FSMN layers")


def _export(settings: Settings, directory: Path) -> None:
    from app.vad.models.fsmn.checkpoint import read_checkpoint
    from app.vad.models.fsmn.config import MODEL_FILES
    from app.vad.models.silero.checkpoint import NAMES, PACKAGE

    if settings.model in NAMES:
        raise ModelNotFound(f"{settings.model} has no model directory: its weights are in the Python package {PACKAGE}")
    source = _find(settings, download=True)
    read_checkpoint(source, model_id=settings.model)
    directory.mkdir(parents=True, exist_ok=True)
    for name in (*MODEL_FILES, "configuration.json"):
        if (source / name).exists():
            shutil.copyfile(source / name, directory / name)
    _STDOUT.print(f"Start with VAD_MODEL={directory.resolve()}", markup=False)
