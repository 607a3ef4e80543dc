"""Which decoder reads a file."""

from pathlib import Path

from app.audio.decode import Decoder
from app.audio.ffmpeg import FfmpegDecoder
from app.audio.limits import AudioLimits
from app.audio.sniff import HEAD_BYTES, sniff
from app.audio.stop import Stop
from app.audio.wav_flac import CannotRead, SoundfileDecoder
from app.vad.errors import InvalidAudio, NoAudio, UnsupportedAudio

_IN_PROCESS = ("WAV", "FLAC")


def open_decoder(path: Path, limits: AudioLimits, ffmpeg: Path | None, stop: Stop | None = None) -> Decoder:
    """Open a file by its content. Raises `NoAudio`, `UnsupportedAudio`, `InvalidAudio`.

    `ffmpeg`: None when there is none; then WAV and FLAC alone can be read. `stop`: ends the opening from another
    thread.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise NoAudio("the file is empty")
    container = sniff(head)
    if container is None:
        raise UnsupportedAudio("this is not audio in any format known here")
    if container in _IN_PROCESS:
        try:
            return SoundfileDecoder(path, container, limits)
        except CannotRead as error:
            if ffmpeg is None:
                raise InvalidAudio(f"the {container} file cannot be read: {error}") from None
    if ffmpeg is None:
        raise UnsupportedAudio(f"{container} needs ffmpeg, which is not installed here; WAV and FLAC can be read")
    return FfmpegDecoder(path, container, limits, ffmpeg, stop)
