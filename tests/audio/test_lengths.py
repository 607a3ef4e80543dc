"""WAV files whose lengths are not what they hold: everything in the file is read, and what was wrong is told."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.facts import examine
from app.audio.options import AudioInput
from app.audio.source import open_decoder
from tests.attacks.bytes import chunk, riff, wave_format
from tests.audio.recordings import Samples, decoded, voice

RATE = 16_000
SECONDS = 2
DATA = (voice(SECONDS, RATE, 1)[:, 0] * 32_768).astype("<i2").tobytes()
ORIGINAL = np.frombuffer(DATA, dtype="<i2").astype(np.float32) / 32_768
LIST = chunk(b"LIST", b"INFOISFT\x0e\x00\x00\x00Lavf60.16.100\x00")


def wav(length: int, data: bytes = DATA, after: bytes = b"", fmt: bytes = wave_format()) -> bytes:
    body = b"WAVE" + fmt + b"data" + struct.pack("<I", length) + data + after
    return b"RIFF" + struct.pack("<I", 0 if length == 0 else min(len(body), 2**32 - 1)) + body


def read(content: bytes | Path, folder: Path, limits: AudioLimits) -> tuple[Samples, list[str], dict[str, str]]:
    """Samples, codes of the warnings, and their details."""
    path = content if isinstance(content, Path) else folder / "a.wav"
    if not isinstance(content, Path):
        path.write_bytes(content)
    decoder = open_decoder(AudioInput(path), limits, None)
    samples = decoded(decoder)
    decoder.close()
    details = {warning.code: warning.detail for warning in decoder.warnings()}
    return samples[:, 0], list(details), details


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFD0, 0xFFFFF000])
def test_a_placeholder_means_up_to_the_end(length: int, tmp_path: Path, limits: AudioLimits) -> None:
    samples, codes, details = read(wav(length), tmp_path, limits)
    np.testing.assert_array_equal(samples, ORIGINAL)
    assert codes == ["header_repaired"]
    assert f"{len(DATA)} bytes" in details["header_repaired"]


def test_unknown_by_convention_is_nothing_to_tell(tmp_path: Path, limits: AudioLimits) -> None:
    samples, codes, _ = read(wav(0xFFFFFFFF), tmp_path, limits)
    np.testing.assert_array_equal(samples, ORIGINAL)
    assert codes == []


def test_a_cut_file(tmp_path: Path, limits: AudioLimits) -> None:
    samples, codes, details = read(wav(len(DATA), DATA[: len(DATA) // 2]), tmp_path, limits)
    np.testing.assert_array_equal(samples, ORIGINAL[: len(ORIGINAL) // 2])
    assert codes == ["truncated"]
    assert f"{len(DATA) // 2} of {len(DATA)} bytes" in details["truncated"]


@pytest.mark.parametrize(
    "after",
    [LIST, LIST + chunk(b"id3 ", b"ID3\x04" + bytes(20)), b"ID3\x03" + bytes(300), b"TAG" + bytes(125), bytes(4_096),
     b"\0"],
    ids=["list", "list and id3", "bare id3v2", "id3v1", "padding", "a byte"],
)  # fmt: skip
def test_what_is_no_sample_is_passed_by(after: bytes, tmp_path: Path, limits: AudioLimits) -> None:
    samples, codes, _ = read(wav(len(DATA), after=after), tmp_path, limits)
    np.testing.assert_array_equal(samples, ORIGINAL)
    assert codes == []


@pytest.mark.parametrize("counted", [len(DATA) // 2, 3_200, 2])
def test_samples_behind_what_the_header_counts(counted: int, tmp_path: Path, limits: AudioLimits) -> None:
    samples, codes, details = read(wav(counted), tmp_path, limits)
    np.testing.assert_array_equal(samples, ORIGINAL)
    assert codes == ["header_repaired"]
    assert f"{len(DATA) - counted} more follow" in details["header_repaired"]


@pytest.mark.parametrize("tail", [b"", LIST], ids=["plain", "list between"])
def test_files_that_were_joined(tail: bytes, tmp_path: Path, limits: AudioLimits) -> None:
    one = riff(wave_format(), chunk(b"data", DATA), *([tail] if tail else []))
    samples, codes, details = read(one * 3, tmp_path, limits)
    np.testing.assert_array_equal(samples, np.tile(ORIGINAL, 3))
    assert codes == ["header_repaired"]
    assert "3 WAV files" in details["header_repaired"]


def test_a_joined_file_of_another_form_is_told(tmp_path: Path, limits: AudioLimits) -> None:
    other = riff(wave_format(rate=8_000), chunk(b"data", DATA))
    samples, codes, details = read(riff(wave_format(), chunk(b"data", DATA)) + other, tmp_path, limits)
    np.testing.assert_array_equal(samples, ORIGINAL)
    assert codes == ["joined"]
    assert f"begins at byte {len(riff(wave_format(), chunk(b'data', DATA)))}" in details["joined"]


SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"]


@pytest.mark.parametrize(
    ("form", "endian"), [("WAV", "LITTLE"), ("WAV", "BIG"), ("WAVEX", "LITTLE"), ("RF64", "LITTLE")]
)
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_every_plain_coding_is_read_by_hand_as_by_libsndfile(
    subtype: str, endian: str, form: str, tmp_path: Path, limits: AudioLimits
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(0.7, RATE, 3), RATE, format=form, subtype=subtype, endian=endian)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    decoder = open_decoder(AudioInput(path), limits, None)
    assert (decoder.name, decoder.info.subtype) == ("raw", subtype)
    assert decoder.info.format == ("RF64" if form == "RF64" else "WAV")
    np.testing.assert_array_equal(decoded(decoder), expected)
    decoder.close()
    assert list(decoder.warnings()) == []


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_every_plain_coding_is_read_by_hand_without_its_length(
    subtype: str, endian: str, tmp_path: Path, limits: AudioLimits
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(0.7, RATE, 3), RATE, subtype=subtype, endian=endian)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    data = bytearray(path.read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    decoder = open_decoder(AudioInput(path), limits, None)
    assert (decoder.name, decoder.info.subtype) == ("raw", subtype)
    np.testing.assert_array_equal(decoded(decoder)[: len(expected)], expected)
    decoder.close()


def test_a_coding_of_more_than_samples_with_length_0(tmp_path: Path, limits: AudioLimits, each_ffmpeg: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(2, RATE, 1), RATE, subtype="IMA_ADPCM")
    expected, _ = soundfile.read(path, dtype="float32")
    data = bytearray(path.read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    decoder = open_decoder(AudioInput(path), limits, each_ffmpeg)
    samples = decoded(decoder)[:, 0]
    decoder.close()
    assert decoder.name == "ffmpeg"
    assert len(samples) == len(expected)
    assert [warning.code for warning in decoder.warnings()] == ["header_repaired"]


def sparse(path: Path, header: bytes, marks: list[tuple[int, bytes]], size: int) -> Path:
    """A file of zeros but for a few places; it takes no room on disk."""
    with path.open("wb") as file:
        file.write(header)
        for at, content in marks:
            file.seek(len(header) + at)
            file.write(content)
        file.truncate(len(header) + size)
    return path


FOUR_GIB = 1 << 32
TEN_MINUTES = 600 * RATE * 2


def wrapped(folder: Path) -> Path:
    """4 GiB and ten minutes of 16-bit mono at 16 kHz, whose sizes have wrapped."""
    header = wav(TEN_MINUTES, b"")
    end = np.full(100, 1_000, dtype="<i2").tobytes()
    return sparse(folder / "long.wav", header, [(FOUR_GIB + TEN_MINUTES - 200, end)], FOUR_GIB + TEN_MINUTES)


def with_list(folder: Path) -> Path:
    path = wrapped(folder)
    with path.open("ab") as file:
        file.write(LIST)
    return path


@pytest.mark.parametrize("build", [wrapped, with_list])
def test_sizes_that_have_wrapped(build: Callable[[Path], Path], tmp_path: Path) -> None:
    with build(tmp_path).open("rb") as file:
        wave = examine(file, "WAV").wave
    assert wave is not None
    assert wave.ranges == ((44, FOUR_GIB + TEN_MINUTES),)
    assert wave.repaired is not None
    assert f"{FOUR_GIB} more follow" in wave.repaired


@pytest.mark.full
def test_all_of_a_wrapped_file_is_read(tmp_path: Path) -> None:
    decoder = open_decoder(AudioInput(wrapped(tmp_path)), AudioLimits(max_seconds=48 * 3600), None)
    count, last = 0, np.zeros((0, 1), dtype=np.float32)
    while len(block := decoder.read(1 << 24)):
        count, last = count + len(block), block
    decoder.close()
    assert count == (FOUR_GIB + TEN_MINUTES) // 2
    np.testing.assert_array_equal(last[-100:, 0], np.full(100, 1_000 / 32_768, dtype=np.float32))
    assert [warning.code for warning in decoder.warnings()] == ["header_repaired"]


FRONTS = {
    "line ends": b"\r\n\r\n",
    "byte order mark": b"\xef\xbb\xbf",
    "UTF-16's": b"\xff\xfe",
    "zeros": bytes(1_000),
    "the head of a form's part": b'--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: audio/wav\r\n\r\n',
    "an HTTP head": b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n\r\n",
    "half of something": bytes(range(256)) * 13,
}


@pytest.mark.parametrize("front", FRONTS)
def test_a_file_behind_something_else(front: str, tmp_path: Path, limits: AudioLimits) -> None:
    one = riff(wave_format(), chunk(b"data", DATA))
    samples, codes, details = read(FRONTS[front] + one, tmp_path, limits)
    np.testing.assert_array_equal(samples, ORIGINAL)
    assert codes == ["header_repaired"]
    assert details["header_repaired"].startswith(f"{len(FRONTS[front])} bytes stand in front of the file")
    closed = FRONTS[front] + one + b"\r\n--x--\r\n"
    np.testing.assert_array_equal(read(closed, tmp_path, limits)[0], ORIGINAL)


@pytest.mark.parametrize("subtype", ["FLAC", "IMA_ADPCM"])
def test_other_codings_behind_something_else(subtype: str, tmp_path: Path, limits: AudioLimits) -> None:
    path = tmp_path / ("a.flac" if subtype == "FLAC" else "a.wav")
    soundfile.write(path, ORIGINAL, RATE, subtype="PCM_16" if subtype == "FLAC" else subtype)
    expected, _, _ = read(path.read_bytes(), tmp_path, limits)
    samples, _, _ = read(b"\r\n" + path.read_bytes(), tmp_path, limits)
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("before", [True, False], ids=["before", "between"])
@pytest.mark.parametrize("text", [b"a", b"Lavf58", b"INFOISFT" + (5).to_bytes(4, "little") + b"Lavf."])
def test_a_chunk_of_odd_length_without_its_pad_byte(
    text: bytes, before: bool, tmp_path: Path, limits: AudioLimits
) -> None:
    odd = text + b"x" * (1 - len(text) % 2)
    bare = b"LIST" + len(odd).to_bytes(4, "little") + odd
    for unpadded in (bare, bare + b"\0"):
        chunks = [unpadded, wave_format()] if before else [wave_format(), unpadded]
        samples, codes, _ = read(riff(*chunks, chunk(b"data", DATA)), tmp_path, limits)
        np.testing.assert_array_equal(samples, ORIGINAL)
        assert codes == []
