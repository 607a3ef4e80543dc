"""What telephone exchanges record: codings of the line, bare or in WAV."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.options import InputOptions
from app.audio.source import open_decoder
from tests.attacks.bytes import chunk, riff
from tests.audio.ffmpegs import AVAILABLE
from tests.audio.recordings import decoded
from tests.field.asking import SECONDS, SOUND, Pairs, ask, coded, refusal, wav
from tests.server import RunningServer

NARROW = SOUND[::2]
"""At 8 kHz."""


@pytest.fixture(scope="module")
def narrow(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    """Segments of the recording at 8 kHz."""
    segments = ask(server, wav(tmp_path_factory.mktemp("narrow"), NARROW, 8_000)).segments
    assert len(segments) == 2
    return segments


def bare(folder: Path, subtype: str) -> bytes:
    """Without a header, as libsndfile writes it."""
    soundfile.write(folder / "bare", NARROW, 8_000, format="RAW", subtype=subtype)
    return (folder / "bare").read_bytes()


@pytest.mark.parametrize(
    ("encoding", "subtype", "name", "ms"),
    [("mulaw", "ULAW", "RAW", 10), ("alaw", "ALAW", "RAW", 10), ("vox", "VOX_ADPCM", "VOX", 30),
     ("adpcm_oki", "VOX_ADPCM", "VOX", 30)],
    ids=[".ulaw", ".alaw", ".vox", "adpcm_oki"],
)  # fmt: skip
def test_bare_files(
    encoding: str, subtype: str, name: str, ms: int, server: RunningServer, narrow: Pairs, tmp_path: Path
) -> None:
    answer = ask(server, bare(tmp_path, subtype), encoding=encoding)
    assert answer.is_near(narrow, ms)
    assert (answer.audio["format"], answer.audio["sample_rate"]) == (name, 8_000)
    assert answer.audio["duration_ms"] == SECONDS * 1000
    assert answer.codes == ["band_limited"]


def test_vox_at_another_rate(server: RunningServer, tmp_path: Path) -> None:
    answer = ask(server, bare(tmp_path, "VOX_ADPCM"), encoding="vox", sample_rate="6000")
    assert (answer.audio["sample_rate"], answer.audio["duration_ms"]) == (6_000, round(SECONDS * 8_000 / 6))


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"encoding": "vox", "channels": "2"}, "channels"),
        ({"encoding": "g722", "sample_rate": "8000"}, "sample_rate"),
        ({"encoding": "g729", "channels": "2"}, "channels"),
    ],
)
def test_what_a_coding_cannot_be(options: dict[str, str], option: str, server: RunningServer) -> None:
    problem = server.post("/vad", content=b"\x80" * 999, params=options).json()
    assert (problem["code"], problem["option"]) == ("invalid_option", option)


@pytest.mark.parametrize("encoding", ["vox", "g722", "g729"])
def test_a_file_with_a_header_is_told(encoding: str, server: RunningServer, tmp_path: Path) -> None:
    status, code, detail = refusal(server, wav(tmp_path).read_bytes(), encoding=encoding)
    assert (status, code) == (422, "invalid_option")
    assert "WAV" in detail


@pytest.mark.parametrize(
    ("suffix", "options", "asked", "name"),
    [
        (".gsm", ("-c:a", "libgsm", "-ar", "8000", "-f", "gsm"), {}, "GSM"),
        (".g722", ("-c:a", "g722"), {"encoding": "g722"}, "G722"),
        (".wav", ("-c:a", "g722"), {}, "WAV"),
        (".wav", ("-c:a", "g726", "-ar", "8000"), {}, "WAV"),
        (".wav", ("-c:a", "g723_1", "-ar", "8000", "-b:a", "6300"), {}, "WAV"),
    ],
    ids=["gsm", "g722", "G.722 in WAV", "G.726 in WAV", "G.723.1 in WAV"],
)
def test_codings_of_the_line(
    suffix: str, options: tuple[str, ...], asked: dict[str, str], name: str, server: RunningServer, plain: Pairs,
    tmp_path: Path,
) -> None:  # fmt: skip
    try:
        path = coded(tmp_path, suffix, *options)
    except LookupError as error:
        pytest.skip(str(error))
    answer = ask(server, path, **asked)
    assert answer.is_near(plain, 60)
    assert answer.audio["format"] == name
    assert [code for code in answer.codes if code != "band_limited"] == []


def g729() -> bytes:
    """Frames of 10 ms made by hand, because nothing here encodes G.729: erased ones (all zeros, which decode to
    nothing) where the usual recording is quiet, any others where it is loud."""
    generator = np.random.default_rng(3)
    loud = [any(start <= 0.01 * frame < stop for start, stop in ((2.0, 4.0), (6.0, 8.0))) for frame in range(1_000)]
    return b"".join(generator.integers(1, 256, 10, dtype=np.uint8).tobytes() if each else bytes(10) for each in loud)


def in_wav(frames: bytes) -> bytes:
    """Behind the tag for G.729."""
    fmt = struct.pack("<HHIIHHH", 0x83, 1, 8_000, 1_000, 10, 0, 0)
    return riff(chunk(b"fmt ", fmt), chunk(b"data", frames))


@pytest.mark.parametrize(("wrap", "asked", "name"), [(bytes, {"encoding": "g729"}, "G729"), (in_wav, {}, "WAV")],
                         ids=["bare", "in WAV"])  # fmt: skip
def test_g729(
    wrap: Callable[[bytes], bytes], asked: dict[str, str], name: str, server: RunningServer, tmp_path: Path
) -> None:
    content = wrap(g729())
    answer = ask(server, content, **asked)
    assert (answer.audio["format"], answer.audio["duration_ms"]) == (name, SECONDS * 1000)
    assert answer.audio["sample_rate"] == 8_000
    # The tiny model hears noise of the whole band alone, so it is the samples that are looked at.
    (tmp_path / "a").write_bytes(content)
    decoder = open_decoder(InputOptions.parse(asked).source(tmp_path / "a"), AudioLimits(max_seconds=60), ffmpeg())
    samples = decoded(decoder)[:, 0]
    decoder.close()
    levels = np.abs(samples).reshape(-1, 8_000).mean(axis=1)  # of seconds
    assert levels[[2, 3, 6, 7]].min() > 30 * levels[[0, 1, 5, 9]].max()


def ffmpeg() -> Path:
    return next(iter(AVAILABLE.values()))
