"""Every other format, by an ffmpeg child that may do next to nothing.

The argument list is fixed. Only local files are opened, only audio containers and audio codecs are let in: without
these lists a playlist named `a.wav` makes ffmpeg read other files, and a cover picture costs hundreds of megabytes.
The child has no input, no environment, an empty directory of its own, and limits on memory, processor time, open
files and written files. Its output is AU: a fixed small header gives rate and channels, then 32-bit floats follow.
"""

import os
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO

import numpy as np

from app.audio.decode import AudioInfo, Block, Decoder
from app.audio.limits import AudioLimits
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
_SHELL = "/bin/sh"
# The limits are set by the shell that becomes ffmpeg: setting them from outside would leave a moment without, and code
# between fork and exec is not safe in a process with threads.
_CONFINE = 'ulimit -v "$1" && ulimit -t "$2" && ulimit -n 32 && ulimit -c 0 && ulimit -f 0 && shift 2 && exec "$@"'
_AU_HEAD = struct.Struct(">4s5I")
_AU_FLOAT32 = 6
_STDERR_BYTES = 4 << 10
_UNKNOWN_CODEC_SIGNS = ("not on whitelist", "not found", "matches no streams", "unknown codec", "could not find codec")


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
    """The fixed command line."""
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1",
        "-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-codec_whitelist", CODECS,
        "-i", f"file:{path}", "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1",
        "-t", f"{limits.max_seconds + 1:.3f}", "-threads", "1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip


class FfmpegDecoder(Decoder):
    """See the module's head."""

    name = "ffmpeg"

    def __init__(self, path: Path, container: str, limits: AudioLimits, ffmpeg: Path) -> None:
        self._container = container
        self._closed = threading.Event()
        self._directory = tempfile.mkdtemp(prefix="decode-", dir=path.parent)
        try:
            self._start(arguments(ffmpeg, path.resolve(), limits), limits)
            info = self._read_head()
            super().__init__(info, limits, None)
        except BaseException:
            self.close()
            raise

    def _start(self, command: list[str], limits: AudioLimits) -> None:
        confined = [_SHELL, "-c", _CONFINE, "sh", str(limits.child_memory_mb << 10), str(limits.child_cpu_s), *command]
        self._process = subprocess.Popen(
            confined,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._directory,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            start_new_session=True,
            close_fds=True,
        )
        self._stdout, self._stderr = _opened(self._process.stdout), _opened(self._process.stderr)
        self._complaint = bytearray()
        self._drain = threading.Thread(target=self._drain_stderr, name="ffmpeg-stderr", daemon=True)
        self._drain.start()

    def _drain_stderr(self) -> None:
        # Read to the end, or a talkative child would block; keep only the beginning.
        while piece := self._stderr.read(_STDERR_BYTES):
            self._complaint += piece[: _STDERR_BYTES - len(self._complaint)]

    def _read_head(self) -> AudioInfo:
        head = self._stdout.read(_AU_HEAD.size)
        if len(head) < _AU_HEAD.size:
            raise self._failure()
        magic, offset, _, encoding, rate, channels = _AU_HEAD.unpack(head)
        if magic != b".snd" or encoding != _AU_FLOAT32 or not _AU_HEAD.size <= offset <= 1 << 16:
            raise InvalidAudio("the decoder's output makes no sense")
        self._stdout.read(offset - _AU_HEAD.size)
        return AudioInfo(rate, channels, self._container, "")

    def _read(self, frames: int) -> Block:
        width = 4 * self.info.channels
        data = self._stdout.read(frames * width)
        whole = len(data) // width
        if whole == 0:
            self._finish()
        block = np.frombuffer(data, dtype=">f4", count=whole * self.info.channels).astype(np.float32)
        return block.reshape(whole, self.info.channels)

    def _finish(self) -> None:
        """At the end of the output: was it the end of the audio?"""
        if self._closed.is_set():
            return
        status = self._process.wait()
        self._drain.join(timeout=5)
        if self.decoded_frames == 0:
            raise self._failure()
        self.truncated = status != 0 or bool(self._complaint)

    def _failure(self) -> AudioError:
        self._process.wait()
        self._drain.join(timeout=5)
        complaint = self._complaint.decode(errors="replace").lower()
        if any(sign in complaint for sign in _UNKNOWN_CODEC_SIGNS):
            return UnsupportedAudio(f"the {self._container} file holds no audio, or audio in a coding not known here")
        return InvalidAudio(f"the {self._container} file is damaged: nothing in it can be decoded")

    def close(self) -> None:
        """Kill the child, if it runs, and remove its directory."""
        self._closed.set()
        process = getattr(self, "_process", None)
        if process is not None:
            if process.poll() is None:
                _kill_group(process)
            process.wait()
            self._drain.join(timeout=5)
            self._stdout.close()
            self._stderr.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the child was started without a pipe")
    return pipe


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended in this very moment
