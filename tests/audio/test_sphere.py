"""NIST SPHERE: what a head of text says of bare samples."""

from pathlib import Path

import numpy as np
import pytest

from app.audio.decode import AudioLimits
from app.audio.options import AudioInput
from app.audio.source import open_decoder
from app.vad.errors import InvalidAudio, UnsupportedAudio
from tests.audio.recordings import decoded, voice

RATE = 16_000
PCM = (voice(2, RATE, 1)[:, 0] * 32_767).astype("<i2")


def sphere(samples: bytes, *, size: int = 1_024, line_end: str = "\n", **fields: str) -> bytes:
    """`fields`: with their type in front of the value, as `-i 16000`."""
    lines = ["NIST_1A", f"{size:7d}", *(f"{name} {value}" for name, value in fields.items()), "end_head", ""]
    return line_end.join(lines).encode().ljust(size, b" ") + samples


def described(**fields: str) -> dict[str, str]:
    usual = {
        "database_id": "-s5 TIMIT", "sample_count": f"-i {len(PCM)}", "sample_n_bytes": "-i 2", "channel_count": "-i 1",
        "sample_byte_format": "-s2 01", "sample_rate": f"-i {RATE}", "sample_coding": "-s3 pcm",
    }  # fmt: skip
    return {name: value for name, value in (usual | fields).items() if value}


def read(content: bytes, folder: Path) -> tuple[np.ndarray, dict[str, str]]:
    path = folder / "a.wav"  # as TIMIT's files are called
    path.write_bytes(content)
    decoder = open_decoder(AudioInput(path), AudioLimits(max_seconds=3600), None)
    try:
        samples = decoded(decoder)
    finally:
        decoder.close()
    assert (decoder.info.format, decoder.info.sample_rate) == ("SPHERE", RATE)
    return samples, {warning.code: warning.detail for warning in decoder.warnings()}


@pytest.mark.parametrize("size", [1_024, 2_048, 16_384])
@pytest.mark.parametrize(("order", "kind"), [("01", "<i2"), ("10", ">i2")])
def test_pcm_of_either_order(order: str, kind: str, size: int, tmp_path: Path) -> None:
    content = sphere(PCM.astype(kind).tobytes(), size=size, **described(sample_byte_format=f"-s2 {order}"))
    samples, details = read(content, tmp_path)
    np.testing.assert_array_equal(samples[:, 0], PCM / np.float32(32_768))
    assert details == {}


@pytest.mark.parametrize("coding", ["-s4 ulaw", "-s6 mu-law"])
def test_mu_law(coding: str, tmp_path: Path) -> None:
    fields = described(sample_coding=coding, sample_n_bytes="-i 1", sample_byte_format="-s1 1", sample_count="-i 256")
    samples, _ = read(sphere(bytes(range(256)), **fields), tmp_path)
    assert len(samples) == 256
    assert (samples[0, 0], samples[128, 0]) == (-32_124 / 32_768, 32_124 / 32_768)


def test_two_channels_and_more_behind_them(tmp_path: Path) -> None:
    stereo = np.stack((PCM, -PCM), axis=1)
    content = sphere(stereo.tobytes() + bytes(700), **described(channel_count="-i 2"))
    samples, details = read(content, tmp_path)
    np.testing.assert_array_equal(samples, stereo / np.float32(32_768))
    assert details == {}


def test_without_a_count_or_a_coding_all_is_read(tmp_path: Path) -> None:
    samples, _ = read(sphere(PCM.tobytes(), **described(sample_count="", sample_coding="")), tmp_path)
    assert len(samples) == len(PCM)


def test_lines_may_end_as_they_do_on_windows(tmp_path: Path) -> None:
    samples, _ = read(sphere(PCM.tobytes(), line_end="\r\n", **described()), tmp_path)
    assert len(samples) == len(PCM)


def test_what_is_cut_and_what_is_joined(tmp_path: Path) -> None:
    whole = sphere(PCM.tobytes(), **described())
    assert "1000 of 64000 bytes" in read(whole[:-1_000], tmp_path)[1]["truncated"]
    assert f"begins at byte {len(whole)}," in read(whole + whole, tmp_path)[1]["joined"]


@pytest.mark.parametrize("packed", ["embedded-shorten-v2.00", "embedded-wavpack-v1"])
def test_compressed_samples_are_refused_with_what_to_do(packed: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAudio, match=f"{packed}.*sph2pipe"):
        read(sphere(b"ajkg" + bytes(5_000), **described(sample_coding=f"-s26 pcm,{packed}")), tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"NIST_1A\n", b"NIST_1A\nmany\n", b"NIST_1A\n   9999999\n" + bytes(2_000), b"NIST_1A\n      8\n" + bytes(2_000)],
)
def test_a_head_that_makes_no_sense(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidAudio):
        read(content, tmp_path)


def test_what_is_not_said_is_not_guessed(tmp_path: Path) -> None:
    for missing in ("sample_rate", "sample_byte_format", "sample_n_bytes"):
        with pytest.raises(UnsupportedAudio):
            read(sphere(PCM.tobytes(), **described(**{missing: ""})), tmp_path)
