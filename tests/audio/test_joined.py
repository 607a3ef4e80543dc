"""Behind the first file's end another one begins: it is heard as well, or the answer says at which byte it begins."""

import struct
from io import BytesIO, FileIO
from pathlib import Path

import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.facts import examine
from app.audio.follow import next_file
from tests.audio.ffmpegs import encode
from tests.audio.recordings import voice
from tests.audio.test_damage import APE, ID3V1, ID3V2, heard, in_turn

RATE = 16_000
SECONDS = 4

TOLD = {
    "m4a": (".m4a", "aac"),
    "m4a with its index in front": (".m4a", "aac", "-movflags", "+faststart"),
    "fragmented mp4": (".mp4", "aac", "-movflags", "+frag_keyframe+empty_moov", "-frag_duration", "500000"),
    "QuickTime": (".mov", "pcm_s16le"),
    "wavpack": (".wv", "wavpack"),
    "wma": (".wma", "wmav2"),
    "aiff": (".aiff", "pcm_s16be"),
    "aiff of odd length": (".aiff", "pcm_s8", "-t", "1.0000625"),
    "flv": (".flv", "aac", "-ar", "44100"),
    "tta": (".tta", "tta"),
    "caf": (".caf", "pcm_s16le"),
    "caf, ALAC": (".caf", "alac"),
    "w64": (".w64", "pcm_s16le"),
    "voc": (".voc", "pcm_u8", "-ar", "8000"),
    "amr": (".amr", "libopencore_amrnb", "-ar", "8000"),
    "adpcm in WAV": (".wav", "adpcm_ms"),
    "G.726 in WAV": (".wav", "g726", "-ar", "8000"),
}
HEARD = {
    "flac": (".flac", "flac"),
    "webm": (".webm", "libopus"),
    "a recorder's webm": (".webm", "libopus", "-live", "1"),
    "matroska": (".mka", "flac"),
    "ogg": (".ogg", "libvorbis"),
    "opus": (".opus", "libopus"),
    "mp3": (".mp3", "libmp3lame"),
    "adts": (".aac", "aac"),
    "latm": (".latm", "aac", "-f", "latm"),
    "ac3": (".ac3", "ac3"),
    "transport stream": (".ts", "aac"),
    "wav": (".wav", "pcm_s16le"),
    "avi": (".avi", "pcm_s16le"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("joined") / "plain.wav"
    soundfile.write(path, voice(SECONDS, RATE, 1), RATE)
    return path


def made(plain: Path, folder: Path, recipe: tuple[str, ...]) -> bytes:
    suffix, *options = recipe
    try:
        return encode(plain, folder / f"a{suffix}", "-c:a", *options).read_bytes()
    except LookupError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", TOLD)
def test_the_next_file_is_told(kind: str, plain: Path, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits) -> None:
    one = made(plain, tmp_path, TOLD[kind])
    alone, _ = heard(one, tmp_path, each_ffmpeg, limits)
    seconds, details = heard(one + one, tmp_path, each_ffmpeg, limits)
    assert alone - 0.1 <= seconds <= 2 * alone + 0.3
    assert set(details) == {"joined"}, details
    assert f"begins at byte {len(one)}," in details["joined"]


@pytest.mark.parametrize("kind", HEARD)
def test_the_next_file_is_heard(kind: str, plain: Path, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits) -> None:
    one = made(plain, tmp_path, HEARD[kind])
    seconds, details = heard(one * 2, tmp_path, each_ffmpeg, limits)
    assert abs(seconds - 2 * SECONDS) < 0.3
    assert {"joined", "damaged", "truncated"}.isdisjoint(details)
    seconds, details = heard(one * 3, tmp_path, each_ffmpeg, limits)
    assert {"damaged", "truncated"}.isdisjoint(details)
    if "joined" in details:
        assert f"begins at byte {2 * len(one)}," in details["joined"]
    else:
        assert abs(seconds - 3 * SECONDS) < 0.4


SECOND = {"mp3": (".mp3", "libmp3lame"), "opus": (".ogg", "libopus"), "flac": (".flac", "flac"), "m4a": (".m4a", "aac")}


@pytest.mark.parametrize(("first", "second"), in_turn(["m4a", "wavpack", "tta", "aiff", "caf", "w64", "wma"], SECOND))
def test_a_file_of_another_kind_is_told(
    first: str, second: str, plain: Path, tmp_path: Path, ffmpeg: Path, limits: AudioLimits
) -> None:
    one, other = made(plain, tmp_path, TOLD[first]), made(plain, tmp_path, SECOND[second])
    _, details = heard(one + other, tmp_path, ffmpeg, limits)
    assert f"begins at byte {len(one)}," in details["joined"]
    assert "damaged" not in details


@pytest.mark.parametrize("second", [(".mp3", "libmp3lame"), (".ogg", "libopus"), (".flac", "flac")])
@pytest.mark.parametrize("first", [(".wav", "pcm_s16le"), (".mp3", "libmp3lame"), (".aac", "aac"), (".ogg", "libopus")])
def test_it_is_told_behind_files_that_are_read_on(
    first: tuple[str, ...], second: tuple[str, ...], plain: Path, tmp_path: Path, ffmpeg: Path, limits: AudioLimits
) -> None:
    if first[0] == second[0]:
        return
    one, other = made(plain, tmp_path, first), made(plain, tmp_path, second)
    seconds, details = heard(one + other, tmp_path, ffmpeg, limits)
    assert "joined" in details or seconds > 1.9 * SECONDS
    assert "damaged" not in details


def test_a_flac_of_another_form_is_told(plain: Path, tmp_path: Path, ffmpeg: Path, limits: AudioLimits) -> None:
    one = made(plain, tmp_path, (".flac", "flac"))
    other = made(plain, tmp_path, (".flac", "flac", "-ar", "44100"))
    seconds, details = heard(one + other, tmp_path, ffmpeg, limits)
    assert (seconds, set(details)) == (SECONDS, {"joined"})
    assert f"begins at byte {len(one)}," in details["joined"]


BEHIND = {
    "ID3v1": ID3V1, "APE": APE, "APE and ID3v1": APE + ID3V1, "zeros": bytes(5_000), "ID3v2": ID3V2 + bytes(100),
    "a zero": b"\0", "a line end": b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "behind"), in_turn(["m4a", "wavpack", "tta", "aiff", "caf", "flv", "wma", "w64", "voc"], BEHIND)
)
def test_tags_and_padding_are_no_file(
    kind: str, behind: str, plain: Path, tmp_path: Path, ffmpeg: Path, limits: AudioLimits
) -> None:
    _, details = heard(made(plain, tmp_path, TOLD[kind]) + BEHIND[behind], tmp_path, ffmpeg, limits)
    assert {"joined", "damaged"}.isdisjoint(details)


def test_tags_between(plain: Path, tmp_path: Path, ffmpeg: Path, limits: AudioLimits) -> None:
    one = made(plain, tmp_path, TOLD["wavpack"])
    _, details = heard(one + ID3V1 + one, tmp_path, ffmpeg, limits)
    assert f"begins at byte {len(one) + len(ID3V1)}," in details["joined"]
    one = made(plain, tmp_path, TOLD["m4a"])
    _, details = heard(one + bytes(512) + one, tmp_path, ffmpeg, limits)
    assert f"begins at byte {len(one) + 512}," in details["joined"]


def test_monkeys_audio_says_where_it_ends() -> None:
    head = b"MAC " + struct.pack("<HHIIIIIII", 3990, 0, 52, 24, 8, 44, 1_000, 0, 12) + bytes(16)
    one = head + bytes(24 + 8 + 44 + 1_000 + 12)
    assert examine(BytesIO(one), "APE").next_at is None
    assert examine(BytesIO(one), "APE").cut is None
    assert examine(BytesIO(one + one), "APE").next_at == len(one)
    assert examine(BytesIO(one[:-5]), "APE").cut == "5 bytes of its last frame are missing"


@pytest.mark.parametrize("filling", [bytes(10), b"ID3\x03\x00\x00\x00\x00\x00\x00"], ids=["zeros", "tags"])
def test_the_search_behind_a_file_ends(filling: bytes, tmp_path: Path) -> None:
    """However much lies there: a hundred megabytes are not looked through ten or eight thousand bytes at a time."""
    path = tmp_path / "padded"
    path.write_bytes(filling * 10_000_000)

    class Counting(FileIO):
        reads = 0

        def read(self, size: int = -1, /) -> bytes:
            Counting.reads += 1
            return super().read(size)  # type: ignore[return-value]

    Counting.reads = 0
    with Counting(path) as file:
        assert next_file(file, 0, path.stat().st_size) is None
    assert Counting.reads <= 200
