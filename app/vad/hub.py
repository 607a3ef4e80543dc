"""Finding a model: a directory, ModelScope's cache, or a download from the hub.

The cache is looked up without importing the hub's client (which takes longer than loading the model) and without
touching the network. A download runs in a child process, because the client has no way to be stopped and retries by
itself for longer than a start may take: a child that makes no progress for `STALL_S` is killed. What arrived is
checked before it is called a model, and removed when it is broken.
"""

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from app.vad.errors import InvalidModel, ModelNotFound
from app.vad.model_config import MODEL_FILES

DEFAULT_ENDPOINT = "https://www.modelscope.cn"
CONNECT_S = 4.0
"""Longest wait for a connection to the hub."""
STALL_S = 8.0
"""Longest that a download may stand still."""
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
    directory = Path(model).expanduser()
    if directory.is_dir():
        return ModelLocation(directory, directory.resolve().name, None, "directory")
    tried = [f"a directory {directory}: there is none"]
    cached = cached_model(model, revision, cache_dir)
    if cached is not None:
        return ModelLocation(cached, model, revision, "cache")
    tried.append(f"ModelScope's cache {cache_dir}: {model} is not in it")
    if not allow_download:
        raise _not_found(model, cache_dir, [*tried, "the hub was not asked"])
    if not _is_hub_id(model):
        raise _not_found(model, cache_dir, [*tried, "the hub: this is not a ModelScope id (owner/name)"])
    base = endpoint or DEFAULT_ENDPOINT
    try:
        _check_reachable(base)
        _download(model, revision, cache_dir, base)
    except _DownloadFailed as error:
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
    owner, name = model_id.split("/")
    snapshots = cache_dir / "models" / f"{owner}--{name}" / "snapshots"
    newest = [snapshots / revision] if revision else sorted(snapshots.glob("*"))
    bases = (cache_dir / "models", cache_dir, cache_dir / "hub" / "models", cache_dir / "hub")
    older = [base / owner / folder for base in bases for folder in (name, name.replace(".", "___"))]
    return next((place for place in (*newest, *older) if _is_complete(place)), None)


class _DownloadFailed(Exception):
    pass


def _is_hub_id(model: str) -> bool:
    parts = model.split("/")
    return len(parts) == 2 and all(part and part not in (".", "..") and "\\" not in part for part in parts)


def _is_complete(directory: Path) -> bool:
    return all((directory / name).is_file() for name in MODEL_FILES)


def _check_reachable(endpoint: str) -> None:
    parts = urlsplit(endpoint if "//" in endpoint else f"https://{endpoint}")
    port = parts.port or (80 if parts.scheme == "http" else 443)
    if os.environ.get(f"{parts.scheme.upper()}_PROXY") or os.environ.get(f"{parts.scheme}_proxy"):
        return  # the proxy, not this machine, knows whether the hub is there
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as error:
        raise _DownloadFailed(f"cannot be reached ({error.strerror or error})") from None


def _download(model: str, revision: str | None, cache_dir: Path, endpoint: str) -> None:
    cache_dir.mkdir(parents=True, exist_ok=True)
    # As the client has it without MODELSCOPE_CACHE set: absolute, so that child and parent agree.
    environment = {**os.environ, "MODELSCOPE_CACHE": str(cache_dir.resolve()), "MODELSCOPE_ENDPOINT": endpoint}
    command = [sys.executable, "-m", "app.vad.hub", model, revision or ""]
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=None, stdout=subprocess.PIPE)
    try:
        _watch(child, cache_dir)
        status = child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        reason = child.stdout.read().decode(errors="replace").strip() if child.stdout else ""
        if child.stdout:
            child.stdout.close()
    if status != 0:
        raise _DownloadFailed(reason.splitlines()[-1][:300] if reason else f"the download ended with status {status}")


def _watch(child: "subprocess.Popen[bytes]", cache_dir: Path) -> None:
    """Wait for the child while bytes arrive in the cache. Raises when none do for `STALL_S`.

    Only more than ever before is progress: a client that begins anew again and again gets nowhere.
    """
    most, since = -1, time.monotonic()
    while child.poll() is None:
        size = _size_of(cache_dir)
        if size > most:
            most, since = size, time.monotonic()
        elif time.monotonic() - since > STALL_S:
            raise _DownloadFailed(f"the download stood still for {STALL_S:g} s")
        time.sleep(0.1)


def _size_of(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):  # the child renames and removes files meanwhile
            total += path.stat().st_size
    return total


def _check_download(directory: Path, model: str, cache_dir: Path, tried: list[str]) -> None:
    from app.vad.checkpoint import read_checkpoint  # noqa: PLC0415 - brings torch, which the child does not need

    try:
        read_checkpoint(directory, model_id=model)
    except InvalidModel as error:
        # Never to be taken for a model at the next start.
        shutil.rmtree(directory, ignore_errors=True)
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
    ]
    return ModelNotFound("\n".join(lines))


def _run_client(model: str, revision: str) -> int:
    """In the child: ModelScope's own client, its progress bar on stderr, its last word on stdout."""
    from modelscope.hub.snapshot_download import snapshot_download  # noqa: PLC0415 - slow, and needed only here

    # The bar is enough; why it failed comes as the exception.
    logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)
    try:
        snapshot_download(model, revision=revision or None, allow_patterns=list(_PATTERNS))
    except Exception as error:  # noqa: BLE001 - the client has no common base for its errors
        sys.stdout.write(_short(str(error)) or type(error).__name__)
        return 1
    return 0


def _short(message: str) -> str:
    """The client's message without the request and response that it repeats."""
    return " ".join(message.split(" Request:", maxsplit=1)[0].split("\n  Request:", maxsplit=1)[0].split())


if __name__ == "__main__":
    raise SystemExit(_run_client(sys.argv[1], sys.argv[2]))
