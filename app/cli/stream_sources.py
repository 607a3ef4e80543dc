"""Where `fsmn-vad stream` has its sound from: a microphone, a file, or raw PCM on stdin."""

import importlib
import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.audio.source import AudioSource, open_audio
from app.cli.inputs import UsageError
from app.config import Settings
from app.live.parameters import StreamParameters
from app.runtime import audio_policy
from app.vad.errors import VadError

Chunks = Generator[bytes, None, None]

_FILE_RATE = 16_000
_STDIN = 0


class NoMicrophone(VadError):
    """There is no device to record from, or it cannot do what is asked."""


@dataclass(frozen=True, slots=True)
class Source:
    """Sound to come. `chunks` hold whole samples of one channel; reading them blocks; closing them frees what they
    need."""

    chunks: Chunks
    sample_rate: int
    encoding: str
    expected_ms: int | None = None
    """How long it will be, where that is known."""


def open_file(name: str, settings: Settings, chunk_ms: int) -> Source:
    """A file that the service reads, as one channel at 16 kHz. Raises `UsageError`, the `AudioError`s."""
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"{name}: there is no such file")
    policy = audio_policy(settings)
    audio = open_audio(
        path,
        sample_rate=_FILE_RATE,
        channel="mix",
        block_seconds=chunk_ms / 1000,
        limits=policy.limits,
        ffmpeg=policy.ffmpeg,
    )
    seconds = audio.expected_seconds
    # Floats, because a resampled or mixed sample is seldom a whole number: so the service hears what it would itself
    # have made of the file.
    return Source(_blocks(audio), _FILE_RATE, "pcm_f32le", None if seconds is None else round(seconds * 1000))


def open_stdin(parameters: StreamParameters, chunk_ms: int) -> Source:
    """Raw PCM from a pipe. Raises `UsageError` at a terminal."""
    if sys.stdin.isatty():
        raise UsageError("-: pipe raw PCM into this, such as: arecord -t raw -f S16_LE -r 16000 | fsmn-vad stream -")
    size = parameters.sample_rate * chunk_ms // 1000 * parameters.bytes_per_sample
    chunks = _pieces(size, parameters.bytes_per_sample)
    return Source(chunks, parameters.sample_rate, parameters.encoding)


def open_microphone(sample_rate: int, chunk_ms: int) -> Source:
    """The machine's default input. Raises `UsageError` when the extra is not installed, `NoMicrophone`."""
    sounddevice = _sounddevice()
    frames = sample_rate * chunk_ms // 1000
    try:
        device = sounddevice.RawInputStream(samplerate=sample_rate, blocksize=frames, channels=1, dtype="int16")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise NoMicrophone(f"no microphone can be opened at {sample_rate} Hz: {error}") from None
    return Source(_recorded(device, frames), sample_rate, "pcm_s16le")


def at_real_time(source: Source, bytes_per_sample: int) -> Chunks:
    """Its chunks, none before its last sample would have been spoken."""
    started, samples = time.monotonic(), 0
    for chunk in source.chunks:
        samples += len(chunk) // bytes_per_sample
        wait_s = started + samples / source.sample_rate - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        yield chunk


def _blocks(audio: AudioSource) -> Chunks:
    with audio:
        for rows in audio:
            yield rows[0].astype("<f4").tobytes()


def _pieces(size: int, bytes_per_sample: int) -> Chunks:
    # Not through sys.stdin, whose lock a thread that still reads would hold when the interpreter ends.
    held = b""
    while data := os.read(_STDIN, 1 << 16):
        held += data
        whole = len(held) // size * size
        yield from _cut(held[:whole], size)
        held = held[whole:]
    if whole := len(held) // bytes_per_sample * bytes_per_sample:
        yield held[:whole]


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _recorded(device: Any, frames: int) -> Chunks:
    with device:
        while True:
            data, overflowed = device.read(frames)
            if overflowed:
                raise NoMicrophone("sound was lost: what follows the microphone does not keep up")
            yield bytes(data)


def _sounddevice() -> Any:
    # On Linux the package comes without the library it speaks to, and says so with an OSError.
    with suppress(ImportError):
        try:
            return importlib.import_module("sounddevice")
        except OSError as error:
            raise UsageError(f"--mic needs the PortAudio library (Debian: libportaudio2): {error}") from None
    raise UsageError("--mic needs the package sounddevice: pip install 'fsmn-vad-service[mic]'")
