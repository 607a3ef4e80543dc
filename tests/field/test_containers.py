"""Every container that users have sent: read, with the same segments as the WAV it was made of."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.audio.ffmpegs import AVAILABLE, run
from tests.field.asking import SECONDS, Pairs, ask, coded, wav
from tests.server import RunningServer

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """A way to write the recording."""

    name: str
    suffix: str
    options: tuple[str, ...]
    container: str
    """As the answer has it."""
    ms: int = 20
    """Most by which an edge may be off, less `late_ms`: codings smear what is loud over half a block."""
    late_ms: int = 0
    """By how much all of it comes later: what the encoder puts in front and the container does not take away."""
    codes: tuple[str, ...] = ()
    exact: bool = False
    """Whether the coding loses nothing."""

    def __str__(self) -> str:
        return self.name


def lossless(name: str, suffix: str, container: str, *options: str) -> Case:
    return Case(name, suffix, options, container, ms=0, exact=True)


CASES = [
    lossless("AIFF", ".aiff", "AIFF", "-c:a", "pcm_s16be"),
    lossless("AIFF-C", ".aifc", "AIFF", "-f", "aiff", "-c:a", "pcm_s16le"),
    lossless("CAF", ".caf", "CAF", "-c:a", "pcm_s16le"),
    lossless("CAF of ALAC", ".caf", "CAF", "-c:a", "alac"),
    lossless("ALAC", ".m4a", "MP4", "-c:a", "alac"),
    lossless("AU", ".au", "AU", "-c:a", "pcm_s16be"),
    lossless("VOC", ".voc", "VOC", "-c:a", "pcm_s16le"),
    lossless("TTA", ".tta", "TTA", "-c:a", "tta"),
    lossless("WavPack", ".wv", "WAVPACK", "-c:a", "wavpack"),
    lossless("FLAC", ".flac", "FLAC", "-c:a", "flac"),
    lossless("Ogg FLAC", ".oga", "OGG", "-c:a", "flac"),
    lossless("AVI", ".avi", "AVI", "-c:a", "pcm_s16le"),
    Case("m4a with its index at the end", ".m4a", ("-c:a", "aac", "-b:a", "64k"), "MP4"),
    Case("m4a with its index in front", ".m4a", ("-c:a", "aac", "-b:a", "64k", "-movflags", "+faststart"), "MP4"),
    Case("3gp of AMR", ".3gp", ("-c:a", "libopencore_amrnb", "-ar", "8000"), "MP4", ms=40, codes=("band_limited",)),
    Case("AMR", ".amr", ("-c:a", "libopencore_amrnb", "-ar", "8000"), "AMR", ms=40, codes=("band_limited",)),
    Case("MediaRecorder's webm, endless", ".webm", ("-c:a", "libopus", "-live", "1"), "WEBM"),
    Case("WhatsApp's ogg", ".ogg", ("-c:a", "libopus", "-b:a", "16k", "-application", "voip"), "OGG", ms=40),
    Case("Safari's fragmented mp4", ".mp4",
         ("-c:a", "aac", "-b:a", "64k", "-movflags", "frag_keyframe+empty_moov+default_base_moof"), "MP4", late_ms=64),
    Case("MPEG-TS", ".ts", ("-c:a", "aac", "-b:a", "64k"), "MPEG-TS", late_ms=64),
    Case("FLV", ".flv", ("-c:a", "aac", "-b:a", "64k", "-ar", "44100"), "FLV", late_ms=23),
    Case("wma", ".wma", ("-c:a", "wmav2", "-b:a", "96k"), "ASF", ms=100),
    Case("AVI of MP3", ".avi", ("-c:a", "libmp3lame"), "AVI", late_ms=69),
    Case("MPEG-PS", ".mpg", ("-c:a", "mp2", "-b:a", "128k", "-ar", "48000"), "MPEG-PS", late_ms=10),
    Case("MXF", ".mxf", ("-c:a", "pcm_s16le", "-ar", "48000", "-f", "mxf_opatom"), "MXF"),
    Case("RealMedia", ".rm", ("-c:a", "ac3", "-b:a", "96k", "-ar", "44100"), "RM"),
    Case("LATM", ".latm", ("-c:a", "aac", "-b:a", "64k", "-f", "latm"), "LATM", late_ms=0, ms=70),
    Case("DTS", ".dts", ("-c:a", "dca", "-strict", "-2", "-ar", "48000", "-ac", "2"), "DTS"),
    Case("TrueHD", ".thd", ("-c:a", "truehd", "-strict", "-2", "-ar", "48000", "-f", "truehd"), "TRUEHD"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_segments(case: Case, server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    try:
        path = coded(tmp_path, case.suffix, *case.options)
    except LookupError as error:
        pytest.skip(str(error))
    answer = ask(server, path)
    late = [(start + case.late_ms, end + case.late_ms) for start, end in plain]
    assert answer.is_near(late, case.ms), (answer.segments, late)
    assert (answer.audio["format"], tuple(answer.codes)) == (case.container, case.codes)
    assert not case.exact or answer.audio["duration_ms"] == SECONDS * 1000


@pytest.fixture(scope="module")
def ffmpeg() -> Path:
    if not AVAILABLE:
        pytest.skip("no ffmpeg is installed")
    return next(iter(AVAILABLE.values()))


def test_flac_from_a_pipe(ffmpeg: Path, server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    command = [ffmpeg, "-loglevel", "error", "-i", wav(tmp_path), "-c:a", "flac", "-f", "flac", "pipe:1"]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    assert piped[21] & 0x0F == 0 == int.from_bytes(piped[22:26], "big")  # its number of samples
    answer = ask(server, piped)
    assert answer.is_near(plain, 0)
    assert (answer.audio["format"], answer.audio["duration_ms"], answer.codes) == ("FLAC", SECONDS * 1000, [])


def test_a_windows_film(ffmpeg: Path, server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = tmp_path / "film.wmv"
    run(
        ffmpeg, "-f", "lavfi", "-i", "testsrc=s=64x64:d=10:r=10", "-i", str(wav(tmp_path)), "-map", "0:v",
        "-map", "1:a", "-c:v", "msmpeg4v3", "-c:a", "wmav2", "-b:a", "96k", str(path),
    )  # fmt: skip
    answer = ask(server, path)
    assert answer.is_near(plain, 100)
    assert (answer.audio["format"], answer.codes) == ("ASF", [])
