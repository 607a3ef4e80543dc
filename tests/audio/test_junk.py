"""MPEG audio with something else in front of it; and what people send that is no audio."""

import base64
from pathlib import Path

import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.options import AudioInput
from app.audio.source import open_decoder
from app.vad.errors import UnsupportedAudio
from tests.audio.ffmpegs import encode
from tests.audio.recordings import decoded, voice

RATE = 16_000
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 12345\r\n\r\n"


@pytest.fixture(scope="module")
def mp3(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("mp3")
    soundfile.write(folder / "a.wav", voice(3, RATE, 1), RATE)
    return encode(folder / "a.wav", folder / "a.mp3", "-c:a", "libmp3lame", "-id3v2_version", "0").read_bytes()


@pytest.mark.parametrize(
    "front", [bytes(1_000), HTTP, b"\xff" * 7, None], ids=["zeros", "http", "set bits", "mid-frame"]
)
def test_mp3_with_something_in_front(
    front: bytes | None, mp3: bytes, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits
) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3[len(mp3) // 10 :] if front is None else front + mp3)
    decoder = open_decoder(AudioInput(path), limits, each_ffmpeg)
    seconds = len(decoded(decoder)) / decoder.info.sample_rate
    decoder.close()
    assert decoder.info.format == "MP3"
    assert abs(seconds - (2.7 if front is None else 3)) < 0.2
    assert list(decoder.warnings()) == []


WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"audio": "UklGR"}', "JSON: send the audio itself"),
        (b"data:audio/wav;base64," + base64.b64encode(WAV), "data URI: decode"),
        (b"https://example.com/a.wav", "URL, and none is fetched"),
        (base64.b64encode(WAV), "base64: decode it first"),
        (base64.b64encode(b"ID3\x04\x00"), "base64: decode it first"),
        (b"\xef\xbb\xbf<!doctype html>", "tags"),
        (b"#EXTM3U\nhttp://example.com/a.ts", "list of other files"),
        (b"PK\x03\x04" + bytes(99), "packed"),
        (bytes(range(1, 200)), "raw samples need `encoding`"),
    ],
)
def test_what_else_people_send(content: bytes, words: str, tmp_path: Path, limits: AudioLimits) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(UnsupportedAudio) as caught:
        open_decoder(AudioInput(path), limits, None)
    assert words in str(caught.value)
    assert "`file`" in str(caught.value) or "encoding" in str(caught.value)
