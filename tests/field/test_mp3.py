"""MP3 files as collections and recorders have them: odd tags, wrong counts, pieces joined, junk in front."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.bytes import cover, id3, id3_frame, png
from tests.field.asking import SECONDS, Pairs, ask, coded, shifted
from tests.server import RunningServer

PRIMING_MS = 70
"""What an encoder puts in front, at 16 kHz. A Xing header at the very beginning says so, and then it is taken away."""
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 12345\r\n\r\n"
APE_TAIL = b"APETAGEX" + struct.pack("<4I", 2_000, 32, 0, 0) + bytes(8)
LAYER_III, LAYER_II = ("-c:a", "libmp3lame", "-b:a", "64k", "-id3v2_version", "0"), ("-c:a", "mp2", "-b:a", "96k")


@pytest.fixture(scope="module")
def mp3(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """With a Xing header and no tag."""
    return coded(tmp_path_factory.mktemp("mp3"), ".mp3", *LAYER_III).read_bytes()


def lying(mp3: bytes) -> bytes:
    """Its Xing header counts a hundred times as many frames."""
    at = max(mp3.find(b"Xing"), mp3.find(b"Info")) + 8
    return mp3[:at] + struct.pack(">I", 100 * struct.unpack(">I", mp3[at : at + 4])[0]) + mp3[at + 4 :]


def covered(mp3: bytes) -> bytes:
    """A cover of 3000 by 3000 that calls itself a JPEG and is a PNG."""
    return id3(cover(png(3_000)).replace(b"image/png", b"image/jpg")) + mp3


ODD: dict[str, Callable[[bytes], bytes]] = {
    "cover of 3000 by 3000 with a wrong type": covered,
    "ID3 twice": lambda mp3: id3(id3_frame(b"TIT2", b"\x00a")) + id3(id3_frame(b"TIT2", b"\x00b")) + mp3,
    "APE tail": lambda mp3: mp3 + bytes(1_968) + APE_TAIL,
    "ID3v1 tail": lambda mp3: mp3 + b"TAG" + bytes(125),
    "Xing that lies": lying,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_is_odd_changes_nothing(
    odd: Callable[[bytes], bytes], mp3: bytes, server: RunningServer, plain: Pairs
) -> None:
    answer = ask(server, odd(mp3))
    assert answer.is_near(plain, 20)
    assert (answer.audio["format"], answer.codes) == ("MP3", [])


@pytest.mark.parametrize("front", [bytes(1_000), HTTP, None], ids=["zeros", "HTTP header", "mid-frame"])
def test_something_else_in_front(front: bytes | None, mp3: bytes, server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, mp3[700:] if front is None else front + mp3)
    assert answer.is_near(plain, PRIMING_MS)
    assert (answer.audio["format"], answer.codes) == ("MP3", [])


def test_a_last_frame_that_is_cut(mp3: bytes, server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, mp3[:-100])
    assert answer.is_near(plain, 20)
    assert (answer.audio["truncated"], answer.codes) == (True, ["truncated"])


@pytest.mark.parametrize(("rate", "options"), [("11025", LAYER_III), ("8000", LAYER_III), ("48000", LAYER_II)],
                         ids=["MPEG-2.5, 11 kHz", "MPEG-2.5, 8 kHz", "layer II"])  # fmt: skip
def test_other_kinds(rate: str, options: tuple[str, ...], server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    suffix = ".mp2" if options is LAYER_II else ".mp3"
    answer = ask(server, coded(tmp_path, suffix, *options, "-ar", rate))
    assert answer.is_near(plain, 50)
    assert answer.audio["format"] == "MP3"
    assert [code for code in answer.codes if code != "band_limited"] == []


@pytest.mark.parametrize("name", ["a.wav", "a.txt", "a"])
def test_a_wrong_name(name: str, mp3: bytes, server: RunningServer, plain: Pairs) -> None:
    answer = server.post("/vad", files={"file": (name, mp3, "audio/wav")}).json()
    assert (answer["audio"]["format"], len(answer["segments"])) == ("MP3", len(plain))


@pytest.mark.parametrize("between", [b"", id3(id3_frame(b"TIT2", b"\x00b"))], ids=["Xing", "Xing and ID3"])
@pytest.mark.parametrize("second", [(), ("-ar", "22050"), ("-ac", "2")], ids=["alike", "other rate", "stereo"])
def test_two_files_in_one(
    second: tuple[str, ...], between: bytes, mp3: bytes, server: RunningServer, plain: Pairs, tmp_path: Path
) -> None:
    answer = ask(server, mp3 + between + coded(tmp_path, ".mp3", *LAYER_III, *second).read_bytes())
    assert answer.is_near([*plain, *shifted(plain, int(1000 * SECONDS))], 2 * PRIMING_MS)
    assert (answer.audio["truncated"], answer.codes) == (False, [])


@pytest.mark.parametrize("second", [("-ar", "22050"), ("-ac", "2")], ids=["other rate", "stereo"])
def test_adts_that_changes_midway(second: tuple[str, ...], server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    one, other = (
        coded(tmp_path, f"{index}.aac", "-c:a", "aac", "-b:a", "64k", *more).read_bytes()
        for index, more in enumerate([(), second])
    )
    answer = ask(server, one + other)
    assert answer.is_near([*plain, *shifted(plain, int(1000 * SECONDS))], 3 * PRIMING_MS)
    assert (answer.audio["truncated"], answer.codes) == (False, [])


def test_mp3_in_a_wav_of_8_khz(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = coded(tmp_path, ".wav", "-c:a", "libmp3lame", "-ar", "8000")
    assert path.read_bytes()[20:22] == b"\x55\x00"
    answer = ask(server, path)
    assert abs(answer.audio["duration_ms"] - 1000 * SECONDS) < 160  # a block of 72 ms at either end
    assert answer.audio["truncated"] is False
    assert answer.codes == ["band_limited"]
    assert len(answer.segments) == len(plain)


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize("front", [bytes(1_000), HTTP, None], ids=["zeros", "HTTP header", "mid-frame"])
def test_twelve_segments_whatever_stands_in_front(
    front: bytes | None, example: object, twelve: Pairs, published_server: RunningServer, tmp_path: Path
) -> None:
    mp3 = coded(tmp_path, ".mp3", *LAYER_III, samples=example).read_bytes()  # type: ignore[arg-type]
    answer = ask(published_server, mp3[700:] if front is None else front + mp3)
    assert answer.is_near(twelve, 2 * PRIMING_MS)
