"""Finding and downloading a model: ModelScope's real client against a hub on the loopback interface."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import app.vad.models.hub.download as downloading
from app.vad.errors import ModelNotFound
from app.vad.models.fsmn.config import MODEL_FILES
from app.vad.models.hub.find import ModelLocation, cached_model, find_model
from tests.hub_server import Fault, Hub, running_hub

ID, REVISION = "iic/tiny-vad", "v2.0.4"
NEEDED = {*MODEL_FILES, "configuration.json"}


@pytest.fixture
def model_hub(small_model: Path) -> Iterator[Hub]:
    with running_hub(small_model) as running:
        yield running


def download(running: Hub, cache: Path) -> ModelLocation:
    return find_model(ID, REVISION, cache_dir=cache, endpoint=running.url)


def test_only_the_needed_files_are_downloaded_and_only_once(
    model_hub: Hub, small_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = download(model_hub, tmp_path)
    assert (first.model_id, first.revision, first.origin) == (ID, REVISION, "download")
    assert model_hub.downloaded == NEEDED
    for name in MODEL_FILES:
        assert (first.directory / name).read_bytes() == (small_model / name).read_bytes()
    assert re.search(r"\d+%", capfd.readouterr().err), "a progress bar is shown"
    model_hub.requests.clear()
    again = download(model_hub, tmp_path)
    assert (again.directory, again.origin) == (first.directory, "cache")
    assert model_hub.requests == []


def test_a_slow_but_moving_download_succeeds(model_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_hub.fault = "slow"
    model_hub.pause_s = 0.6
    monkeypatch.setattr(downloading, "STALL_S", 4.0)  # the whole takes longer
    assert download(model_hub, tmp_path).origin == "download"


@pytest.mark.slow
def test_what_an_earlier_start_left_does_not_count_against_a_later_one(
    model_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_hub.ranges = False
    model_hub.fault = "stalled"
    monkeypatch.setattr(downloading, "STALL_S", 3.0)
    with pytest.raises(ModelNotFound, match="stood still"):
        download(model_hub, tmp_path)
    assert list(tmp_path.rglob("model.pt.incomplete")), "half of the file is there, and cannot be resumed"
    model_hub.fault = "slow"
    model_hub.pause_s = 0.9  # half of the file takes longer than a download may stand still
    assert download(model_hub, tmp_path).origin == "download"


def test_the_client_does_without_torch(model_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the child alone
    assert download(model_hub, tmp_path / "cache").origin == "download"


def test_another_package_named_app_is_not_taken(
    model_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert download(model_hub, Path("cache")).origin == "download"


def test_a_broken_download_takes_nothing_of_the_users_with_it(model_hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "iic" / "tiny-vad"
    folder.mkdir(parents=True)
    (folder / "my-notes.txt").write_text("mine")
    model_hub.files["model.pt"] = b"these are no weights" * 100
    with pytest.raises(ModelNotFound, match="not a PyTorch checkpoint"):
        download(model_hub, tmp_path)
    assert (folder / "my-notes.txt").read_text() == "mine"
    assert list(tmp_path.rglob("model.pt")) == []


def test_the_client_ends_with_its_parent(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.fault = "stalled"
    code = (
        "import sys; from pathlib import Path; from app.vad.models.hub.find import find_model;"
        "find_model('iic/tiny-vad', None, cache_dir=Path(sys.argv[1]), endpoint=sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path), model_hub.url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as parent:
        while not list(tmp_path.rglob("model.pt.incomplete")):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
        parent.communicate(timeout=20)  # the child holds the same stderr, which ends when it does
    assert parent.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("truncated", "stood still"),
        ("stalled", "stood still"),
        ("wrong-hash", "Hash mismatch"),
        ("not-found", "404"),
        ("no-file", "model.pt"),
        ("error", "500"),
        ("damaged", "not a PyTorch checkpoint"),
    ],
)
def test_a_failed_download_is_told_in_time_and_a_later_one_works(
    model_hub: Hub, tmp_path: Path, fault: Fault, told: str
) -> None:
    good = dict(model_hub.files)
    if fault == "damaged":
        model_hub.files["model.pt"] = b"these are no weights" * 100
    model_hub.fault = fault
    started = time.monotonic()
    with pytest.raises(ModelNotFound) as failure:
        download(model_hub, tmp_path)
    assert time.monotonic() - started < 15  # the promise of a start without a hub, not a measurement
    message = str(failure.value)
    assert told in message
    for part in ("Tried:", "directory iic/tiny-vad", str(tmp_path), model_hub.url, "VAD_MODEL", "MODELSCOPE_ENDPOINT"):
        assert part in message
    assert cached_model(ID, REVISION, tmp_path) is None
    model_hub.fault, model_hub.files = "none", good
    assert download(model_hub, tmp_path).origin == "download"


def test_no_hub_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="cannot be reached"):
        find_model(ID, REVISION, cache_dir=tmp_path, endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:port", "http://[::1", "http://.../", "127.0.0.1:9", "http://"])
def test_an_endpoint_that_is_none(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ModelNotFound, match=r"cannot be reached|not an address"):
        find_model(ID, REVISION, cache_dir=tmp_path, endpoint=endpoint)


def test_a_name_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The system's resolver cannot be made to hang on order: only this one call of it is replaced.
    answered = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        answered.wait(60)
        raise socket.gaierror("gone")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    monkeypatch.setattr(downloading, "CONNECT_S", 0.3)
    try:
        with pytest.raises(ModelNotFound, match="no answer within"):
            find_model(ID, REVISION, cache_dir=tmp_path, endpoint="http://hub.invalid")
    finally:
        answered.set()


def test_behind_a_proxy_the_client_is_let_try(model_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", model_hub.url)  # the hub answers for any host, so it can stand in for a proxy
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert find_model(ID, REVISION, cache_dir=tmp_path, endpoint="http://hub.invalid").origin == "download"


def test_a_cache_that_cannot_be_made(model_hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelNotFound, match="cannot be made"):
        download(model_hub, tmp_path / "file" / "cache")


def test_without_leave_to_download_the_hub_is_not_asked(model_hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="was not asked"):
        find_model(ID, REVISION, cache_dir=tmp_path, endpoint=model_hub.url, allow_download=False)
    assert model_hub.requests == []


@pytest.mark.parametrize(
    "name",
    ["no-such-directory", "../../etc/passwd", "a/b/c", "iic/..", "/nowhere/at/all", "~no-such-user", "x" * 5000],
)
def test_what_is_neither_directory_nor_id(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="not a ModelScope id"):
        find_model(name, None, cache_dir=tmp_path)


def test_a_directory_is_taken_as_it_is(small_model: Path, tmp_path: Path) -> None:
    found = find_model(str(small_model), REVISION, cache_dir=tmp_path)
    assert (found.directory, found.origin, found.revision) == (small_model, "directory", None)


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
    assert cached_model(ID, REVISION, tmp_path) is None, "an incomplete one does not count"
    (directory / MODEL_FILES[-1]).touch()
    assert cached_model(ID, REVISION, tmp_path) == directory


def test_another_revision_is_another_model(tmp_path: Path) -> None:
    directory = tmp_path / "models/iic--tiny-vad/snapshots/v1.0.0"
    directory.mkdir(parents=True)
    for name in MODEL_FILES:
        (directory / name).touch()
    assert cached_model(ID, REVISION, tmp_path) is None
    assert cached_model(ID, None, tmp_path) == directory


@pytest.mark.reference
def test_the_published_model_is_found_without_a_network(reference: Path) -> None:
    cache = reference / "modelscope"
    found = find_model(
        "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch", REVISION, cache_dir=cache, endpoint="http://127.0.0.1:9"
    )
    assert found.origin == "cache"
