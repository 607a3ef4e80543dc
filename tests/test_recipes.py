"""The recipes run: against a real server, with a recogniser in place of the real one that counts what it is handed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import forked
from tests.server import RunningServer
from tests.signals import bursts

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SPANS = [(0.5, 2.0), (2.6, 3.4), (20.0, 22.0), (30.0, 33.5), (52.0, 55.0)]
"""More than 30 s in all: two chunks at least."""

RECOGNISERS = {
    "faster_whisper": """
import soundfile
from types import SimpleNamespace
class WhisperModel:
    def __init__(self, size): ...
    def transcribe(self, audio, vad_filter):
        samples, rate = soundfile.read(audio)
        assert (rate, samples.ndim, vad_filter) == (16000, 1, False)
        # A word at the beginning and one at the end of what it hears.
        s = len(samples) / rate
        words = [(0.0, 0.5, f"heard {len(samples)}"), (s - 0.5, s, "end")]
        return [SimpleNamespace(start=a, end=b, text=t) for a, b, t in words], None
""",
    "funasr": """
class AutoModel:
    def __init__(self, **named): assert "vad_model" not in named
    def generate(self, input): return [{"text": f"heard {len(input)}"}]
""",
    "sherpa_onnx": """
from types import SimpleNamespace
class Stream:
    def accept_waveform(self, rate, samples): self.count = len(samples)
class OfflineRecognizer:
    @classmethod
    def from_sense_voice(cls, model, tokens): return cls()
    def create_stream(self): return Stream()
    def decode_stream(self, stream): stream.result = SimpleNamespace(text=f"heard {stream.count}")
""",
}


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, bursts(60.0, SPANS), 16_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def chunks(server: RunningServer, talk: Path) -> list[tuple[int, int]]:
    with server.client() as client:
        answer = client.post("/vad", params={"preset": "asr"}, files={"file": talk.read_bytes()}).json()
    return [(chunk["start_ms"], chunk["end_ms"]) for chunk in answer["chunks"]]


def run(command: list[str], **environment: str) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    ended = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def recipe(name: str, package: str, talk: Path, server: RunningServer, folder: Path) -> list[tuple[float, float, str]]:
    (folder / f"{package}.py").write_text(RECOGNISERS[package])
    lines = run([sys.executable, str(EXAMPLES / name), str(talk), server.url], PYTHONPATH=str(folder))
    found = [line.split(maxsplit=2) for line in lines]
    return [(float(start), float(end), text) for start, end, text in found]


def test_there_are_two_chunks_at_least(chunks: list[tuple[int, int]]) -> None:
    assert len(chunks) >= 2
    assert max(end - start for start, end in chunks) <= 30_000


def test_before_whisper(server: RunningServer, talk: Path, chunks: list[tuple[int, int]], tmp_path: Path) -> None:
    first, last = recipe("before_whisper.py", "faster_whisper", talk, server, tmp_path)
    assert first[2] == f"heard {sum(end - start for start, end in chunks) * 16}"
    assert (first[0], last[1]) == (chunks[0][0] / 1000, chunks[-1][1] / 1000)


@pytest.mark.parametrize(
    ("name", "package"), [("before_funasr.py", "funasr"), ("before_sherpa_onnx.py", "sherpa_onnx")]
)
def test_before_recognisers_that_take_chunks(
    server: RunningServer, talk: Path, chunks: list[tuple[int, int]], tmp_path: Path, name: str, package: str
) -> None:
    found = recipe(name, package, talk, server, tmp_path)
    assert found == [(start / 1000, end / 1000, f"heard {(end - start) * 16}") for start, end in chunks]


@pytest.mark.skipif(shutil.which("jq") is None or shutil.which("curl") is None, reason="needs curl and jq")
def test_call_centre(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    agent, customer = bursts(12.0, [(1.0, 4.0)]), bursts(12.0, [(3.5, 6.0), (8.0, 9.0)])
    soundfile.write(path, np.stack([agent, customer], axis=1), 8_000 * 2, subtype="PCM_16")
    *turns, share = run(["/bin/sh", str(EXAMPLES / "call_centre.sh"), str(path), server.url])
    assert [line.split()[0] for line in turns] == ["agent", "customer", "customer"]
    assert int(turns[1].split()[1]) < int(turns[0].split()[2])  # they talk at the same time
    assert share.split()[::2] == ["share", "0." + share.split()[2][2:], "0." + share.split()[4][2:]]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_subtitles(server: RunningServer, talk: Path, tmp_path: Path) -> None:
    path = Path(shutil.copyfile(talk, tmp_path / "talk.wav"))
    [written] = run(["/bin/sh", str(EXAMPLES / "subtitles.sh"), str(path), server.url])
    assert Path(written).read_text().count("-->") == len(SPANS)


def test_overnight(small_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    for number in range(20):
        path = source / f"{number % 3}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, bursts(2.0, [(0.5, 1.5)]), 16_000, subtype="PCM_16")
    forked.write_script(tmp_path / "fsmn-vad")
    place = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    command = ["/bin/sh", str(EXAMPLES / "overnight.sh"), str(source), str(tmp_path / "out")]
    settings = {"VAD_MODEL": str(small_model), "VAD_MODELS": str(small_model), "VAD_WORKERS": "1", "PATH": place}
    settings["MODELSCOPE_CACHE"] = str(tmp_path)  # the preset's own model would hear no speech in noise
    account = json.loads(run(command, **settings)[-1])
    assert (account["files"], account["failed"]) == (20, 0)
    clips = sorted((tmp_path / "out" / "files").rglob("*.clips.json"))
    assert len(clips) == 20
    assert len(json.loads(clips[0].read_text())) == 2


def test_barge_in(server: RunningServer, speech_like: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "barge_in.py"), str(speech_like)]
    lines = run([*command, server.url.replace("http", "ws")], SPEED="20")
    assert [line.split()[0] for line in lines] == ["stop", "turn", "stop", "turn"]
    stops, turns = lines[0::2], lines[1::2]
    for stop, turn in zip(stops, turns, strict=True):
        start, end = map(int, turn.split()[1:])
        assert start < int(stop.split()[1]) <= start + 700
        assert end > start
