"""WAV files as programs really write them: odd chunks and fields that change nothing, and lengths that are wrong."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.options import AudioInput
from app.audio.source import open_decoder
from tests.attacks.bytes import chunk, riff, wave_format
from tests.cli.calling import call
from tests.field.asking import RATE, SECONDS, SOUND, Pairs, ask, coded, refusal, shifted, wav
from tests.server import RunningServer

DATA = (SOUND * 32_767).astype("<i2").tobytes()
_PCM_GUID = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
"""Of PCM in extensible WAV, as Windows has it."""


def of_chunks(*before: bytes, data: bytes = DATA, after: bytes = b"", fmt: bytes = wave_format()) -> bytes:
    return riff(fmt, *before, chunk(b"data", data), *([after] if after else []))


def with_field(at: int, kind: str, value: int) -> bytes:
    """With another number in its `fmt ` chunk."""
    content = bytearray(of_chunks())
    struct.pack_into(kind, content, at, value)
    return bytes(content)


def counting(length: int, data: bytes = DATA) -> bytes:
    """With this length of its samples, and the length of the whole as programs set it then: 0 with 0, else the most."""
    content = bytearray(of_chunks(data=data))
    content[40:44] = struct.pack("<I", length)
    content[4:8] = struct.pack("<I", 0 if length == 0 else min(length + 36, 0xFFFFFFFF))
    return bytes(content)


def extensible_24_in_32() -> bytes:
    """24 bits in words of 32, as sound cards give them."""
    words = ((SOUND * 8_388_607).astype("<i4") << 8).tobytes()
    fmt = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, RATE * 4, 4, 32, 22, 24, 4) + _PCM_GUID
    return of_chunks(data=words, fmt=chunk(b"fmt ", fmt))


def bw64() -> bytes:
    """EBU's successor of RF64, with its true lengths in `ds64`."""
    lengths = chunk(b"ds64", struct.pack("<QQQI", 72 + len(DATA), len(DATA), len(DATA) // 2, 0))
    return b"BW64\xff\xff\xff\xffWAVE" + lengths + wave_format() + b"data\xff\xff\xff\xff" + DATA


ODD = {
    "size 0xFFFFFFFF": counting(0xFFFFFFFF),
    "LIST": of_chunks(chunk(b"LIST", b"INFOISFT\x0e\x00\x00\x00Lavf60.16.100\x00")),
    "LIST of zeros": of_chunks(chunk(b"LIST", bytes(4_000))),
    "bext": of_chunks(chunk(b"bext", b"a recorder".ljust(602, b"\0"))),
    "fact": of_chunks(chunk(b"fact", struct.pack("<I", len(DATA) // 2))),
    "fact that lies": of_chunks(chunk(b"fact", struct.pack("<I", 7))),
    "id3 tail": of_chunks(after=chunk(b"id3 ", b"ID3\x04\x00\x00\x00\x00\x00\x40" + bytes(64))),
    "odd data": riff(wave_format(), chunk(b"data", DATA + b"\x00")),
    "odd data, padded": riff(wave_format(), chunk(b"data", DATA + b"\x00") + b"\x00"),
    "wrong byte rate": with_field(28, "<I", 1),
    "wrong block align": with_field(32, "<H", 4),
    "block align 0": with_field(32, "<H", 0),
    "extensible 24 in 32": extensible_24_in_32(),
    "BW64": bw64(),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_what_is_odd_changes_nothing(content: bytes, server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, content)
    assert answer.is_near(plain, 0)
    assert answer.audio["duration_ms"] == SECONDS * 1000
    assert answer.codes == []


@pytest.mark.parametrize(
    ("subtype", "suffix", "container"),
    [
        ("DOUBLE", ".wav", "WAV"), ("FLOAT", ".wav", "WAV"), ("PCM_24", ".wav", "WAV"), ("PCM_U8", ".wav", "WAV"),
        ("ALAW", ".wav", "WAV"), ("ULAW", ".wav", "WAV"), ("PCM_16", ".rf64", "RF64"), ("PCM_16", ".w64", "W64"),
    ],
)  # fmt: skip
def test_other_widths_and_forms(
    subtype: str, suffix: str, container: str, server: RunningServer, plain: Pairs, tmp_path: Path
) -> None:
    answer = ask(server, wav(tmp_path, subtype=subtype, suffix=suffix))
    assert answer.is_near(plain, 20 if subtype == "PCM_U8" else 10)  # 8 bits have more noise than the pauses
    assert (answer.audio["format"], answer.codes) == (container, [])


@pytest.mark.parametrize(
    ("coding", "rate"), [("adpcm_ima_wav", RATE), ("adpcm_ms", RATE), ("libgsm_ms", 8_000)], ids=["IMA", "MS", "GSM"]
)
def test_adpcm_and_gsm(coding: str, rate: int, server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    try:
        answer = ask(server, coded(tmp_path, ".wav", "-c:a", coding, "-ar", str(rate)))
    except LookupError as error:
        pytest.skip(str(error))
    assert answer.is_near(plain, 40 if coding == "libgsm_ms" else 20)
    assert [code for code in answer.codes if code != "band_limited"] == []
    assert answer.audio["truncated"] is False


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFD0], ids=hex)
def test_a_length_that_was_never_written(length: int, server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, counting(length))
    assert answer.is_near(plain, 0)
    assert answer.codes == ["header_repaired"]
    assert answer.audio["truncated"] is False


def test_a_wav_from_a_pipe_of_ffmpeg(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    piped = coded(tmp_path, ".pipe", "-f", "wav", "-c:a", "pcm_s16le", "-seekable", "0")
    assert b"data\xff\xff\xff\xff" in piped.read_bytes()[:200]
    answer = ask(server, piped)
    assert (answer.is_near(plain, 0), answer.codes) == (True, [])


FOUR_GIB = 1 << 32


def test_sizes_that_wrapped_at_four_gigabytes(tmp_path: Path) -> None:
    ten_minutes = 600 * RATE * 2
    path = tmp_path / "long.wav"
    path.write_bytes(counting(ten_minutes, b""))
    with path.open("ab") as file:
        file.truncate(44 + FOUR_GIB + ten_minutes)
    decoder = open_decoder(AudioInput(path), AudioLimits(max_seconds=48 * 3600), None)
    assert decoder.frames == (FOUR_GIB + ten_minutes) // 2
    assert len(decoder.read(RATE)) == RATE
    assert [warning.code for warning in decoder.warnings() if warning.code != "very_quiet"] == ["header_repaired"]
    decoder.close()


def test_a_header_that_counts_the_first_piece_alone(server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, counting(4_096))
    assert answer.is_near(plain, 0)
    assert answer.codes == ["header_repaired"]


def test_two_files_in_one(server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, of_chunks() * 2)
    assert answer.is_near([*plain, *shifted(plain, int(1000 * SECONDS))], 10)
    assert answer.codes == ["header_repaired"]


@pytest.fixture
def half() -> bytes:
    whole = of_chunks()
    return whole[: len(whole) // 2]


def test_a_file_cut_in_half_says_so_in_every_format(half: bytes, server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, half)
    assert (answer.audio["truncated"], answer.codes) == (True, ["truncated"])
    assert answer.is_near(plain[:1], 0)
    for name in ("csv", "srt", "vtt", "audacity", "rttm", "textgrid", "funasr", "wav", "zip"):
        response = server.post("/vad", content=half, params={"format": name})
        assert response.headers["x-vad-warnings"] == "truncated", name
    summary = server.post("/vad", content=half, params={"format": "ndjson"}).text.splitlines()[-1]
    assert '"truncated"' in summary


def test_a_file_cut_in_half_says_so_on_the_command_line(half: bytes, small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "half.wav").write_bytes(half)
    ended = call(small_model, "detect", tmp_path / "half.wav", "--format", "csv")
    assert (ended.returncode, "truncated" in ended.stderr) == (0, True)


def test_a_header_and_nothing_else(server: RunningServer) -> None:
    assert refusal(server, of_chunks(data=b""))[:2] == (422, "invalid_audio")


@pytest.mark.reference
@pytest.mark.parametrize("spoil", [lambda wav: counting(0, wav[44:]), lambda wav: counting(0x7FFFF000, wav[44:])])
def test_twelve_segments_whatever_the_header_says(
    spoil: Callable[[bytes], bytes], example: np.ndarray, twelve: Pairs, published_server: RunningServer, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", example, RATE, subtype="PCM_16")
    answer = ask(published_server, spoil((tmp_path / "a.wav").read_bytes()))
    assert answer.is_near(twelve, 0)
    assert answer.codes == ["header_repaired"]
