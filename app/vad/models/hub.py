"""Finding a model: a directory, ModelScope's cache, or a download from the hub in bounded time.

The cache is looked up without importing the hub's client (which takes longer than loading the model) and without
touching the network. What was downloaded is checked before it is called a model, and removed when it is broken.

The client retries by itself for longer than a start may take, and has no way to be stopped. So it runs in a child
process (`hub_client.py`) that is ended when nothing arrives for `HubPatience.stall_s`; while bytes arrive a download
may take as long as it needs. The child reports each of the hub's answers as it comes, so that a failure is told with
what the hub said, whichever of the two gave up first.
"""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from app.vad.errors import InvalidModel, ModelNotFound

DEFAULT_ENDPOINT = "https://www.modelscope.cn"
_CLIENT = Path(__file__).with_name("hub_client.py")

_RETRIES: Mapping[str, str] = {
    # Settings of the client's own, which the environment may set otherwise. It tries as often as by default, which a
    # line that breaks now and then needs, but waits a second between two attempts and not up to a minute: what the hub
    # says to the last one is then known before `stall_s` is over.
    "MODELSCOPE_REPO_TREE_PAGE_RETRY_MAX_DELAY_SECONDS": "1",
    "MODELSCOPE_DOWNLOAD_RETRY_MAX_DELAY_SECONDS": "1",
    # These waits cannot be shortened: they double from half a second, so three retries take 3 s and five take 15 s.
    "MODELSCOPE_API_MAX_RETRIES": "3",
}


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
    """Paths below the model's directory without which it is no model."""
    check: Callable[[Path], object]
    """Raises `InvalidModel` for a directory whose files are broken."""
    also: tuple[str, ...] = ("configuration.json",)
    """Downloaded too if the repository has them."""


@dataclass(frozen=True, slots=True)
class HubPatience:
    """How long the hub is waited for, in seconds.

    A start without a hub fails in less than 15 s: `connect_s`, `stall_s` and what the client takes to start (a fraction
    of a second on a machine that is not busy with something else) stay below.
    """

    connect_s: float = 5.0
    """Longest wait for a connection, the name's look-up and all its addresses together: a resolver asks a second time
    after 5 s, and one that has not answered by then seldom does."""
    address_s: float = 2.0
    """Longest wait for one of its addresses: a lost first packet is sent again after 1 s. Short enough that two dead
    addresses leave time for a third."""
    stall_s: float = 7.0
    """Longest that a download may stand still: more than the client waits between attempts, and as much as the 15 s
    leave."""
    begin_s: float = 60.0
    """Longest that the client may take to start. That is this machine's time, not the hub's, and no judgement on it:
    a start of the service on a machine so slow takes minutes anyway."""


USUAL_PATIENCE = HubPatience()


@dataclass(frozen=True, slots=True)
class ModelHub:
    """ModelScope's cache on this machine, and the hub behind it."""

    cache_dir: Path
    endpoint: str | None = None
    """A mirror; None: the hub itself."""
    allow_download: bool = True
    patience: HubPatience = USUAL_PATIENCE

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
        if not _is_hub_id(model.model_id):
            raise self._not_found(model, [*tried, "the hub: this is not a ModelScope id (owner/name)"])
        endpoint = self.endpoint or DEFAULT_ENDPOINT
        endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
        try:
            found = self._download(model, endpoint)
        except (_DownloadFailed, InvalidModel) as error:
            raise self._not_found(model, [*tried, f"the hub {endpoint}: {error}"]) from None
        return ModelPlace(found, model.model_id, model.revision, "download")

    def _download(self, model: HubModel, endpoint: str) -> Path:
        """Download into the cache and check what came; the client has checked it against the hub's listing.

        Raises `_DownloadFailed`, `InvalidModel`.
        """
        folders = _model_folders(model.model_id, self.cache_dir)
        _check_reachable(endpoint, self.patience)
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _DownloadFailed(f"{self.cache_dir} cannot be created ({error.strerror or error})") from None
        environment = {
            **_RETRIES,
            **os.environ,
            # As the client has it without MODELSCOPE_CACHE set: absolute, so that child and parent agree.
            "MODELSCOPE_CACHE": str(self.cache_dir.resolve()),
            "MODELSCOPE_ENDPOINT": endpoint,
        }
        # By path, not `-m`: that would take another package named `app` where the service happens to be started.
        command = [sys.executable, str(_CLIENT), model.model_id, model.revision or "", *model.files, *model.also]
        _run_client(command, environment, folders, self.patience)
        found = cached_model(model, self.cache_dir)
        if found is None:
            places = _possible_places(model, self.cache_dir)
            missing = [name for name in model.files if not any(holds_files(place, [name]) for place in places)]
            raise _DownloadFailed(f"it has no {', '.join(missing)}")
        try:
            model.check(found)
        except InvalidModel as error:
            # Never to be taken for a model at the next start; what else a user keeps there is not ours.
            for name in model.files:
                (found / name).unlink(missing_ok=True)
            raise InvalidModel(f"the downloaded files are broken: {error}") from None
        return found

    def _not_found(self, model: HubModel, tried: Sequence[str]) -> ModelNotFound:
        lines = [
            f"The model {model.model_id} is not available. Tried:",
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


# ---- directories and the cache


def as_directory(model: str) -> Path | None:
    """The directory that `model` names, if there is one."""
    try:
        directory = Path(model).expanduser()
        return directory if directory.is_dir() else None
    except (OSError, RuntimeError):  # too long, not to be looked at, or the home of nobody
        return None


def holds_files(directory: Path, names: Sequence[str]) -> bool:
    """Whether a directory has all of these files."""
    try:
        return all((directory / name).is_file() for name in names)
    except OSError:  # not for this user to look at
        return False


def cached_model(model: HubModel, cache_dir: Path) -> Path | None:
    """The model's complete directory in any of the layouts that versions of ModelScope have used."""
    if not _is_hub_id(model.model_id):
        return None
    return next((place for place in _possible_places(model, cache_dir) if holds_files(place, model.files)), None)


def _possible_places(model: HubModel, cache_dir: Path) -> list[Path]:
    """The directories that may be the model's. The newest layout keeps each revision apart; the older ones have one
    directory for the model, whatever its revision."""
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


def _is_hub_id(model: str) -> bool:
    """Whether it has the form of a ModelScope id, `owner/name`."""
    parts = model.split("/")
    return len(parts) == 2 and all(part and part not in (".", "..") and "\\" not in part for part in parts)


# ---- the download


class _DownloadFailed(Exception):
    """The hub did not give the model; the message says why in a few words."""


def _check_reachable(endpoint: str, patience: HubPatience) -> None:
    """Raise `_DownloadFailed` when nothing answers at the endpoint in time."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError as error:
        raise _DownloadFailed(f"this is not an address ({error})") from None
    if getproxies().keys() & {parts.scheme, "all"} and not proxy_bypass(host):
        return  # the proxy, not this machine, knows whether the hub is there
    result: queue.SimpleQueue[str] = queue.SimpleQueue()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=patience.address_s).close()
            result.put("")
        except (OSError, UnicodeError) as error:  # UnicodeError: what cannot be a host's name
            result.put(str(getattr(error, "strerror", None) or error))

    # Looking up a name has no time limit of its own, so it is waited for from outside.
    threading.Thread(target=connect, daemon=True).start()
    try:
        reason = result.get(timeout=patience.connect_s)
    except queue.Empty:
        reason = f"no answer within {patience.connect_s:g} s"
    if reason:
        raise _DownloadFailed(f"cannot be reached ({reason})")


@dataclass(slots=True)
class _ClientReports:
    """What the child has reported so far; see `hub_client.py`."""

    begun: threading.Event = field(default_factory=threading.Event)
    failure: str = ""
    answers: dict[str, int] = field(default_factory=dict)
    """The status last given for each thing asked for, the latest one last."""

    def listen(self, lines: Iterable[bytes]) -> None:
        """Until the child has ended."""
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:  # something else that has found the pipe, such as a site's own start
                continue
            match message:
                case {"begun": True}:
                    self.begun.set()
                case {"failure": str(reason)}:
                    self.failure = reason
                case {"status": int(status), "of": str(asked_for)}:
                    self.answers.pop(asked_for, None)
                    self.answers[asked_for] = status

    def explain(self, reason: str) -> str:
        """A reason with the answer of the hub that it may be due to, unless it says so itself."""
        if not self.answers:
            return f"{reason}; the hub did not answer" if self.begun.is_set() else reason
        refused = [(status, asked_for) for asked_for, status in self.answers.items() if status >= 400]
        if not refused or str(refused[-1][0]) in reason:
            return reason
        status, asked_for = refused[-1]
        return f"{reason}; the hub's last answer for {asked_for} was {status}"


def _run_client(
    command: Sequence[str], environment: Mapping[str, str], folders: Sequence[Path], patience: HubPatience
) -> None:
    """Run the client to its end, or until nothing has arrived in `folders` for too long. Raises `_DownloadFailed`."""
    reports, gave_up = _ClientReports(), ""
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        listening = threading.Thread(target=reports.listen, args=(child.stdout,), daemon=True)
        listening.start()
        try:
            gave_up = _watch(child, reports.begun, folders, patience)
        finally:
            child.kill()
            listening.join()  # its pipe ends with it; then all it had to say has been heard
    if gave_up or child.returncode != 0:
        reason = gave_up or reports.failure or f"the download ended with status {child.returncode}"
        raise _DownloadFailed(reports.explain(reason))


def _watch(
    child: "subprocess.Popen[bytes]", begun: threading.Event, folders: Sequence[Path], patience: HubPatience
) -> str:
    """Wait for the child while bytes arrive; return why not any longer, or nothing when it has ended.

    Only more than ever before is progress, for a client that begins anew again and again gets nowhere. Once it may:
    where a hub does not resume, what an earlier start left is thrown away.
    """
    most, since, begun_anew = _size_of(folders), time.monotonic(), False
    while child.poll() is None and not begun.wait(0.05):
        if time.monotonic() - since > patience.begin_s:
            return f"its client did not start within {patience.begin_s:g} s"
    since = time.monotonic()
    while child.poll() is None:
        size = _size_of(folders)
        if size < most and not begun_anew:
            most, since, begun_anew = size, time.monotonic(), True
        elif size > most:
            most, since = size, time.monotonic()
        elif time.monotonic() - since > patience.stall_s:
            return f"the download stood still for {patience.stall_s:g} s"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.1)
    return ""


def _size_of(folders: Sequence[Path]) -> int:
    total = 0
    for path in (path for folder in folders for path in folder.rglob("*")):
        with contextlib.suppress(OSError):  # the child renames and removes files meanwhile
            total += path.stat().st_size
    return total
