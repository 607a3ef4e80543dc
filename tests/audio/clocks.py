"""Files whose time stamps are not the count of their samples."""

from pathlib import Path

from tests.audio.ffmpegs import AVAILABLE, encode, encoders, remux, run

LATE_S = 4.087
"""How long after the picture the sound of `late` begins."""
CODECS = {
    ".webm": "libopus", ".mkv": "aac", ".mka": "flac", ".mp4": "aac", ".m4a": "aac", ".mov": "aac", ".flv": "aac",
    ".ts": "aac", ".wma": "wmav2", ".avi": "libmp3lame", ".ogg": "libopus",
}  # fmt: skip
"""Of the sound, by the file's ending."""
PICTURES = {".webm": "libvpx", ".flv": "flv", ".ts": "mpeg2video"}
"""Of the picture; mpeg4 in all others."""


def leaping(
    plain: Path, suffix: str, folder: Path, *, at_s: float = 3, gap_s: float = 10, picture: bool = False
) -> Path:
    """The sound of `plain`, with a pause of `gap_s` in its time stamps after `at_s`, the picture's too. Raises
    LookupError."""
    whole = folder / f"whole{suffix}"
    if picture:
        _film(plain, whole, 0.0)
    else:
        encode(plain, whole, "-c:a", CODECS[suffix])
    leap = f"setts=ts=if(gt(PTS*TB\\,{at_s})\\,PTS+{gap_s}/TB\\,PTS)"
    both = ("-bsf:v", leap, "-map", "0") if picture else ()
    return remux(whole, folder / f"leap{suffix}", "-bsf:a", leap, *both)


def late(plain: Path, suffix: str, folder: Path, *options: str) -> Path:
    """Beside a picture that begins 4.087 s earlier. Raises LookupError when the picture cannot be encoded."""
    return _film(plain, folder / f"late{suffix}", LATE_S, *options)


def _film(plain: Path, path: Path, late_s: float, *options: str) -> Path:
    picture, sound = PICTURES.get(path.suffix, "mpeg4"), CODECS[path.suffix]
    for ffmpeg in AVAILABLE.values():
        if sound in encoders(ffmpeg) and picture in encoders(ffmpeg, kind="V"):
            run(
                ffmpeg, "-f", "lavfi", "-i", "testsrc=s=64x64:d=10:r=10", "-itsoffset", str(late_s), "-i", str(plain),
                "-map", "0:v", "-map", "1:a", "-c:v", picture, "-c:a", sound, *options, str(path),
            )  # fmt: skip
            return path
    raise LookupError(f"no ffmpeg here encodes {picture} and {sound}")
