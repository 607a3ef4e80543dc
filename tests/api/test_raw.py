"""Raw samples by option and by content type, at every door, are the samples of a WAV."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.cli.calling import call
from tests.live.client import converse, cut, stream
from tests.server import RunningServer
from tests.signals import bursts

RATE = 8_000
SOUND = bursts(10.0, [(2.0, 4.0), (6.0, 8.0)], rate=RATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw")


def raw(folder: Path, subtype: str, endian: str = "FILE", samples: np.ndarray = SOUND) -> bytes:
    path = folder / f"{subtype}-{endian}-{samples.ndim}.raw"
    soundfile.write(path, samples, RATE, format="RAW", subtype=subtype, endian=endian)
    return path.read_bytes()


def pairs(answer: Any) -> list[tuple[int, int]]:
    return [(segment["start_ms"], segment["end_ms"]) for segment in answer["segments"]]


@pytest.fixture(scope="module")
def expected(server: RunningServer, folder: Path) -> list[tuple[int, int]]:
    path = folder / "a.wav"
    soundfile.write(path, SOUND, RATE, subtype="PCM_16")
    found = pairs(server.post("/vad", content=path.read_bytes()).json())
    assert len(found) == 2
    return found


def near(found: list[tuple[int, int]], expected: list[tuple[int, int]], ms: int = 10) -> bool:
    return len(found) == len(expected) and bool(np.abs(np.array(found) - np.array(expected)).max() <= ms)


@pytest.mark.parametrize(
    ("subtype", "endian", "content_type", "options"),
    [
        ("PCM_16", "BIG", "audio/L16;rate=8000;channels=1", {}),
        ("PCM_16", "LITTLE", "audio/pcm;rate=8000", {}),
        ("ULAW", "FILE", "audio/basic", {}),
        ("ALAW", "FILE", "audio/PCMA", {}),
        ("PCM_16", "LITTLE", "application/octet-stream", {"encoding": "pcm_s16le", "sample_rate": "8000"}),
        ("FLOAT", "LITTLE", "application/octet-stream", {"encoding": "pcm_f32le", "sample_rate": "8000"}),
        ("ULAW", "FILE", "", {"encoding": "mulaw"}),
    ],
)
def test_http(
    subtype: str, endian: str, content_type: str, options: dict[str, str], server: RunningServer, folder: Path,
    expected: list[tuple[int, int]],
) -> None:  # fmt: skip
    body = raw(folder, subtype, endian)
    headers = {"content-type": content_type} if content_type else {}
    answer = server.post("/vad", content=body, headers=headers, params=options).json()
    assert near(pairs(answer), expected)
    assert answer["audio"]["format"] == "RAW"
    form = server.post("/vad", files={"file": ("a.raw", body, content_type or "audio/x")}, data=options).json()
    assert pairs(form) == pairs(answer)


def test_a_wrong_encoding_is_told_before_the_body(server: RunningServer) -> None:
    answer = server.post("/vad?encoding=mp4", content=b"x").json()
    assert (answer["code"], answer["option"]) == ("invalid_option", "encoding")


def test_raw_bytes_alone_are_refused_with_the_next_step(server: RunningServer, folder: Path) -> None:
    response = server.post("/vad", content=raw(folder, "PCM_16", "LITTLE"))
    assert response.status_code == 415
    assert "`encoding`" in response.json()["detail"]


def test_live_stereo(server: RunningServer, folder: Path, expected: list[tuple[int, int]]) -> None:
    both = raw(folder, "PCM_16", "LITTLE", np.stack((SOUND, -SOUND), axis=1))
    asked: dict[str, object] = {"encoding": "s16le", "sample_rate": RATE, "channels": 2}
    assert near(pairs(converse(server, cut(both, 1_601), channel="1", **asked).done), expected)
    assert near(pairs(converse(server, cut(both, 1_601), channel="loudest", **asked).done), expected)
    assert pairs(converse(server, cut(both, 1_601), **asked).done) == []
    with stream(server, channel="2", **asked) as socket:
        assert '"option": "channel"' in str(socket.recv()).replace('":"', '": "')


def test_the_command_line(
    small_model: Path, folder: Path, expected: list[tuple[int, int]], server: RunningServer
) -> None:
    path = folder / "call.ulaw"
    path.write_bytes(raw(folder, "ULAW"))
    for where in ((), ("--url", server.url)):
        ended = call(small_model, "detect", path, "--encoding", "mulaw", "--format", "funasr", *where)
        assert ended.returncode == 0, ended.stderr
        found = [tuple(pair) for pair in json.loads(ended.stdout)[0]["value"]]
        assert near(found, expected)
    ended = call(small_model, "stream", path, "--encoding", "mulaw", "--json")
    done = json.loads(ended.stdout.splitlines()[-1])
    assert near(pairs(done), expected)
