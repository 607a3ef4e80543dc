"""Answers that are sent while they are made: lines of ndjson, speech as WAV and zip."""

import csv
import io
import json
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.server import RunningServer
from tests.signals import bursts

RATE = 44_100
Samples = NDArray[np.int16]


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """44.1 kHz, two channels: the left one is loud from 1 to 2 and 4 to 5 s, the right one from 2.5 to 3 s."""
    sides = bursts(7.0, [(1.0, 2.0), (4.0, 5.0)], RATE, seed=1), bursts(7.0, [(2.5, 3.0)], RATE, seed=2)
    path = tmp_path_factory.mktemp("stereo") / "stereo.wav"
    soundfile.write(path, np.stack(sides, axis=1), RATE, subtype="PCM_16")
    return path


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


def read(source: Path | bytes) -> tuple[Samples, int]:
    samples, rate = soundfile.read(
        io.BytesIO(source) if isinstance(source, bytes) else source, dtype="int16", always_2d=True
    )
    return samples, rate


def cut(source: Path, segments: list[dict[str, Any]]) -> Samples:
    samples, rate = read(source)
    return np.concatenate([samples[s["start_ms"] * rate // 1000 : s["end_ms"] * rate // 1000] for s in segments])


def segments_of(client: httpx.Client, path: Path, **params: str) -> list[dict[str, Any]]:
    segments: list[dict[str, Any]] = client.post("/vad", params=params, content=path.read_bytes()).json()["segments"]
    assert segments
    return segments


@pytest.mark.parametrize("channel", ["mix", "split", "1"])
def test_ndjson_tells_what_json_tells(client: httpx.Client, stereo: Path, channel: str) -> None:
    params = {"channel": channel, "probabilities": "true"}
    whole = client.post("/vad", params=params, content=stereo.read_bytes()).json()
    lines = lines_of(client.post("/vad", params={**params, "format": "ndjson"}, content=stereo.read_bytes()))
    assert [line["type"] for line in lines[:-1]].count("segment") == len(whole["segments"]) > 0
    assert {line["type"] for line in lines[:-1]} <= {"segment", "progress"}
    told = [{**line, "index": 0} for line in lines if line.pop("type") == "segment"]
    told.sort(key=lambda segment: (segment["start_ms"], segment.get("channel", 0)))
    assert told == [{**segment, "index": 0} for segment in whole["segments"]]
    summary = lines[-1]
    for name in ("model", "audio", "speech_ms", "speech_ratio", "options", "channels", "probabilities"):
        assert summary.get(name) == whole.get(name)
    assert summary["segment_count"] == len(told)


def test_ndjson_counts_its_segments(client: httpx.Client, stereo: Path) -> None:
    lines = lines_of(client.post("/vad?format=ndjson&channel=split", content=stereo.read_bytes()))
    assert [line["index"] for line in lines if line["type"] == "segment"] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fdinfo").is_dir(), reason="only Linux tells how far a process has read a file")
def test_the_first_line_comes_while_a_long_file_is_still_being_heard(server: RunningServer) -> None:
    file = io.BytesIO()
    loud = [(float(start), start + 2.0) for start in range(4, 1_190, 20)]
    soundfile.write(file, bursts(1_200.0, loud, 8_000), 8_000, subtype="PCM_U8", format="WAV")
    address, content = urlsplit(server.url), file.getvalue()
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        head = "POST /vad?format=ndjson HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        received = b""
        while b'"type":"segment"' not in received:
            received += receive(connection)
        assert read_of_upload(server) < len(content)
        assert b'"type":"summary"' not in received
        while more := receive(connection):
            received += more
    lines = [json.loads(line) for line in received.split(b"\r\n") if line.startswith(b"{")]
    kinds = [line["type"] for line in lines]
    assert (kinds.count("segment"), kinds[-1], kinds.count("summary")) == (len(loud), "summary", 1)
    progress = [line for line in lines if line["type"] == "progress"]
    assert 5 <= len(progress) <= 60
    assert [line["done_ms"] for line in progress] == sorted({line["done_ms"] for line in progress})
    assert {line["expected_ms"] for line in progress} == {1_200_000}


def receive(connection: socket.socket) -> bytes:
    return connection.recv(1 << 20)


def read_of_upload(server: RunningServer) -> int:
    """How far the server has read in the one upload that it holds open."""
    process = Path("/proc", str(server.pid))
    (descriptor,) = (link for link in (process / "fd").iterdir() if is_upload(link))
    head, position = (process / "fdinfo" / descriptor.name).read_text().splitlines()[0].split()
    assert head == "pos:"
    return int(position)


def is_upload(link: Path) -> bool:
    try:
        return link.readlink().suffix == ".upload"
    except FileNotFoundError:  # closed since it was listed
        return False


def test_a_bad_file_has_its_own_status_before_the_first_line(client: httpx.Client) -> None:
    for name in ("ndjson", "wav", "zip"):
        response = client.post("/vad", params={"format": name}, content=b"not audio")
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_audio")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_is_the_speech_at_the_sources_rate_and_channels(
    client: httpx.Client, stereo: Path, tmp_path: Path, subtype: str
) -> None:
    path = tmp_path / "source.wav"
    soundfile.write(path, read(stereo)[0], RATE, subtype=subtype)
    response = client.post("/vad?format=wav", files={"file": ("talk.wav", path.read_bytes())})
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''talk.speech.wav"
    speech, rate = read(response.content)
    assert (rate, speech.shape[1]) == (RATE, 2)
    np.testing.assert_array_equal(speech, cut(path, segments_of(client, path)))
    assert soundfile.info(io.BytesIO(response.content)).subtype == subtype


def test_wav_of_one_channel_holds_it_alone(client: httpx.Client, stereo: Path) -> None:
    response = client.post("/vad?format=wav&channel=1", content=stereo.read_bytes())
    speech, rate = read(response.content)
    assert rate == RATE
    np.testing.assert_array_equal(speech, cut(stereo, segments_of(client, stereo, channel="1"))[:, 1:])


def test_wav_of_split_channels_is_a_zip_of_one_each(client: httpx.Client, stereo: Path) -> None:
    files = {"file": ("talk.wav", stereo.read_bytes())}
    response = client.post("/vad?format=wav&channel=split", files=files)
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''talk.speech.zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["talk_ch0.wav", "talk_ch1.wav", "segments.csv"]
        for channel in (0, 1):
            speech, _ = read(archive.read(f"talk_ch{channel}.wav"))
            segments = segments_of(client, stereo, channel=str(channel))
            np.testing.assert_array_equal(speech, cut(stereo, segments)[:, [channel]])


@pytest.mark.parametrize("channel", ["mix", "split", "0"])
def test_zip_holds_each_segment_and_a_manifest(client: httpx.Client, stereo: Path, channel: str) -> None:
    segments = segments_of(client, stereo, channel=channel)
    files = {"file": ("../../talk.wav", stereo.read_bytes())}
    response = client.post("/vad", params={"format": "zip", "channel": channel}, files=files)
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''talk.zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode())))
        assert [(int(row["start_ms"]), int(row["end_ms"])) for row in rows] == [
            (segment["start_ms"], segment["end_ms"]) for segment in segments
        ]
        assert len(archive.namelist()) == len(segments) + 1
        for segment in segments:
            track = f"_ch{segment['channel']}" if "channel" in segment else ""
            times = f"{segment['start_ms']:06d}-{segment['end_ms']:06d}"
            speech, rate = read(archive.read(f"talk{track}_{segment['index']:04d}_{times}.wav"))
            whole = cut(stereo, [segment])
            assert rate == RATE
            np.testing.assert_array_equal(speech, whole[:, [segment["channel"]]] if track else whole)


@pytest.mark.parametrize("name", ["ndjson", "wav", "zip"])
def test_nothing_is_left_behind(server: RunningServer, client: httpx.Client, stereo: Path, name: str) -> None:
    assert client.post("/vad", params={"format": name}, content=stereo.read_bytes()).status_code == 200
    # The last byte may be here a moment before the upload is gone.
    assert any(client.get("/health/live").is_success and not server.upload_files for _ in range(200))
