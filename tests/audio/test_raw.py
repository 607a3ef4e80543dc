"""Bare samples: every coding against another implementation's, and what content types say."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.options import ENCODINGS, AudioInput, InputOptions, form_of_content_type
from app.audio.source import open_decoder
from app.vad.errors import InvalidOption
from tests.audio.ffmpegs import encode
from tests.audio.recordings import decoded, voice

RATE = 16_000
SUBTYPES = {
    "pcm_s16le": ("PCM_16", "LITTLE"), "pcm_s16be": ("PCM_16", "BIG"), "pcm_s24le": ("PCM_24", "LITTLE"),
    "pcm_s24be": ("PCM_24", "BIG"), "pcm_s32le": ("PCM_32", "LITTLE"), "pcm_s32be": ("PCM_32", "BIG"),
    "pcm_f32le": ("FLOAT", "LITTLE"), "pcm_f32be": ("FLOAT", "BIG"), "pcm_f64le": ("DOUBLE", "LITTLE"),
    "pcm_f64be": ("DOUBLE", "BIG"), "pcm_u8": ("PCM_U8", "FILE"), "mulaw": ("ULAW", "FILE"), "alaw": ("ALAW", "FILE"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_coding_is_as_libsndfile_has_it(name: str, channels: int, tmp_path: Path, limits: AudioLimits) -> None:
    subtype, endian = SUBTYPES[name]
    path = tmp_path / "a.raw"
    soundfile.write(path, voice(0.7, RATE, channels), RATE, format="RAW", subtype=subtype, endian=endian)
    expected, _ = soundfile.read(
        path, dtype="float32", always_2d=True, format="RAW", subtype=subtype, endian=endian, samplerate=RATE,
        channels=channels,
    )  # fmt: skip
    options = InputOptions(encoding=name, sample_rate=RATE, channels=channels)
    decoder = open_decoder(options.source(path), limits, None)
    np.testing.assert_array_equal(decoded(decoder), expected)
    assert (decoder.info.format, decoder.info.subtype, decoder.info.sample_rate) == ("RAW", subtype, RATE)
    decoder.close()


@pytest.mark.parametrize("name", ["mulaw", "alaw"])
def test_every_code_of_both_laws(name: str, tmp_path: Path) -> None:
    path = tmp_path / "all"
    path.write_bytes(bytes(range(256)))
    expected, _ = soundfile.read(
        path, dtype="float32", format="RAW", subtype=SUBTYPES[name][0], samplerate=8_000, channels=1
    )
    np.testing.assert_array_equal(ENCODINGS[name].decode(path.read_bytes()), expected)


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("audio/L16;rate=8000;channels=2", ("pcm_s16be", 8_000, 2)),
        ("audio/l16; rate=44100", ("pcm_s16be", 44_100, 1)),
        ("audio/L24;rate=48000", ("pcm_s24be", 48_000, 1)),
        ("audio/basic", ("mulaw", 8_000, 1)),
        ("audio/PCMA", ("alaw", 8_000, 1)),
        ("audio/PCMU;rate=16000", ("mulaw", 16_000, 1)),
        ("audio/pcm;rate=24000", ("pcm_s16le", 24_000, 1)),
        ("audio/wav", None),
        ("application/octet-stream", None),
        ("", None),
    ],
)
def test_content_types(content_type: str, form: tuple[str, int, int] | None) -> None:
    found = form_of_content_type(content_type)
    assert (None if found is None else (found.encoding.name, found.sample_rate, found.channels)) == form


def test_a_file_with_a_header_wins_over_a_content_type(tmp_path: Path, limits: AudioLimits, ffmpeg: Path) -> None:
    path = tmp_path / "a.au"
    soundfile.write(path, voice(0.5, 8_000, 1), 8_000, subtype="ULAW")
    decoder = open_decoder(InputOptions().source(path, "audio/basic"), limits, ffmpeg)
    assert decoder.info.format == "AU"
    decoder.close()
    with pytest.raises(InvalidOption, match="AU file") as caught:
        open_decoder(InputOptions(encoding="mulaw").source(path), limits, ffmpeg)
    assert caught.value.option == "encoding"


@pytest.mark.parametrize("given", [{"sample_rate": "8000"}, {"channels": "2"}])
def test_what_goes_with_an_encoding_alone(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="is for raw samples, together with encoding") as caught:
        InputOptions.parse(given).source(tmp_path)
    assert caught.value.option in given


def test_an_unknown_encoding_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"pcm_s16le.*mulaw"):
        InputOptions.parse({"encoding": "mp3"}).source(tmp_path)


def test_g722_without_a_header(tmp_path: Path, limits: AudioLimits, each_ffmpeg: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(2, RATE, 1), RATE)
    path = encode(tmp_path / "a.wav", tmp_path / "a.g722", "-c:a", "g722").rename(tmp_path / "a.upload")
    decoder = open_decoder(InputOptions.parse({"encoding": "g722"}).source(path), limits, each_ffmpeg)
    assert (decoder.info.sample_rate, len(decoded(decoder))) == (RATE, 2 * RATE)
    decoder.close()


def test_an_odd_byte_at_the_end_is_no_sample(tmp_path: Path, limits: AudioLimits) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(7))
    decoder = open_decoder(AudioInput(path, InputOptions(encoding="s16le").source(path).raw), limits, None)
    assert len(decoded(decoder)) == 3
    decoder.close()
