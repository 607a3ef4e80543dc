"""Files damaged in the middle, and files joined: less audio came out, seconds early, and nothing said so."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.field.asking import SOUND, ask, coded
from tests.server import RunningServer

KINDS = {
    "WavPack": (".wv", "-c:a", "wavpack"),
    "MP3": (".mp3", "-c:a", "libmp3lame"),
    "ADTS": (".aac", "-c:a", "aac"),
    "TTA": (".tta", "-c:a", "tta"),
    "AMR": (".amr", "-c:a", "libopencore_amrnb", "-ar", "8000"),
    "FLAC": (".flac", "-c:a", "flac"),
}


def recording(kind: str, folder: Path) -> bytes:
    suffix, *options = KINDS[kind]
    try:
        return coded(folder, suffix, *options).read_bytes()
    except LookupError as error:
        pytest.skip(str(error))


def damaged(content: bytes) -> bytes:
    """With 3% zeroed at 42%."""
    start, size = len(content) * 42 // 100, len(content) * 3 // 100
    return content[:start] + bytes(size) + content[start + size :]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_in_mid_file_is_told_in_every_form(kind: str, server: RunningServer, tmp_path: Path) -> None:
    whole = recording(kind, tmp_path)
    assert "damaged" not in ask(server, whole).codes
    content = damaged(whole)
    document = server.post("/vad", content=content).json()
    told = [warning for warning in document["warnings"] if warning["code"] == "damaged"]
    assert len(told) == 1
    assert "packet" in told[0]["detail"] or " ms " in told[0]["detail"]
    *_, summary = map(json.loads, server.post("/vad", content=content, params={"format": "ndjson"}).text.splitlines())
    assert [each for each in summary["warnings"] if each["code"] == "damaged"] == told
    for form in ("csv", "zip"):
        headers = server.post("/vad", content=content, params={"format": form}).headers
        assert "damaged" in headers["x-vad-warnings"].split(", ")
        assert told[0] in json.loads(headers["x-vad-warning-details"])


def test_flac_goes_on_behind_its_damage(server: RunningServer, tmp_path: Path) -> None:
    whole = recording("FLAC", tmp_path)
    expected = ask(server, whole).segments
    answer = ask(server, damaged(whole))
    assert len(answer.segments) >= len(expected)
    missing = 10_000 - answer.audio["duration_ms"]
    assert 0 < missing < 1_000
    assert abs(answer.segments[-1][1] - (expected[-1][1] - missing)) <= 30
    assert not answer.audio["truncated"]
    split = ask(server, damaged(whole), channel="split")
    assert split.segments == answer.segments


@pytest.mark.parametrize("seconds", [10, 60])
def test_flac_of_two_channels_goes_on_behind_its_damage(seconds: int, server: RunningServer, tmp_path: Path) -> None:
    """Read in one go, and block by block; from memory, and from a file."""
    samples = np.stack((np.tile(SOUND, seconds // 10),) * 2, axis=1)
    content = damaged(coded(tmp_path, ".flac", "-c:a", "flac", samples=samples).read_bytes())
    for channel in ("mix", "split", "0"):
        answer = ask(server, content, channel=channel)
        assert answer.codes == ["damaged"]
        assert 0 < seconds * 1000 - answer.audio["duration_ms"] < 100 * seconds
    response = server.post("/vad", content=content, params={"format": "zip", "channel": "split"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", ("-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov")),
        (".m4a", ("-c:a", "aac")),
        (".wv", ("-c:a", "wavpack")),
        (".wma", ("-c:a", "wmav2")),
        (".aiff", ("-c:a", "pcm_s16be")),
        (".flv", ("-c:a", "aac", "-ar", "44100")),
    ],
)
def test_a_second_recording_behind_the_first(
    suffix: str, options: tuple[str, ...], server: RunningServer, tmp_path: Path
) -> None:
    one = coded(tmp_path, suffix, *options).read_bytes()
    document = server.post("/vad", content=one + one).json()
    [told] = [warning["detail"] for warning in document["warnings"] if warning["code"] == "joined"]
    assert f"at byte {len(one)}," in told


@pytest.mark.parametrize(
    ("suffix", "options"), [(".flac", ("-c:a", "flac")), (".webm", ("-c:a", "libopus", "-live", "1"))]
)
def test_a_browsers_pause_and_resume(
    suffix: str, options: tuple[str, ...], server: RunningServer, tmp_path: Path
) -> None:
    one = coded(tmp_path, suffix, *options, samples=SOUND).read_bytes()
    alone, both = ask(server, one), ask(server, one + one)
    assert len(both.segments) == 2 * len(alone.segments)
    assert both.codes == []
