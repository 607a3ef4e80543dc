"""Shared fixtures: reference data, a model, a real server over a real socket.

Whatever takes long to import is imported by the fixtures that use it: the process that only hands tests out to others
reads this file, too.
"""

import gc
import json
import os
import signal
import ssl
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from tests.account import Account
from tests.audio.ffmpegs import AVAILABLE, EACH
from tests.signals import bursts
from tools import reference_data

if TYPE_CHECKING:
    from app.vad.models.fsmn.checkpoint import Checkpoint
    from app.vad.models.fsmn.network import FsmnScorer
    from tests.server import RunningServer

# torch's threads wait without turning round, here and in what is started from here: where others want the cores, too,
# waiting takes ten times the processor time of the work. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The command line speaks the reader's language; tests read English.
os.environ["LANGUAGE"] = "en"

ROOT = Path(__file__).resolve().parent.parent
MODEL_ID = "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"

SLOW_MODULES = (
    "tests/accuracy/test_run.py",
    "tests/api/test_connections.py",
    "tests/api/test_firered.py",
    "tests/api/test_misfortune.py",
    "tests/api/test_overload.py",
    "tests/api/test_pyannote.py",
    "tests/attacks/test_decoding.py",
    "tests/attacks/test_http.py",
    "tests/audio/test_clock.py",
    "tests/audio/test_formats.py",
    "tests/audio/test_truncated.py",
    "tests/batch/test_crashes.py",
    "tests/batch/test_killed.py",
    "tests/batch/test_run.py",
    "tests/cli/test_pipes.py",
    "tests/cli/test_stream.py",
    "tests/doors/test_answers.py",
    "tests/doors/test_refusals.py",
    "tests/doors/test_ways.py",
    "tests/engine/test_ladder.py",
    "tests/field/test_mp3.py",
    "tests/field/test_wav.py",
    "tests/fuzz/test_decoders.py",
    "tests/live/test_backlog.py",
    "tests/live/test_batching.py",
    "tests/live/test_changes.py",
    "tests/live/test_containers.py",
    "tests/live/test_golden.py",
    "tests/live/test_limits.py",
    "tests/live/test_realtime.py",
    "tests/live/test_resume.py",
    "tests/live/test_shutdown.py",
    "tests/live/test_state.py",
    "tests/test_adapters.py",
    "tests/test_examples.py",
    "tests/test_fallback_model.py",
    "tests/test_recipes.py",
    "tests/toy/test_plugin.py",
    "tests/vad/test_changing_options.py",
    "tests/vad/test_firered.py",
    "tests/vad/test_firered_golden.py",
    "tests/vad/test_fusion.py",
    "tests/vad/test_golden.py",
    "tests/vad/test_hub.py",
    "tests/vad/test_pyannote.py",
    "tests/vad/test_pyannote_golden.py",
    "tests/vad/test_silero.py",
    "tests/vad/test_silero_golden.py",
)
"""Modules whose matter is processes, minutes of audio or many cases: all of their tests are marked `slow`."""
BROWSER = ROOT / "tests" / "browser"
PEER_OVER_RECORDINGS = {"peer", "reference"}
"""Fixtures of tests in which another package hears minutes of audio beside the service: those are marked `full`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu", action="store_true", help="tell what each file of tests costs (tests/account.py)")


def pytest_configure(config: pytest.Config) -> None:
    """What is started from here can be interrupted, also where pytest itself runs in the background of a script: a
    shell starts such commands with Ctrl-C ignored, and whatever they start inherits that."""
    if config.getoption("--cpu"):
        config.pluginmanager.register(Account(config))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """No example of Hypothesis fails by the time it took: a machine may be busy. Said before tests are collected, for
    their own settings begin with these; not in the process that only hands tests out."""
    if hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None):
        import hypothesis

        hypothesis.settings.register_profile("tests", deadline=None)
        hypothesis.settings.load_profile("tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """All tests of browsers are `full`: where those are not wanted, none of their files needs to be imported."""
    return True if "not full" in config.option.markexpr and collection_path == BROWSER else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, and let the long modules begin: they must not be left to one process at the end."""
    slow = {ROOT / module for module in SLOW_MODULES}
    for item in items:
        if item.path in slow:
            item.add_marker(pytest.mark.slow)
        if set(getattr(item, "fixturenames", ())) >= PEER_OVER_RECORDINGS:
            item.add_marker(pytest.mark.full)
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Thousands of tests and all modules are there to stay: Python need not look through them again and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """End what commands were forked from, if any were: a child's time counts when it has ended."""
    if forked := sys.modules.get("tests.forked"):
        forked.end()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Give back what only cycles hold while all modules are there: resamplers that Python finds when it ends are told
    as leaks, pages of them behind the last line."""
    gc.unfreeze()
    gc.collect()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what the run has cost, which the clock of a busy machine does not."""
    spent = sum(os.times()[:4])  # of this process, and of children that have ended, with theirs
    terminalreporter.write_line(f"{spent:.0f} s of processor time, children included")


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _certificates_read_once() -> Iterator[None]:
    """To read the world's certificates takes longer than most requests here, and each HTTP client reads them anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Where reference data would be, whether or not it is there."""
    return reference_data.reference_folder()


@pytest.fixture(scope="session")
def reference(reference_folder: Path) -> Path:
    """The folder of reference data: audio, golden segments, the published model."""
    if not (reference_folder / "golden" / "offline.json").is_file():
        pytest.skip("reference data is not here (make golden, or set VAD_REFERENCE_DATA to its folder)")
    return reference_folder


@pytest.fixture(scope="session")
def published_model(reference: Path) -> Path:
    """The published model's directory."""
    directory = reference / "modelscope" / "models" / MODEL_ID
    if not (directory / "model.pt").is_file():
        pytest.skip("the published model is not among the reference data")
    return directory


@pytest.fixture(scope="session")
def published_checkpoint(published_model: Path) -> "Checkpoint":
    """The published model, read."""
    from app.vad.models.fsmn.checkpoint import read_checkpoint

    return read_checkpoint(published_model)


@pytest.fixture(scope="session")
def published_scorer(published_checkpoint: "Checkpoint") -> "FsmnScorer":
    """The published model, ready to score."""
    return _scorer(published_checkpoint)


@pytest.fixture(scope="session")
def golden_cases(reference: Path) -> list[dict[str, Any]]:
    """Audio, options and exact segments of the reference implementation."""
    cases: list[dict[str, Any]] = json.loads((reference / "golden" / "offline.json").read_text())
    return cases


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model directory that hears loud sound as speech."""
    from tests.small_checkpoint import write_small_checkpoint

    return write_small_checkpoint(tmp_path_factory.mktemp("small-model"), sample_rate=16_000)


@pytest.fixture(scope="session")
def small_scorer(small_model: Path) -> "FsmnScorer":
    """The tiny model, ready to score."""
    from app.vad.models.fsmn.checkpoint import read_checkpoint

    return _scorer(read_checkpoint(small_model))


def _scorer(checkpoint: "Checkpoint") -> "FsmnScorer":
    import torch

    from app.vad.models.fsmn.network import FsmnScorer

    return FsmnScorer(checkpoint, torch.device("cpu"))


@pytest.fixture(scope="session")
def speech_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 s of 16 kHz WAV: loud from 2 to 4 s and from 6 to 8 s."""
    path = tmp_path_factory.mktemp("audio") / "bursts.wav"
    soundfile.write(path, bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]), 16_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def server(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[RunningServer]":
    """A real server with the tiny model; a module's tests share it, so they must not change its state."""
    from tests.server import local_server

    with local_server(small_model, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def published_server(published_model: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[RunningServer]":
    """A real server with the published model."""
    from tests.server import local_server

    with local_server(published_model, tmp_path_factory.mktemp("published-server")) as running:
        yield running


@pytest.fixture(params=EACH)
def each_ffmpeg(request: pytest.FixtureRequest) -> Path:
    """Every ffmpeg at hand."""
    if request.param not in AVAILABLE:
        pytest.skip(f"the {request.param} ffmpeg is not installed")
    return AVAILABLE[request.param]


@pytest.fixture
def noise() -> np.random.Generator:
    """Seeded randomness."""
    return np.random.default_rng(7)
