"""What is sent over the live socket in the belief that it is heard: files, telephone codings, base64."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.field.asking import SOUND, Pairs, ask, coded, wav
from tests.live.client import Heard, converse, cut
from tests.server import RunningServer

NARROW = SOUND[::2]
"""At 8 kHz."""


def raw(folder: Path, subtype: str) -> bytes:
    """Bare samples at 8 kHz."""
    path = folder / f"{subtype}.raw"
    soundfile.write(path, NARROW, 8_000, format="RAW", subtype=subtype, endian="FILE" if "LAW" in subtype else "LITTLE")
    return path.read_bytes()


def pairs(heard: Heard) -> Pairs:
    return [(each["start_ms"], each["end_ms"]) for each in heard.done["segments"]]


@pytest.mark.parametrize(
    ("suffix", "options", "name"),
    [
        (".webm", ("-c:a", "libopus", "-live", "1"), "WEBM"),
        (".mp3", ("-c:a", "libmp3lame"), "MP3"),
        (".wav", ("-c:a", "pcm_s16le"), "WAV"),
    ],
    ids=["MediaRecorder", "mp3", "wav"],
)
def test_a_file_is_named_and_told_where_to_go(
    suffix: str, options: tuple[str, ...], name: str, server: RunningServer, tmp_path: Path
) -> None:
    try:
        content = coded(tmp_path, suffix, *options).read_bytes()
    except LookupError as error:
        pytest.skip(str(error))
    heard = converse(server, cut(content, 4_000))
    assert (heard.error["code"], heard.code) == ("unsupported_audio", 1003)
    assert name in heard.error["detail"]
    assert "POST /vad" in heard.error["detail"]
    assert heard.of("done") == []


@pytest.mark.parametrize(("encoding", "subtype"), [("mulaw", "ULAW"), ("pcmu", "ULAW"), ("alaw", "ALAW")])
def test_telephone_codings(encoding: str, subtype: str, server: RunningServer, tmp_path: Path) -> None:
    expected = ask(server, wav(tmp_path, NARROW, 8_000)).segments
    heard = converse(server, cut(raw(tmp_path, subtype), 160), encoding=encoding)
    assert heard.messages[0]["sample_rate"] == 8_000
    assert np.abs(np.array(pairs(heard)) - np.array(expected)).max() <= 10


def test_16_bits_at_8_khz(server: RunningServer, tmp_path: Path) -> None:
    expected = ask(server, wav(tmp_path, NARROW, 8_000)).segments
    heard = converse(server, cut(raw(tmp_path, "PCM_16"), 320), encoding="s16le", sample_rate=8_000)
    assert np.abs(np.array(pairs(heard)) - np.array(expected)).max() <= 10


def test_base64_in_json_is_told_what_to_send(server: RunningServer, tmp_path: Path) -> None:
    message = json.dumps(
        {"event": "media", "media": {"payload": base64.b64encode(raw(tmp_path, "ULAW")[:160]).decode()}}
    )
    heard = converse(server, [message])
    assert heard.error["code"] == "bad_message"
    assert "binary frames" in heard.error["detail"]
