"""SILK version 3, which WeChat and QQ record voice messages in: by the `silk-python` package, where it is installed.

What it wraps is C that was never hardened against hostile files, so it runs as ffmpeg does: in a confined child, which
reads the one file and writes samples to its pipe. The parent never loads it.
"""

import importlib.util
import sys
from pathlib import Path

from app.audio.child import ConfinedChild
from app.audio.decode import AudioInfo, Block, Decoder
from app.audio.limits import AudioLimits
from app.audio.pcm import ENCODINGS
from app.audio.stop import Stop
from app.audio.structure import Structure
from app.vad.errors import InvalidAudio, UnsupportedAudio

_RATE = 24_000
"""Hz. The decoder gives any rate up to this one, the highest that SILK codes."""
_PROGRAM = f"import sys, pysilk; pysilk.decode(open(sys.argv[1], 'rb'), sys.stdout.buffer, {_RATE})"
_PCM = ENCODINGS["pcm_s16le"]
_MISSING = (
    "this is SILK, as WeChat has it, which needs the package silk-python here (the extra `silk`): install it, or "
)
_MISSING += "send the file as WAV"


class SilkDecoder(Decoder):
    """A child that decodes one file."""

    name = "silk"

    def __init__(self, path: Path, limits: AudioLimits, structure: Structure, stop: Stop | None = None) -> None:
        """Raises `UnsupportedAudio` where the package is not installed."""
        if importlib.util.find_spec("pysilk") is None:
            raise UnsupportedAudio(_MISSING)
        super().__init__(AudioInfo(_RATE, 1, "SILK", ""), limits, None, structure)
        path = path.resolve()
        self._child = ConfinedChild(
            # Isolated: neither its environment nor the folder that it starts in has a say in what it imports.
            [sys.executable, "-I", "-B", "-c", _PROGRAM, str(path)],
            memory_mb=limits.child_memory_mb,
            cpu_s=limits.child_cpu_s,
            silence_s=limits.child_silence_s,
            directory_beside=path,
        )
        if stop is not None:
            stop.when_stopped(self._child.kill)

    def _read(self, frames: int) -> Block:
        data = self._child.read(frames * _PCM.sample_bytes)
        self._child.drop_directory()
        if not data and not self.closed:
            self._finish()
        return _PCM.decode(bytes(data[: len(data) // 2 * 2])).reshape(-1, 1)

    def _finish(self) -> None:
        """At the end of the output: was it the end of the audio?"""
        status = self._child.finish()
        if status and self.decoded_frames == 0:
            raise InvalidAudio("the SILK file is damaged: nothing in it can be decoded")
        if status and self.cut is None:
            self.cut = "it is damaged, and could not be decoded to its end"

    def close(self) -> None:
        """Kill the child, if it runs."""
        self.closed = True
        self._child.close()
