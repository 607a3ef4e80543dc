"""Every other format, by an ffmpeg child that may do next to nothing.

The argument list is fixed. Only local files are opened, only audio containers and audio codecs are let in: without
these lists a playlist named `a.wav` makes ffmpeg read other files, and a cover picture costs hundreds of megabytes.
The child has no input, no environment, an empty directory of its own, and limits on memory, processor time, open
files and written files. Its output is AU: a fixed small header gives rate and channels, then 32-bit floats follow.
"""

import os
import shutil
import struct
from pathlib import Path

import numpy as np

from app.audio.child import ConfinedChild
from app.audio.decode import AudioInfo, Block, Decoder
from app.audio.limits import AudioLimits
from app.audio.stop import Stop
from app.audio.xing import mp3_is_cut_short
from app.vad.errors import AudioError, InvalidAudio, UnsupportedAudio

CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,caf,eac3,flac,gsm,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,ogg,rf64,"
    "tta,voc,w64,wav,wv"
)
CODECS = (
    "aac,aac_fixed,aac_latm,ac3,ac3_fixed,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_yamaha,alac,amrnb,amrwb,amr_nb,"
    "amr_wb,ape,eac3,flac,gsm,gsm_ms,libgsm,libgsm_ms,libopencore_amrnb,libopencore_amrwb,libopus,libspeex,libvorbis,"
    "mp1,mp1float,mp2,mp2float,mp3,mp3float,mp3adu,mp3adufloat,opus,pcm_alaw,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,"
    "pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8,speex,tta,vorbis,wavpack,"
    "wmav1,wmav2,wmapro,wmalossless,wmavoice"
)
_AU_HEAD = struct.Struct(">4s5I")
_AU_FLOAT32 = 6
_NOT_STARTED = (126, 127)
# What ffmpeg says, of versions 5 to 9, in lower case.
_NO_AUDIO_SIGNS = ("format not on whitelist", "matches no streams", "no decoder found for", "decoder (codec")
_REFUSED_CODEC_SIGNS = (") not on whitelist", "error while opening decoder")
_HARMLESS_SIGNS = ("not on whitelist", "last message repeated", "not detecting")


def find_ffmpeg(configured: str | None) -> Path | None:
    """The ffmpeg to use: `configured`, else the one in the imageio-ffmpeg package, else the PATH's; None if there is
    none.

    Raises FileNotFoundError when the configured one is not there.
    """
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise FileNotFoundError(f"VAD_FFMPEG: {configured} is not an executable file")
        return Path(found).resolve()
    bundled = _bundled_ffmpeg()
    if bundled is not None:
        return bundled
    on_path = shutil.which("ffmpeg")
    return Path(on_path) if on_path else None


def _bundled_ffmpeg() -> Path | None:
    # Found by hand: the package's own function falls back to the PATH and raises, and importing it takes longer.
    try:
        import imageio_ffmpeg  # noqa: PLC0415 - absent where a system ffmpeg is wanted
    except ImportError:
        return None
    binaries = Path(imageio_ffmpeg.__file__).parent / "binaries"
    return next((path for path in sorted(binaries.glob("ffmpeg*")) if os.access(path, os.X_OK)), None)


def arguments(ffmpeg: Path, path: Path, limits: AudioLimits) -> list[str]:
    """The fixed command line.

    Samples are numbered anew, or `-t` would measure time stamps and silently cut a recording with a pause in them.
    """
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1",
        "-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-codec_whitelist", CODECS,
        "-i", f"file:{path}", "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1",
        "-af", "asetpts=N/SR/TB", "-t", f"{limits.max_seconds + 1:.3f}", "-threads", "1",
        "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip


class FfmpegDecoder(Decoder):
    """See the module's head."""

    name = "ffmpeg"

    def __init__(self, path: Path, container: str, limits: AudioLimits, ffmpeg: Path, stop: Stop | None = None) -> None:
        self._container = container
        path = path.resolve()
        self._child = ConfinedChild(
            arguments(ffmpeg, path, limits),
            memory_mb=limits.child_memory_mb,
            cpu_s=limits.child_cpu_s,
            silence_s=limits.child_silence_s,
            directory_beside=path,
        )
        if stop is not None:
            stop.when_stopped(self._child.kill)
        try:
            self._short = container == "MP3" and mp3_is_cut_short(path)
            info = self._read_head()
            super().__init__(info, limits, None)
        except BaseException:
            self.close()
            raise
        self._child.drop_directory()

    @property
    def pid(self) -> int:
        """The child's."""
        return self._child.pid

    def _read_head(self) -> AudioInfo:
        head = self._child.read(_AU_HEAD.size)
        if len(head) < _AU_HEAD.size:
            raise self._failure()
        magic, offset, _, encoding, rate, channels = _AU_HEAD.unpack(head)
        if magic != b".snd" or encoding != _AU_FLOAT32 or not _AU_HEAD.size <= offset <= 1 << 16:
            raise InvalidAudio("the decoder's output makes no sense")
        self._child.read(offset - _AU_HEAD.size)
        return AudioInfo(rate, channels, self._container, "")

    def _read(self, frames: int) -> Block:
        width = 4 * self.info.channels
        data = self._child.read(frames * width)
        whole = len(data) // width
        if whole == 0 and not self.closed:
            self._finish()
        block = np.frombuffer(data, dtype=">f4", count=whole * self.info.channels).astype(np.float32)
        return block.reshape(whole, self.info.channels)

    def _finish(self) -> None:
        """At the end of the output: was it the end of the audio?"""
        if self.decoded_frames == 0:
            raise self._failure()
        status, lines = self._child.finish()
        if _was_stopped(status) and not self.closed:
            raise self._failure()
        self.truncated = status != 0 or any(map(_tells_of_damage, lines)) or self._short

    def _failure(self) -> AudioError:
        status, lines = self._child.finish()
        if _was_stopped(status):
            return InvalidAudio(f"the decoder broke down over the {self._container} file, or needed more than it may")
        if status in _NOT_STARTED:
            return UnsupportedAudio(f"{self._container} needs ffmpeg, which cannot be started here")
        if _is_refusal(lines):
            return UnsupportedAudio(f"the {self._container} file holds no audio, or audio in a coding not known here")
        return InvalidAudio(f"the {self._container} file is damaged: nothing in it can be decoded")

    def close(self) -> None:
        """Kill the child, if it runs."""
        self.closed = True
        self._child.close()


def _was_stopped(status: int) -> bool:
    # 255 is what ffmpeg answers when a signal made it stop in good order.
    return status < 0 or status == 255


def _is_refusal(lines: list[str]) -> bool:
    if any(sign in line for line in lines for sign in _NO_AUDIO_SIGNS):
        return True
    return all(any(sign in line for line in lines) for sign in _REFUSED_CODEC_SIGNS)


def _tells_of_damage(line: str) -> bool:
    """Not those about streams that are none of our business, such as a cover picture."""
    return bool(line) and not any(sign in line for sign in _HARMLESS_SIGNS)
