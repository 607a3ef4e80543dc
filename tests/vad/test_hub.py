"""Finding and downloading a model: ModelScope's real client against a hub on the loopback interface."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from app.vad.errors import InvalidModel, ModelNotFound
from app.vad.models.fsmn.checkpoint import read_checkpoint
from app.vad.models.fsmn.family import MODEL_FILES
from app.vad.models.hub import USUAL_PATIENCE, HubModel, HubPatience, ModelHub, ModelPlace, cached_model
from tests.hub_server import HubServer, running_hub

ID, REVISION = "iic/tiny-vad", "v2.0.4"
TINY = HubModel(ID, REVISION, MODEL_FILES, check=read_checkpoint)
NEEDED = {*MODEL_FILES, "configuration.json"}
UNREACHABLE = "http://127.0.0.1:9"

SHORT = HubPatience(stall_s=2.5)
"""Less than the client's attempts take together, which is 3 s; more than a hub takes to answer on a busy machine."""


@pytest.fixture
def model_hub(small_model: Path) -> Iterator[HubServer]:
    with running_hub(small_model) as running:
        yield running


def download(running: HubServer, cache: Path, patience: HubPatience = USUAL_PATIENCE) -> ModelPlace:
    return ModelHub(cache, running.url, patience=patience).find(TINY)


def test_only_the_needed_files_are_downloaded_and_only_once(
    model_hub: HubServer, small_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = download(model_hub, tmp_path)
    assert (first.model_id, first.revision, first.origin) == (ID, REVISION, "download")
    assert model_hub.downloaded == NEEDED
    for name in MODEL_FILES:
        assert (first.path / name).read_bytes() == (small_model / name).read_bytes()
    assert re.search(r"\d+%", capfd.readouterr().err), "a progress bar is shown"
    model_hub.requests.clear()
    again = download(model_hub, tmp_path)
    assert (again.path, again.origin) == (first.path, "cache")
    assert model_hub.requests == []


# ---- how long the hub is waited for


def test_the_promise_of_a_start_without_a_hub() -> None:
    assert USUAL_PATIENCE.connect_s + USUAL_PATIENCE.stall_s < 15 - 2, "the client takes its time to start, too"
    assert USUAL_PATIENCE.address_s * 2 < USUAL_PATIENCE.connect_s, "two dead addresses leave time for a third"


def test_time_that_the_client_takes_to_start_is_not_the_hubs(
    model_hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(2.8); print('what else a start may print')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the child alone
    assert download(model_hub, tmp_path / "cache", SHORT).origin == "download"


def test_a_client_that_does_not_start(model_hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelNotFound, match=r"its client did not start within 0\.3 s\n") as failure:
        download(model_hub, tmp_path / "cache", HubPatience(begin_s=0.3))
    assert "answered" not in str(failure.value)
    assert model_hub.requests == []


def test_a_name_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The system's resolver cannot be made to hang on order: only this one call of it is replaced.
    answered = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        answered.wait(60)
        raise socket.gaierror("gone")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    try:
        with pytest.raises(ModelNotFound, match=r"no answer within 0\.3 s"):
            ModelHub(tmp_path, "http://hub.invalid", patience=HubPatience(connect_s=0.3)).find(TINY)
    finally:
        answered.set()


# ---- what is told


@dataclass(frozen=True)
class Case:
    """A hub that fails, and what is told of it."""

    name: str
    told: str
    """A pattern in the message."""
    hub: Mapping[str, object] = field(default_factory=dict)
    """What is set of the `HubServer`."""
    patience: HubPatience = USUAL_PATIENCE
    files: Mapping[str, bytes] = field(default_factory=dict)
    """In place of its own."""


@dataclass(frozen=True)
class Outcome:
    """How it went."""

    message: str
    hub: HubServer
    cache: Path
    later: ModelPlace | None
    """From the same hub when it had been mended; None where the failure had left nothing in the cache."""
    seconds: float = 0.0
    requests: Sequence[str] = ()
    """Before it had been mended."""
    cached: Path | None = None
    """What was taken for a model then."""
    left: bool = False
    """Whether part of a file was in the cache then."""

    def times(self, part: str) -> int:
        """How often something was asked for."""
        return len([request for request in self.requests if part in request])


LAST = "the hub's last answer for"
STILL = r"stood still for 2\.5 s"
CASES = [
    # What the client says itself is more than a status, and its attempts are used up before it would be ended.
    Case("error", r"\[500\] broken", {"fault": "error"}),
    Case("file-error", r"model\.pt: \[E1002\] \[500\] broken", {"fault": "file-error"}),
    Case("wrong-hash", r"\[E2020\] Hash mismatch for ", {"fault": "wrong-hash"}),
    Case("truncated", rf"{STILL}\n", {"fault": "truncated"}, SHORT),
    Case("stalled", rf"{STILL}\n", {"fault": "stalled"}, SHORT),
    Case("silent", rf"{STILL}; the hub did not answer\n", {"fault": "silent"}, SHORT),
    Case("not-found", r"\[404\] model not found", {"fault": "not-found"}),
    Case("no-file", r"model\.pt: \[E3020\] \[404\]", {"fault": "no-file"}),
    Case("damaged", "not a PyTorch checkpoint", files={"model.pt": b"these are no weights" * 100}),
    # It is ended while it still hopes.
    Case("error-early", rf"{STILL}; {LAST} \S+/repo/files was 500\n", {"fault": "error"}, SHORT),
    Case("file-error-early", rf"{STILL}; {LAST} model\.pt was 500\n", {"fault": "file-error"}, SHORT),
    # Where files lie elsewhere, the addresses are good for whoever knows their query, which is nobody's business.
    Case("signed", rf"{STILL}; {LAST} /objects/0 was 500\n", {"elsewhere": "/objects/0?Signature=secret"}, SHORT),
    # The client's second attempt, which it makes at once, has another answer: what fails is something else.
    Case("made-good", rf"{STILL}\n", {"fault": "stalled", "failures": 1}, SHORT),
]  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, "Future[Outcome]"]:
    """All of them, several at a time and the longest first, for most of it is waiting."""
    with ThreadPoolExecutor(8) as threads:
        slow = {
            name: threads.submit(_fetch_slowly, small_model, tmp_path_factory.mktemp(name), again=name == "again")
            for name in ("slow", "again")
        }
        failing = {
            case.name: threads.submit(_fail, case, small_model, tmp_path_factory.mktemp(case.name)) for case in CASES
        }
    return slow | failing


def _fetch_slowly(model: Path, cache: Path, *, again: bool) -> Outcome:
    """From a hub that is slow but moves; `again`: after a download that stood still when half of a file was there,
    which this hub cannot go on with."""
    with running_hub(model) as hub:
        message, left = "", False
        if again:
            hub.ranges, hub.fault = False, "stalled"
            with pytest.raises(ModelNotFound) as failure:
                download(hub, cache, SHORT)
            message, left = str(failure.value), bool(list(cache.rglob("model.pt.incomplete")))
        hub.fault, hub.pause_s = "slow", 0.7
        return Outcome(message, hub, cache, later=download(hub, cache, SHORT), left=left)


def _fail(case: Case, model: Path, cache: Path) -> Outcome:
    with running_hub(model) as hub:
        good = dict(hub.files)
        hub.files |= case.files
        for name, value in case.hub.items():
            setattr(hub, name, value)
        started = time.monotonic()
        with pytest.raises(ModelNotFound) as failure:
            download(hub, cache, case.patience)
        seconds, requests, cached = time.monotonic() - started, hub.requests[:], cached_model(TINY, cache)
        hub.fault, hub.files, hub.elsewhere = "none", good, ""
        # Where nothing was left, a later download is as any other.
        later = download(hub, cache) if any(path.is_file() for path in cache.rglob("*")) else None
        return Outcome(str(failure.value), hub, cache, later, seconds, requests, cached)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_failed_download_is_told_in_time_and_a_later_one_works(
    case: Case, outcomes: Mapping[str, "Future[Outcome]"]
) -> None:
    outcome = outcomes[case.name].result()
    assert outcome.seconds < 30  # no measurement: what is promised of a start without a hub is half of it
    assert re.search(case.told, outcome.message)
    parts = (
        "Tried:",
        "directory iic/tiny-vad",
        str(outcome.cache),
        outcome.hub.url,
        "VAD_MODEL",
        "MODELSCOPE_ENDPOINT",
    )
    for part in parts:
        assert part in outcome.message
    assert "secret" not in outcome.message
    assert outcome.cached is None
    assert outcome.later is None or outcome.later.origin == "download"


@pytest.mark.slow
def test_a_slow_but_moving_download_succeeds(outcomes: Mapping[str, "Future[Outcome]"]) -> None:
    outcome = outcomes["slow"].result()
    assert outcome.later is not None
    assert outcome.later.origin == "download"
    assert 8 * outcome.hub.pause_s > 2 * SHORT.stall_s, "the whole took longer than a download may stand still"


@pytest.mark.slow
def test_what_an_earlier_start_left_does_not_count_against_a_later_one(
    outcomes: Mapping[str, "Future[Outcome]"],
) -> None:
    outcome = outcomes["again"].result()
    assert "stood still" in outcome.message
    assert outcome.left, "half of the file was there"
    assert outcome.later is not None
    assert outcome.later.origin == "download"
    assert 4 * outcome.hub.pause_s > SHORT.stall_s, "half of it took longer than a download may stand still"


@pytest.mark.slow
def test_a_hub_that_fails_is_asked_again(outcomes: Mapping[str, "Future[Outcome]"]) -> None:
    """As often as its client does by default, though the waits between are shorter."""
    assert outcomes["error"].result().times("/repo/files") == 4
    assert outcomes["file-error"].result().times("FilePath=model.pt") == 6


def test_a_failure_that_no_hub_is_to_blame_for(
    model_hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("modelscope", "modelscope_hub"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('the client is not installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelNotFound) as failure:
        download(model_hub, tmp_path / "cache")
    assert f"the hub {model_hub.url}: the client is not installed\n" in str(failure.value)


# ---- the client's process


def test_the_client_does_without_torch(model_hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the child alone
    assert download(model_hub, tmp_path / "cache").origin == "download"


def test_another_package_named_app_is_not_taken(
    model_hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert download(model_hub, Path("cache")).origin == "download"


def test_the_client_ends_with_its_parent(model_hub: HubServer, tmp_path: Path) -> None:
    model_hub.fault = "stalled"
    code = (
        "import sys; from pathlib import Path; from app.vad.models.hub import ModelHub, HubModel;"
        "ModelHub(Path(sys.argv[1]), sys.argv[2]).find(HubModel('iic/tiny-vad', None, ('model.pt',), check=print))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), model_hub.url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as parent:
        while not list(tmp_path.rglob("model.pt.incomplete")):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
        parent.communicate(timeout=60)  # the child holds the same stderr, which ends when it does
    assert parent.returncode == -signal.SIGKILL


# ---- models whose files lie in folders


FOLDERS = HubModel("owner/folders", None, ("VAD/model.pth.tar", "conf/vad.yaml"), check=lambda _: None, also=())


@pytest.fixture
def folder_hub(tmp_path: Path) -> Iterator[HubServer]:
    for name in ("VAD/model.pth.tar", "VAD/unwanted.bin", "AED/model.pth.tar", "conf/vad.yaml", "configuration.json"):
        path = tmp_path / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    with running_hub(tmp_path / "repository") as running:
        yield running


@pytest.mark.parametrize("also", [(), ("configuration.json",)])
def test_files_in_folders(folder_hub: HubServer, tmp_path: Path, also: tuple[str, ...]) -> None:
    hub, model = ModelHub(tmp_path / "cache", folder_hub.url), replace(FOLDERS, also=also)
    found = hub.find(model)
    assert found.origin == "download"
    assert folder_hub.downloaded == {*model.files, *also}
    for name in folder_hub.downloaded:
        assert (found.path / name).read_text() == f"content of {name}"
    again = hub.find(model)
    assert (again.path, again.origin) == (found.path, "cache")
    assert ModelHub(tmp_path, UNREACHABLE).find(replace(model, model_id=str(found.path))).origin == "directory"


def test_broken_files_in_folders_are_removed(folder_hub: HubServer, tmp_path: Path) -> None:
    seen: list[Path] = []

    def refuse(directory: Path) -> None:
        seen.extend(directory / name for name in FOLDERS.files)
        assert all(path.is_file() for path in seen)
        raise InvalidModel("VAD/model.pth.tar: not to my taste")

    with pytest.raises(ModelNotFound, match=r"the downloaded files are broken: VAD/model\.pth\.tar: not to my taste"):
        ModelHub(tmp_path / "cache", folder_hub.url).find(replace(FOLDERS, check=refuse))
    assert not any(path.exists() for path in seen)
    assert cached_model(FOLDERS, tmp_path / "cache") is None


def test_a_repository_without_a_file_that_is_needed(folder_hub: HubServer, tmp_path: Path) -> None:
    model = replace(FOLDERS, files=(*FOLDERS.files, "VAD/cmvn.ark"))
    with pytest.raises(ModelNotFound, match=r"it has no VAD/cmvn\.ark\n"):
        ModelHub(tmp_path / "cache", folder_hub.url).find(model)


# ---- what needs no download


def test_a_broken_download_takes_nothing_of_the_users_with_it(model_hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "iic" / "tiny-vad"
    folder.mkdir(parents=True)
    (folder / "my-notes.txt").write_text("mine")
    model_hub.files["model.pt"] = b"these are no weights" * 100
    with pytest.raises(ModelNotFound, match="not a PyTorch checkpoint"):
        download(model_hub, tmp_path)
    assert (folder / "my-notes.txt").read_text() == "mine"
    assert list(tmp_path.rglob("model.pt")) == []


def test_no_hub_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="cannot be reached"):
        ModelHub(tmp_path, UNREACHABLE).find(TINY)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:port", "http://[::1", "http://.../", "127.0.0.1:9", "http://"])
def test_an_endpoint_that_is_none(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ModelNotFound, match=r"cannot be reached|not an address"):
        ModelHub(tmp_path, endpoint).find(TINY)


def test_behind_a_proxy_the_client_is_let_try(
    model_hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", model_hub.url)  # the hub answers for any host, so it can stand in for a proxy
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ModelHub(tmp_path, "http://hub.invalid").find(TINY).origin == "download"


def test_a_cache_that_cannot_be_made(model_hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelNotFound, match="cannot be created"):
        download(model_hub, tmp_path / "file" / "cache")


def test_without_leave_to_download_the_hub_is_not_asked(model_hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="was not asked"):
        ModelHub(tmp_path, model_hub.url, allow_download=False).find(TINY)
    assert model_hub.requests == []


@pytest.mark.parametrize(
    "name",
    ["no-such-directory", "../../etc/passwd", "a/b/c", "iic/..", "/nowhere/at/all", "~no-such-user", "x" * 5000],
)
def test_what_is_neither_directory_nor_id(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="not a ModelScope id"):
        ModelHub(tmp_path).find(replace(TINY, model_id=name, revision=None))


def test_a_directory_is_taken_as_it_is(small_model: Path, tmp_path: Path) -> None:
    found = ModelHub(tmp_path).find(replace(TINY, model_id=str(small_model)))
    assert (found.path, found.origin, found.revision) == (small_model, "directory", None)


@pytest.mark.parametrize(
    "place",
    [
        "models/iic/tiny-vad",
        "iic/tiny-vad",
        "hub/models/iic/tiny-vad",
        "hub/iic/tiny-vad",
        "models/iic--tiny-vad/snapshots/v2.0.4",
    ],
)
def test_every_layout_of_the_cache_is_known(tmp_path: Path, place: str) -> None:
    directory = tmp_path / place
    directory.mkdir(parents=True)
    for name in MODEL_FILES[:-1]:
        (directory / name).touch()
    assert cached_model(TINY, tmp_path) is None, "an incomplete one does not count"
    (directory / MODEL_FILES[-1]).touch()
    assert cached_model(TINY, tmp_path) == directory


def test_another_revision_is_another_model(tmp_path: Path) -> None:
    directory = tmp_path / "models/iic--tiny-vad/snapshots/v1.0.0"
    directory.mkdir(parents=True)
    for name in MODEL_FILES:
        (directory / name).touch()
    assert cached_model(TINY, tmp_path) is None
    assert cached_model(replace(TINY, revision=None), tmp_path) == directory


@pytest.mark.reference
def test_the_published_model_is_found_without_a_network(reference: Path) -> None:
    published = replace(TINY, model_id="iic/speech_fsmn_vad_zh-cn-16k-common-pytorch")
    assert ModelHub(reference / "modelscope", UNREACHABLE).find(published).origin == "cache"
