"""Hostile and broken audio, made by code: what each file is, and what has to become of it."""

import gzip
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from app.vad.errors import AudioError, AudioTooLong, InvalidAudio, NoAudio, UnsupportedAudio, VadError
from tests.attacks import bytes as made
from tests.audio.ffmpegs import encode
from tests.audio.recordings import voice

CANARY_URL_FILE = "canary-url"
"""A file beside the attack that holds the address that a playlist should name."""
LIMIT_S = 600.0
"""The length limit that the expectations presume."""
RATE = 16_000


@dataclass(frozen=True)
class Attack:
    """One file."""

    name: str
    build: Callable[[Path], Path]
    """Writes it into a folder. Raises LookupError when no encoder for it is here."""
    expected: type[VadError] | None
    """What decoding raises; None: it decodes."""
    expected_unnamed: type[VadError] | None = None
    """What decoding raises when the file has no name, where a name makes a difference to ffmpeg."""
    seconds: float | None = None
    """Length when it decodes."""
    truncated: bool = False
    """Whether the answer has to say that the file ends early."""

    def __str__(self) -> str:
        return self.name


def plain(content: bytes | Callable[[], bytes], name: str = "a.wav") -> Callable[[Path], Path]:
    """A builder of fixed bytes."""

    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content())
        return path

    return build


def sound(subtype: str, rate: int = RATE, channels: int = 1, suffix: str = ".wav",
          value: float | None = None, seconds: float = 2) -> Callable[[Path], Path]:  # fmt: skip
    """A builder of good sound, or of one with one sample that is `value`."""

    def build(folder: Path) -> Path:
        path, samples = folder / f"a{suffix}", voice(seconds, rate, channels)
        if value is not None:
            samples[len(samples) // 2, 0] = value
        soundfile.write(path, samples, rate, subtype=subtype)
        return path

    return build


def encoded(suffix: str, *options: str, seconds: float = 2) -> Callable[[Path], Path]:
    """A builder of good sound, by ffmpeg."""

    def build(folder: Path) -> Path:
        source = sound("PCM_16", seconds=seconds)(folder)
        return encode(source, source.with_name(f"coded{suffix}"), *options)

    return build


def changed(build: Callable[[Path], Path], change: Callable[[bytearray], bytes]) -> Callable[[Path], Path]:
    """A builder that changes the bytes of another's file."""

    def build_changed(folder: Path) -> Path:
        path = build(folder)
        path.write_bytes(change(bytearray(path.read_bytes())))
        return path

    return build_changed


def patched(data: bytearray, at: int, content: bytes) -> bytes:
    """`data` with other bytes in one place."""
    return bytes(data[:at]) + content + bytes(data[at + len(content) :])


def _cut(share: float) -> Callable[[bytearray], bytes]:
    return lambda data: bytes(data[: int(len(data) * share)])


def _flac_total(total: int) -> Callable[[bytearray], bytes]:
    def change(data: bytearray) -> bytes:
        word = int.from_bytes(data[18:26], "big") & ~((1 << 36) - 1) | total
        return patched(data, 18, word.to_bytes(8, "big"))

    return change


def _lying_frame_count(data: bytearray) -> bytes:
    at = max(data.find(b"Xing"), data.find(b"Info"))
    if at < 0:
        raise LookupError("the encoder wrote no Xing header")
    return patched(data, at + 8, b"\xff\xff\xff\xfe")


def _unknown_coding(data: bytearray) -> bytes:
    # Not the object type of MPEG-4 audio either, which would say it again.
    return bytes(data).replace(b"mp4a", b"zzzz").replace(b"esds", b"free")


def playlist(target: str) -> bytes:
    """An HLS playlist."""
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n".encode()


def concat_script(target: str) -> bytes:
    """An ffconcat script."""
    return f"ffconcat version 1.0\nfile {target}\n".encode()


def naming_canary(text: Callable[[str], bytes], *, absolute: bool, hidden: bool) -> Callable[[Path], Path]:
    """A text that names a sound file beside it; `hidden` behind a tag that makes it look like an MP3."""

    def build(folder: Path) -> Path:
        canary = folder / "canary.wav"
        soundfile.write(canary, np.full(8 * RATE, 0.5, dtype=np.float32), RATE)
        content = text(str(canary) if absolute else canary.name)
        return plain((made.id3() if hidden else b"") + content, "a.m3u8")(folder)

    return build


def naming_address(folder: Path) -> Path:
    """A playlist with an address on the network, that of `CANARY_URL_FILE`."""
    noted = folder / CANARY_URL_FILE
    address = noted.read_text() if noted.exists() else "http://127.0.0.1:9/canary.wav"
    return plain(made.id3() + playlist(address), "a.m3u8")(folder)


def _with_cover(folder: Path) -> Path:
    path = encoded(".mp3", "-c:a", "libmp3lame", "-id3v2_version", "0", seconds=60)(folder)
    path.write_bytes(made.id3(made.cover(made.png(15_000))) + path.read_bytes())
    return path


def _silent_film(folder: Path) -> Path:
    source = sound("PCM_16")(folder)
    return encode(source, folder / "film.mp4", "-f", "lavfi", "-i", "color=s=64x64:d=1", "-map", "1:v", "-c:v", "mpeg4")


def _archive(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(sound("PCM_16")(folder), "a.wav")
    return folder / "a.zip"


def _samples(count: int, channels: int = 1) -> bytes:
    return np.full(count * channels, 3_000, dtype="<i2").tobytes()


def _wav(*, rate: int = RATE, channels: int = 1, length: int | None = None, frames: int = RATE) -> Callable[[], bytes]:
    def content() -> bytes:
        data = made.chunk(b"data", _samples(frames, channels), length)
        return made.riff(made.wave_format(rate, channels), data)

    return content


def _data_alone(tag: int) -> bytes:
    return made.riff(made.wave_format(tag=tag), made.chunk(b"data", bytes(3_200)))


NOT_AUDIO = [
    Attack("text", plain(b"This is no sound at all. " * 40), UnsupportedAudio),
    Attack("html", plain(b"<!doctype html><script>alert(1)</script>" * 9), UnsupportedAudio),
    Attack("picture", plain(lambda: made.png(64)), UnsupportedAudio),
    Attack("zip", _archive, UnsupportedAudio),
    Attack("gzip", changed(sound("PCM_16"), gzip.compress), UnsupportedAudio),
    Attack("zeros", plain(bytes(100_000)), UnsupportedAudio),
    Attack("one byte", plain(b"R"), UnsupportedAudio),
    Attack("empty", plain(b""), NoAudio),
    Attack("film without sound", _silent_film, UnsupportedAudio),
    Attack("unknown coding", changed(encoded(".m4a", "-c:a", "aac"), _unknown_coding), UnsupportedAudio),
    Attack(
        "avi without streams",
        plain(made.riff(made.chunk(b"LIST", bytes(400)), form=b"AVI ")),
        InvalidAudio,
    ),
]
READS_OTHER_FILES = [
    Attack("playlist", naming_canary(playlist, absolute=True, hidden=False), UnsupportedAudio),
    Attack(
        "playlist behind a tag", naming_canary(playlist, absolute=True, hidden=True), UnsupportedAudio, InvalidAudio
    ),
    Attack("concat", naming_canary(concat_script, absolute=False, hidden=False), UnsupportedAudio),
    Attack("concat behind a tag", naming_canary(concat_script, absolute=False, hidden=True), UnsupportedAudio),
    Attack("address behind a tag", naming_address, UnsupportedAudio, InvalidAudio),
]
LYING_HEADERS = [
    Attack("rate 0", plain(_wav(rate=0)), InvalidAudio),
    Attack("rate 1", plain(_wav(rate=1)), InvalidAudio),
    Attack("rate 3999", plain(_wav(rate=3_999)), InvalidAudio),
    Attack("rate 384001", plain(_wav(rate=384_001)), InvalidAudio),
    Attack("rate 4294967295", plain(_wav(rate=2**32 - 1)), InvalidAudio),
    Attack("0 channels", plain(made.riff(made.wave_format(channels=0), made.chunk(b"data", bytes(100)))), InvalidAudio),
    Attack("9 channels", plain(_wav(channels=9)), InvalidAudio),
    Attack("64 channels", plain(_wav(channels=64)), InvalidAudio),
    Attack("2000 channels", plain(_wav(channels=2_000, frames=100)), InvalidAudio),
    Attack("8 channels, 192 kHz", plain(_wav(channels=8, rate=192_000, frames=192_000)), None, seconds=1.0),
    Attack("wav without data", plain(made.riff(made.wave_format())), InvalidAudio),
    Attack("wav of length 0", plain(_wav(length=0)), None, seconds=1.0),
    Attack("wav with an empty data chunk", plain(_wav(frames=0)), InvalidAudio),
    Attack("wav of unknown length", plain(_wav(length=2**32 - 1)), None, seconds=1.0),
    Attack("wav that promises more", plain(_wav(length=10**9)), None, seconds=1.0, truncated=True),
    Attack("wav with an endless chunk before", plain(made.riff(made.wave_format(),
           made.chunk(b"LIST", bytes(40), 2**31), made.chunk(b"data", bytes(3_200)))), InvalidAudio),
    Attack("wav of a coding that is not", plain(_data_alone(0x1234)), UnsupportedAudio),
    Attack("wav head alone", plain(b"RIFF\xff\xff\xff\x7fWAVE"), InvalidAudio),
    Attack("flac that promises 2^36", changed(sound("PCM_16", suffix=".flac"), _flac_total(2**36 - 1)), None,
           seconds=2.0, truncated=True),
    Attack("flac from a pipe", changed(sound("PCM_16", suffix=".flac"), _flac_total(0)), None, seconds=2.0),
    Attack("mp3 that promises 2^32", changed(encoded(".mp3", "-c:a", "libmp3lame"), _lying_frame_count), None),
    Attack("tag of 256 MB", plain(b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f" + bytes(2_000)), InvalidAudio),
]  # fmt: skip
MAGIC = {
    "avi": b"RIFF\xff\xff\x00\x00AVI LIST",
    "flv": b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00",
    "mpeg-ps": b"\x00\x00\x01\xba\x44\x00\x04\x00\x04\x01",
    "mxf": b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02\x04\x00\x83\x00\x00\x78",
    "rm": b".RMF\x00\x00\x00\x12\x00\x01",
    "dts": b"\x7f\xfe\x80\x01",
    "truehd": b"\x00\x00\x00\x00\xf8\x72\x6f\xba",
    "silk": b"\x02#!SILK_V3",
    "latm": b"\x56\xe0\x02\x00\x00\x56\xe0\x02\x00\x00",
    "riff wave": b"RIFF\xff\xff\x00\x00WAVEfmt ",
    "ebml": b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f matroska",
}
"""How files of these kinds begin; what follows is up to the attack."""


def _behind(magic: bytes) -> list[tuple[str, Callable[[Path], Path]]]:
    """Playlists, noise and nothing behind the first bytes of a container."""
    noise = np.random.default_rng(5).integers(0, 256, 20_000, dtype=np.uint8).tobytes()

    def listing(folder: Path) -> Path:
        path = naming_canary(playlist, absolute=True, hidden=False)(folder)
        path.write_bytes(magic + b"\n" + path.read_bytes())
        return path

    return [("a playlist", listing), ("noise", plain(magic + noise)), ("zeros", plain(magic + bytes(5_000)))]


def _transport_of(content: bytes) -> bytes:
    """Transport packets that hold something else."""
    return b"".join(b"\x47\x1f\xff\x10" + content[at : at + 184].ljust(184, b"\xff") for at in range(0, 9_200, 184))


DISGUISED = [
    Attack(f"{what} behind {name}", build, AudioError if what == "a playlist" else None)
    for name, magic in MAGIC.items()
    for what, build in _behind(magic)
] + [Attack("a playlist in transport packets", plain(_transport_of(playlist("http://127.0.0.1:9/a.wav"))), AudioError)]
"""Something else behind the first bytes of every container that ffmpeg opens: a playlist is an error whose kind is no
matter, noise may be heard as noise."""
DAMAGED = [
    Attack("wav cut", changed(sound("PCM_16"), lambda data: bytes(data[: 44 + 2 * RATE])), None,
           seconds=1.0, truncated=True),
    Attack("flac cut", changed(sound("PCM_16", suffix=".flac"), _cut(0.5)), None, truncated=True),
    Attack("mp3 cut", changed(encoded(".mp3", "-c:a", "libmp3lame"), _cut(0.5)), None, truncated=True),
    Attack("m4a cut before its index", changed(encoded(".m4a", "-c:a", "aac"), _cut(0.5)), InvalidAudio),
    Attack("m4a cut after its index",
           changed(encoded(".m4a", "-c:a", "aac", "-movflags", "+faststart"), _cut(0.7)), None, truncated=True),
    Attack("webm cut", changed(encoded(".webm", "-c:a", "libopus"), _cut(0.7)), None, truncated=True),
    Attack("aiff cut", changed(sound("PCM_16", suffix=".aiff"), _cut(0.7)), None, truncated=True),
    Attack("m4a with its index at the end", encoded(".m4a", "-c:a", "aac"), None),
    Attack("ogg head alone", changed(encoded(".ogg", "-c:a", "libvorbis"), _cut(0.01)), InvalidAudio),
    Attack("fake mp3", plain(b"\xff\xfb\x90\x00" + bytes(range(256)) * 9), InvalidAudio),
    Attack("fake ogg", plain(b"OggS" + bytes(3_000)), InvalidAudio),
    Attack("fake flac", plain(b"fLaC" + bytes(3_000)), InvalidAudio),
    Attack("fake m4a", plain(b"\x00\x00\x00\x18ftypM4A " + bytes(3_000)), InvalidAudio),
    Attack("fake matroska", plain(b"\x1a\x45\xdf\xa3" + bytes(3_000)), InvalidAudio),
    *(Attack(f"wav with {value}", sound("FLOAT", value=value), InvalidAudio)
      for value in (float("nan"), float("inf"), -float("inf"), 1e38)),
    *(Attack(f"aiff with {value}", sound("FLOAT", suffix=".aiff", value=value), InvalidAudio)
      for value in (float("nan"), -float("inf"), 1e38)),
]  # fmt: skip
BOMBS = [
    Attack("opus of 10 h", plain(lambda: made.silent_opus(10), "a.opus"), AudioTooLong),
    Attack("flac of 11 minutes", sound("PCM_16", rate=4_000, suffix=".flac", seconds=660), AudioTooLong),
    Attack("cover picture", _with_cover, None),
]
CASES: list[Attack] = [*NOT_AUDIO, *READS_OTHER_FILES, *LYING_HEADERS, *DAMAGED, *BOMBS]
"""All of them."""
