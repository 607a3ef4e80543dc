"""Pipes, FIFOs and standard input as what is heard: in processes of their own, with real pipes between them."""

import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.audio.ffmpegs import encode
from tests.cli.calling import Ended, call, environment
from tests.forked import ROOT, Forked
from tests.server import RunningServer
from tests.signals import bursts
from tests.waiting import eventually

LIMIT_S = 30


@contextmanager
def written(content: bytes, into: int | Path) -> Iterator[None]:
    """Write this in a thread, to a pipe's end or to a FIFO, which is opened once; then close it."""

    def write() -> None:
        with suppress(BrokenPipeError), open(into, "wb") as pipe:  # noqa: PTH123 - a descriptor, too
            pipe.write(content)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield
    thread.join(LIMIT_S)
    assert not thread.is_alive(), "nobody has read it"


def run(model: Path, *arguments: str | Path, stdin: int | io.IOBase = subprocess.DEVNULL) -> Ended:
    """A process that has to end by itself."""
    with _files() as (out, err):
        process = Forked([*map(str, arguments)], env=environment(model), stdin=stdin, stdout=out, stderr=err)
        status = process.wait(LIMIT_S)
        out.seek(0)
        err.seek(0)
        return Ended(status, out.read().decode(), err.read().decode())


@contextmanager
def _files() -> Iterator[tuple[Any, Any]]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        yield out, err


def piped(model: Path, content: bytes, *arguments: str | Path) -> Ended:
    """With this on a pipe that is its standard input."""
    reading, writing = os.pipe()
    with written(content, writing), os.fdopen(reading, "rb") as stdin:
        return run(model, *arguments, stdin=stdin)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    os.mkfifo(path)
    return path


def found(ended: Ended) -> tuple[str, list[list[int]]]:
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    return document["name"], pairs(document["segments"])


def pairs(segments: list[dict[str, Any]]) -> list[list[int]]:
    return [[each["start_ms"], each["end_ms"]] for each in segments]


@pytest.fixture(scope="module")
def expected(small_model: Path, speech_like: Path) -> list[list[int]]:
    return found(call(small_model, "detect", speech_like))[1]


@pytest.fixture(scope="module")
def with_its_index_last(speech_like: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What no decoder can read without seeking."""
    return encode(speech_like, tmp_path_factory.mktemp("mp4") / "a.m4a", "-c:a", "aac").read_bytes()


# ---- detect


def test_a_fifo_is_read_once(small_model: Path, speech_like: Path, fifo: Path, expected: list[list[int]]) -> None:
    with written(speech_like.read_bytes(), fifo):
        assert found(run(small_model, "detect", fifo)) == ("talk", expected)


def test_a_fifo_whose_decoder_seeks(
    small_model: Path, fifo: Path, with_its_index_last: bytes, server: RunningServer
) -> None:
    for door in ((), ("--url", server.url)):
        with written(with_its_index_last, fifo):
            name, segments = found(call(small_model, "detect", fifo, *door))
        assert (name, len(segments)) == ("talk", 2)


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_standard_input_by_any_name(small_model: Path, speech_like: Path, expected: list[list[int]], name: str) -> None:
    assert found(piped(small_model, speech_like.read_bytes(), "detect", name))[1] == expected


def test_standard_input_from_a_file(small_model: Path, speech_like: Path, expected: list[list[int]]) -> None:
    with speech_like.open("rb") as file:
        assert found(run(small_model, "detect", "/dev/stdin", stdin=file))[1] == expected
    assert found(call(small_model, "detect", "-", stdin=speech_like.read_bytes()))[1] == expected


def test_a_pipe_with_several_names_is_one_file(
    small_model: Path, speech_like: Path, expected: list[list[int]], fifo: Path
) -> None:
    ended = piped(small_model, speech_like.read_bytes(), "detect", "-", "/dev/stdin", "-", "/dev/fd/0")
    assert found(ended) == ("stdin", expected)
    with written(speech_like.read_bytes(), fifo):
        assert found(call(small_model, "detect", fifo, fifo)) == ("talk", expected)


def test_pipes_beside_files(small_model: Path, speech_like: Path, fifo: Path, expected: list[list[int]]) -> None:
    with written(speech_like.read_bytes(), fifo):
        ended = piped(small_model, b"no audio", "detect", speech_like, "-", fifo, "--jobs", "1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("-: this is not audio")
    documents = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [each["name"] for each in documents] == ["bursts", "talk"]
    assert [pairs(each["segments"]) for each in documents] == [expected] * 2


def test_results_of_pipes_in_a_folder(small_model: Path, speech_like: Path, fifo: Path, tmp_path: Path) -> None:
    with written(speech_like.read_bytes(), fifo):
        ended = piped(
            small_model, speech_like.read_bytes(), "detect", fifo, "-", "--format", "srt", "--out", tmp_path / "out"
        )
    assert ended.returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["stdin.srt", "talk.srt"]


@pytest.mark.full
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("subcommand", ["detect", "stream"])
def test_what_a_shell_substitutes(
    small_model: Path, speech_like: Path, expected: list[list[int]], subcommand: str
) -> None:
    script = f"{sys.executable} -m app.cli {subcommand} <(cat {speech_like})"
    done = subprocess.run(
        ["bash", "-c", script], env={**environment(small_model), "PYTHONPATH": str(ROOT)}, capture_output=True,
        timeout=60, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    last = json.loads(done.stdout.splitlines()[-1])
    assert pairs(last["segments"]) == expected


@pytest.mark.parametrize("subcommand", ["detect", "stream"])
def test_nothing_that_never_ends_is_waited_for(small_model: Path, subcommand: str) -> None:
    device = run(small_model, subcommand, "/dev/zero")
    assert (device.returncode, "/dev/zero: this is a device" in device.stderr) == (2, True)
    controlling, terminal = pty.openpty()
    try:
        for name in ("-", "/dev/stdin"):
            ended = run(small_model, subcommand, name, stdin=terminal)
            assert (ended.returncode, f"{name}: this is a terminal" in ended.stderr) == (2, True)
    finally:
        os.close(controlling)
        os.close(terminal)


def test_an_empty_pipe_and_none(small_model: Path, fifo: Path) -> None:
    with written(b"", fifo):
        ended = run(small_model, "detect", fifo)
    assert (ended.returncode, "talk.wav: the file is empty" in ended.stderr) == (1, True)
    ended = run(small_model, "detect", "-")
    assert (ended.returncode, "-: the file is empty" in ended.stderr) == (1, True)
    closed = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m app.cli detect - <&-"], text=True, timeout=60, check=False,
        env={**environment(small_model), "PYTHONPATH": str(ROOT)}, capture_output=True,
    )  # fmt: skip
    assert (closed.returncode, closed.stderr) == (2, "-: there is no standard input\n")


@pytest.mark.parametrize("subcommand", ["detect", "stream"])
def test_waiting_for_a_writer_can_be_interrupted(small_model: Path, fifo: Path, subcommand: str) -> None:
    with _files() as (out, err):
        process = Forked([subcommand, str(fifo)], env=environment(small_model), stdout=out, stderr=err)
        tasks = Path(f"/proc/{process.pid}/task")
        if tasks.is_dir():
            eventually(lambda: any("wait_for_partner" in (task / "wchan").read_text() for task in tasks.iterdir()))
        else:
            time.sleep(2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "fifo"])
def test_a_batch_is_told_that_a_pipe_is_read_once(small_model: Path, fifo: Path, tmp_path: Path, name: str) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb"):
        ended = run(small_model, "batch", fifo if name == "fifo" else name, tmp_path / "out", stdin=stdin)
    assert ended.returncode == 2
    assert "a pipe can be read once" in ended.stderr
    assert "fsmn-vad detect" in ended.stderr


# ---- stream


def messages(ended: Ended) -> list[list[int]]:
    assert ended.returncode == 0, ended.stderr
    done = json.loads(ended.stdout.splitlines()[-1])
    assert done["type"] == "done"
    return pairs(done["segments"])


def wav(samples: Any, rate: int = 16_000, subtype: str = "PCM_16", form: str = "WAV", **more: Any) -> bytes:
    held = io.BytesIO()
    soundfile.write(held, samples, rate, format=form, subtype=subtype, **more)
    return held.getvalue()


SOUND = bursts(10.0, [(2.0, 4.0), (6.0, 8.0)])
NO_LENGTH = (0xFFFFFFFF).to_bytes(4, "little")
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "a wav": lambda plain: plain,
    "of no known length": lambda plain: plain[:4] + NO_LENGTH + plain[8:40] + NO_LENGTH + plain[44:],
    "with more behind its samples": lambda plain: plain + b"LIST" + (1_000).to_bytes(4, "little") + bytes(1_000),
    "big-endian": lambda _: wav(SOUND, endian="BIG"),
    "floats": lambda _: wav(SOUND, subtype="FLOAT"),
    "mu-law": lambda _: wav(SOUND, subtype="ULAW"),
    "adpcm": lambda _: wav(SOUND, subtype="IMA_ADPCM"),
    "rf64": lambda _: wav(SOUND, form="RF64"),
    "flac": lambda _: wav(SOUND, form="FLAC"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_through_a_pipe_is_streamed(
    small_model: Path, speech_like: Path, fifo: Path, server: RunningServer, kind: str
) -> None:
    content = KINDS[kind](speech_like.read_bytes())
    expected = pairs(server.post("/vad", content=content).json()["segments"])
    assert len(expected) == 2
    for door in ((), ("--url", server.url.replace("http", "ws"))):
        with written(content, fifo):
            assert messages(call(small_model, "stream", fifo, *door)) == expected
    assert messages(call(small_model, "stream", "-", stdin=content)) == expected, "redirected from a file"


def test_standard_input_is_streamed(small_model: Path, speech_like: Path, expected: list[list[int]]) -> None:
    for name in ("-", "/dev/stdin"):
        assert messages(piped(small_model, speech_like.read_bytes(), "stream", name)) == expected


def test_a_fifo_whose_decoder_seeks_is_streamed(small_model: Path, fifo: Path, with_its_index_last: bytes) -> None:
    with written(with_its_index_last, fifo):
        assert len(messages(call(small_model, "stream", fifo))) == 2


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_other_rates_and_channels_of_a_piped_wav(
    small_model: Path, server: RunningServer, fifo: Path, rate: int
) -> None:
    spoken = bursts(6.0, [(1.0, 2.5), (4.0, 5.0)], rate=rate)
    content = wav(np.stack([spoken, bursts(6.0, [(3.0, 5.5)], rate=rate)], axis=1), rate)
    for channel in ("mix", "1"):
        expected = pairs(server.post("/vad", content=content, params={"channel": channel}).json()["segments"])
        with written(content, fifo):
            assert messages(call(small_model, "stream", fifo, "--channel", channel)) == expected
    with written(content, fifo):
        refused = call(small_model, "stream", fifo, "--channel", "5")
    assert (refused.returncode, "2 channels" in refused.stderr) == (2, True)


def test_a_wav_that_is_being_recorded_is_heard_as_it_comes(small_model: Path, speech_like: Path) -> None:
    content = KINDS["of no known length"](speech_like.read_bytes())
    (reading, writing), (told, telling) = os.pipe(), os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb") as recorder, os.fdopen(told, "rb") as lines:
        with os.fdopen(telling, "wb") as stdout:
            process = Forked(["stream", "-"], env=environment(small_model), stdin=stdin, stdout=stdout)
        recorder.write(content[: len(content) // 2])
        recorder.flush()
        assert json.loads(lines.readline())["type"] == "speech_start"
        recorder.write(content[len(content) // 2 :])
        recorder.close()
        assert json.loads(lines.read().splitlines()[-1])["type"] == "done"
        assert process.wait(LIMIT_S) == 0


def test_samples_through_a_pipe_stay_samples(
    small_model: Path, speech_like: Path, fifo: Path, expected: list[list[int]]
) -> None:
    samples = speech_like.read_bytes()[44:]
    for said in ((), ("--sample-rate", "16000"), ("--encoding", "pcm_s16le")):
        with written(samples, fifo):
            assert messages(call(small_model, "stream", fifo, *said)) == expected


def test_a_file_that_is_called_samples_is_refused(small_model: Path, speech_like: Path, fifo: Path) -> None:
    with written(speech_like.read_bytes(), fifo):
        ended = call(small_model, "stream", fifo, "--encoding", "pcm_s16le")
    assert (ended.returncode, "this is a WAV file, which says itself what it holds" in ended.stderr) == (2, True)


def test_a_pipe_with_nothing_to_hear(small_model: Path, fifo: Path) -> None:
    with written(b"", fifo):
        assert messages(call(small_model, "stream", fifo)) == []
    with written(b"fLaC" + bytes(1_000), fifo):
        damaged = call(small_model, "stream", fifo)
    assert (damaged.returncode, "FLAC" in damaged.stderr) == (1, True)
