"""Mutated files: whatever the bytes, a decoder gives samples or an error of its own."""

import contextlib
import io
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.audio.containers import HEAD_BYTES, sniff
from app.audio.decode import AudioLimits
from app.audio.ffmpeg import open_with_ffmpeg
from app.audio.options import HEADERLESS, AudioInput, InputOptions
from app.audio.source import open_audio, open_decoder
from app.vad.errors import AudioError, InvalidOption
from tests.audio.ffmpegs import encode
from tests.audio.recordings import voice

EXAMPLES = int(os.environ.get("VAD_FUZZ_EXAMPLES", "40"))
LIMITS = AudioLimits(max_seconds=20)
RATE = 16_000
IN_PROCESS = {"PCM_16": ".wav", "FLOAT": ".wav", "IMA_ADPCM": ".wav", "FLAC": ".flac"}
BY_CHILD = {"libmp3lame": ".mp3", "aac": ".m4a", "libopus": ".ogg", "libvorbis": ".webm", "pcm_s16be": ".aiff",
            "wmav2": ".wma", "pcm_s24le": ".caf", "mp2": ".ts", "libspeex": ".flv", "pcm_s16le": ".avi", "ac3": ".mpg",
            "dca": ".dts", "truehd": ".thd", "libgsm": ".gsm"}  # fmt: skip
MORE = {
    "dca": ("-strict", "-2", "-ar", "48000", "-ac", "2"),
    "truehd": ("-strict", "-2", "-ar", "48000", "-ac", "2", "-f", "truehd"),
    "libgsm": ("-ar", "8000", "-f", "gsm"), "mp2": ("-ar", "48000"), "ac3": ("-ar", "48000"),
}  # fmt: skip
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Mutation = tuple[str, float, bytes]

mutations = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "cut"]),
        # Cubed, so that most of them hit the head, where the structure is.
        st.floats(0, 1).map(lambda place: place**3),
        st.one_of(st.binary(min_size=1, max_size=12), st.sampled_from([b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff"])),
    ),
    min_size=1,
    max_size=6,
)


def mutated(good: bytes, changes: list[Mutation]) -> bytes:
    data = bytearray(good)
    for kind, place, content in changes:
        at = int(place * len(data))
        if kind == "replace":
            data[at : at + len(content)] = content
        elif kind == "insert":
            data[at:at] = content
        elif kind == "delete":
            del data[at : at + len(content)]
        else:
            del data[max(at, 1) :]
    return bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@cache
def good(folder: Path, coding: str) -> bytes:
    plain = folder / "plain.wav"
    soundfile.write(plain, voice(0.5, RATE, 1), RATE, subtype="PCM_16")
    if coding in BY_CHILD:
        options = MORE.get(coding, ())
        try:
            return encode(plain, folder / f"good{BY_CHILD[coding]}", "-c:a", coding, *options).read_bytes()
        except LookupError as error:
            pytest.skip(str(error))
    path = folder / f"good{IN_PROCESS[coding]}"
    soundfile.write(path, voice(0.5, RATE, 1), RATE, subtype="PCM_16" if coding == "FLAC" else coding)
    return path.read_bytes()


def eaten(path: Path, ffmpeg: Path | None, encoding: str | None = None) -> int | AudioError | InvalidOption:
    """Samples in it, or what is wrong with it. Anything else that is raised comes out."""
    given = InputOptions(encoding=encoding).source(path)
    try:
        with open_audio(
            given, sample_rate=RATE, channel="mix", block_seconds=0.3, limits=LIMITS, ffmpeg=ffmpeg
        ) as source:
            blocks = list(source)
    except (AudioError, InvalidOption) as error:
        return error
    assert all(np.isfinite(block).all() for block in blocks)
    assert source.duration_ms <= LIMITS.max_seconds * 1000
    return sum(block.shape[1] for block in blocks)


def fed(folder: Path, content: bytes) -> Path:
    path = folder / "mutant"
    path.write_bytes(content)
    return path


@given(st.binary(max_size=200))
@example(b"")
@example(b"RIFF")
@example(b"RIFF\x00\x00\x00\x00WAVE")
@example(b"\xff\xff\xff\xff")
@settings(FUZZ, max_examples=EXAMPLES * 10)
def test_the_sniffer_answers_and_looks_at_the_head_alone(content: bytes) -> None:
    name = sniff(content)
    assert name is None or (name.isascii() and name.isupper())
    assert sniff(content[:HEAD_BYTES]) == sniff(content[:HEAD_BYTES] + b"anything")


@pytest.mark.parametrize("coding", IN_PROCESS)
@given(changes=mutations)
@FUZZ
def test_wav_and_flac_in_process(coding: str, changes: list[Mutation], folder: Path) -> None:
    eaten(fed(folder, mutated(good(folder, coding), changes)), None)


@pytest.mark.parametrize("coding", BY_CHILD)
@given(changes=mutations)
@settings(FUZZ, max_examples=max(1, EXAMPLES // 5))
def test_everything_else_by_the_child(coding: str, changes: list[Mutation], folder: Path, each_ffmpeg: Path) -> None:
    path = fed(folder, mutated(good(folder, coding), changes))
    eaten(path, each_ffmpeg)
    assert [entry.name for entry in folder.iterdir() if entry.is_dir()] == []


@given(content=st.binary(max_size=400))
@settings(FUZZ, max_examples=max(1, EXAMPLES // 5))
def test_any_bytes_by_the_child(content: bytes, folder: Path, each_ffmpeg: Path) -> None:
    with contextlib.suppress(AudioError):
        decoder = open_with_ffmpeg(fed(folder, content), "ANY", LIMITS, each_ffmpeg)
        with contextlib.closing(decoder):
            while len(decoder.read(10_000)):
                pass
    assert [entry.name for entry in folder.iterdir() if entry.is_dir()] == []


@cache
def good_silk() -> bytes:
    pysilk = pytest.importorskip("pysilk", reason="silk-python is not installed (the extra `silk`)")
    pcm = (voice(0.5, 24_000, 1)[:, 0] * 32_767).astype("<i2").tobytes()
    out = io.BytesIO()
    pysilk.encode(io.BytesIO(pcm), out, 24_000, 24_000, tencent=True)
    return out.getvalue()


@given(changes=mutations)
@settings(FUZZ, max_examples=max(1, EXAMPLES // 5))
def test_silk_by_its_child(changes: list[Mutation], folder: Path) -> None:
    eaten(fed(folder, mutated(good_silk(), changes)), None)
    assert [entry.name for entry in folder.iterdir() if entry.is_dir()] == []


@pytest.mark.parametrize("encoding", HEADERLESS)
@given(content=st.binary(min_size=1, max_size=400))
@settings(FUZZ, max_examples=max(1, EXAMPLES // 5))
def test_any_bytes_of_a_coding_without_a_header(encoding: str, content: bytes, folder: Path, each_ffmpeg: Path) -> None:
    eaten(fed(folder, content), each_ffmpeg, encoding)
    assert [entry.name for entry in folder.iterdir() if entry.is_dir()] == []


@pytest.mark.parametrize("coding", [*IN_PROCESS, *BY_CHILD])
def test_the_files_that_are_mutated_are_good(coding: str, folder: Path, each_ffmpeg: Path) -> None:
    path = fed(folder, good(folder, coding))
    decoder = open_decoder(AudioInput(path), LIMITS, each_ffmpeg)
    decoder.close()
    samples = eaten(path, each_ffmpeg)
    assert isinstance(samples, int)
    assert abs(samples - 0.5 * RATE) < 2_048
