"""Audio in memory: a file is written only where a child process has to read it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.options import AudioInput, InputOptions
from app.audio.source import NeedsChild, open_audio, open_decoder
from app.vad.errors import AudioError
from tests.audio.recordings import decoded, voice

RATE = 16_000


def written(folder: Path, suffix: str, subtype: str | None = None) -> Path:
    path = folder / f"a{suffix}"
    form = "RAW" if suffix == ".raw" else None
    soundfile.write(path, voice(0.7, RATE, 2), RATE, subtype=subtype, format=form)
    return path


def in_memory(path: Path, spooled: list[Path]) -> AudioInput:
    """The file's bytes, and a place where they are written to when somebody asks for that."""
    data, place = path.read_bytes(), path.with_name("spooled")

    def spool() -> None:
        place.write_bytes(data)
        spooled.append(place)

    said = {"encoding": "pcm_s16le", "channels": 2} if path.suffix == ".raw" else {}
    given = InputOptions.parse(said).source(place)
    return AudioInput(place, given.raw, given.raw_for_certain, data=data, spool=spool)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [(".wav", "PCM_16"), (".wav", "IMA_ADPCM"), (".flac", "PCM_16"), (".rf64", "PCM_24"), (".raw", "PCM_16")],
)
def test_what_this_process_reads_is_not_written(suffix: str, subtype: str, tmp_path: Path, limits: AudioLimits) -> None:
    path = written(tmp_path, suffix, subtype)
    expected, _ = soundfile.read(
        path, dtype="float32", **({"format": "RAW", "channels": 2, "samplerate": RATE, "subtype": subtype}
                                  if suffix == ".raw" else {})
    )  # fmt: skip
    spooled: list[Path] = []
    decoder = open_decoder(in_memory(path, spooled), limits, None, in_process=True)
    np.testing.assert_array_equal(decoded(decoder), expected)
    decoder.close()
    assert spooled == []


def test_what_a_child_reads_is_written_first(tmp_path: Path, limits: AudioLimits, ffmpeg: Path) -> None:
    path = written(tmp_path, ".mp3")
    spooled: list[Path] = []
    source = in_memory(path, spooled)
    with pytest.raises(NeedsChild):
        open_decoder(source, limits, ffmpeg, in_process=True)
    assert spooled == []
    decoder = open_decoder(source, limits, ffmpeg)
    again = open_decoder(AudioInput(path), limits, ffmpeg)
    np.testing.assert_array_equal(decoded(decoder), decoded(again))
    decoder.close()
    again.close()
    assert spooled == [tmp_path / "spooled"]


def test_a_refused_file_is_closed(tmp_path: Path, limits: AudioLimits) -> None:
    """Warnings are errors in tests: a file that nobody closes is one."""
    for content in (b"", b"hello", written(tmp_path, ".flac").read_bytes()[:50]):
        path = tmp_path / "refused"
        path.write_bytes(content)
        with pytest.raises(AudioError):
            open_audio(AudioInput(path), sample_rate=RATE, channel="mix", block_seconds=1, limits=limits, ffmpeg=None)
