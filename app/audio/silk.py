"""SILK version 3, which WeChat and QQ record voice messages in: by the `silk-python` package, where it is installed.

What it wraps is C that was never hardened against hostile files, so it runs as ffmpeg does: in a confined child, which
reads the one file and writes samples to its pipe. The parent never loads it.
"""

import importlib.util
import sys
from pathlib import Path

from app.audio.child import ConfinedChild
from app.audio.decode import AudioInfo, AudioLimits, Block, Decoder, Stop
from app.audio.facts import FileFacts
from app.audio.pcm import ENCODINGS
from app.vad.errors import InvalidAudio, UnsupportedAudio

_RATE = 24_000
"""Hz. The decoder gives any rate up to this one, the highest that SILK codes."""
_PROGRAM = f"import sys, pysilk; pysilk.decode(open(sys.argv[1], 'rb'), sys.stdout.buffer, {_RATE})"
_PCM = ENCODINGS["pcm_s16le"]
_MISSING = (
    "this is SILK, as WeChat has it, which needs the package silk-python here (the extra `silk`): install it, or "
    "send the file as WAV"
)


class SilkDecoder(Decoder):
    """A child that decodes one file."""

    name = "silk"

    def __init__(self, path: Path, limits: AudioLimits, facts: FileFacts, stop: Stop | None = None) -> None:
        """Raises `UnsupportedAudio` where the package is not installed."""
        if importlib.util.find_spec("pysilk") is None:
            raise UnsupportedAudio(_MISSING)
        super().__init__(AudioInfo(_RATE, 1, "SILK", ""), limits, None, facts)
        path = path.resolve()
        # Isolated: neither its environment nor the folder that it starts in has a say in what it imports.
        command = [sys.executable, "-I", "-B", "-c", _PROGRAM, str(path)]
        self._child = ConfinedChild(command, limits, directory_beside=path)
        if stop is not None:
            stop.when_stopped(self._child.kill)

    def _read(self, frames: int) -> Block:
        data = self._child.read(frames * _PCM.sample_bytes)
        self._child.drop_directory()
        if not data and not self.closed and self._child.finish():
            if self.decoded_frames == 0:
                raise InvalidAudio("the SILK file is damaged: nothing in it can be decoded")
            self.cut = self.cut or "it is damaged, and could not be decoded to its end"
        return _PCM.decode(bytes(data[: len(data) // 2 * 2])).reshape(-1, 1)

    def close(self) -> None:
        """Kill the child, if it runs."""
        self.closed = True
        self._child.close()
