"""What happens around decoding: crashes, strange file names, pauses, no ffmpeg; none of it harms the next file."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.decode import AudioLimits, Decoder
from app.audio.ffmpeg import FfmpegDecoder
from app.audio.options import AudioInput
from app.audio.source import open_decoder
from app.vad.errors import InvalidAudio, UnsupportedAudio, VadError
from tests.attacks.corpus import CASES, LIMIT_S, Attack
from tests.audio.ffmpegs import encode, run
from tests.audio.recordings import decoded, voice

LIMITS = AudioLimits(max_seconds=LIMIT_S)
RATE = 16_000
NAMES = [
    "-i",
    "a b'c\".x",
    "%d%s%03d.png",
    "http:x.m3u8",
    "日本語 🎧",
    "line\nbreak",
    "|sh",
    "a:b,c=d;e",
    b"\xff\xfe.wav",
]


def spoken(path: Path, *options: str, seconds: float = 2) -> Path:
    """A recording in the coding that `options` name."""
    plain = path.with_name("plain.wav")
    soundfile.write(plain, voice(seconds, RATE, 1), RATE, subtype="PCM_16")
    try:
        return encode(plain, path, *options)
    except LookupError as error:
        pytest.skip(str(error))


def drained(decoder: Decoder) -> int:
    """Frames in it."""
    try:
        return len(decoded(decoder))
    finally:
        decoder.close()


@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU])
def test_a_child_that_dies_costs_its_own_file_alone(sent: signal.Signals, each_ffmpeg: Path, tmp_path: Path) -> None:
    # Long enough that the child is still writing, whatever the pipe holds.
    path = spoken(tmp_path / "a.aiff", "-c:a", "pcm_s16be", seconds=120)
    decoder = open_decoder(AudioInput(path), LIMITS, each_ffmpeg)
    assert isinstance(decoder, FfmpegDecoder)
    assert len(decoder.read(1_000)) == 1_000
    os.kill(decoder.pid, sent)
    with pytest.raises(InvalidAudio, match="decoder failed"):
        drained(decoder)
    assert not Path(f"/proc/{decoder.pid}").exists()
    assert drained(open_decoder(AudioInput(path), LIMITS, each_ffmpeg)) == 120 * RATE


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_file_name_is_only_a_name(name: str | bytes, each_ffmpeg: Path, tmp_path: Path) -> None:
    spoken(tmp_path / "honest.aiff", "-c:a", "pcm_s16be")
    for honest in ("plain.wav", "honest.aiff"):
        path = tmp_path / os.fsdecode(name)
        path.unlink(missing_ok=True)
        (tmp_path / honest).rename(path)
        assert drained(open_decoder(AudioInput(path), LIMITS, each_ffmpeg)) == 2 * RATE


@pytest.mark.parametrize("pause_s", [30, 7 * 24 * 3600])
def test_a_pause_in_the_time_stamps_cuts_nothing(pause_s: int, each_ffmpeg: Path, tmp_path: Path) -> None:
    jump = f"setts=ts=if(gt(PTS*TB\\,1)\\,PTS+{pause_s}/TB\\,PTS)"
    path = spoken(tmp_path / "a.mka", "-c:a", "pcm_s16le", "-bsf:a", jump)
    decoder = open_decoder(AudioInput(path), AudioLimits(max_seconds=10), each_ffmpeg)
    samples = decoded(decoder)
    decoder.close()
    np.testing.assert_allclose(samples, voice(2, RATE, 1), atol=1e-4)
    assert not decoder.truncated


def test_the_sound_of_a_film_is_whole(each_ffmpeg: Path, tmp_path: Path) -> None:
    spoken(tmp_path / "a.aiff", "-c:a", "pcm_s16be")
    film = tmp_path / "film.mkv"
    picture = ("-f", "lavfi", "-i", "testsrc=s=64x64:d=2", "-c:v", "mpeg4")
    run(each_ffmpeg, "-i", str(tmp_path / "plain.wav"), *picture, "-c:a", "pcm_s16le", str(film))
    decoder = open_decoder(AudioInput(film), LIMITS, each_ffmpeg)
    assert drained(decoder) == 2 * RATE
    assert not decoder.truncated


@pytest.mark.parametrize("attack", CASES, ids=str)
def test_without_ffmpeg_nothing_else_goes_wrong(attack: Attack, tmp_path: Path) -> None:
    try:
        path = attack.build(tmp_path)
    except LookupError as error:
        pytest.skip(str(error))
    decoder, error = tried(path)
    if error is not None:
        assert type(error) in {attack.expected, UnsupportedAudio, InvalidAudio}
    else:
        assert attack.expected is None
        assert decoder is not None
        assert decoder.name in ("soundfile", "raw")
        assert decoder.truncated == attack.truncated


def tried(path: Path) -> tuple[Decoder | None, VadError | None]:
    """A decoder that has read all of it without ffmpeg, or what it said instead."""
    try:
        decoder = open_decoder(AudioInput(path), LIMITS, None)
        drained(decoder)
    except VadError as error:
        return None, error
    return decoder, None
