"""Golden files of Silero VAD, by its own package. Runs inside the references' environment."""

from collections.abc import Iterator
from typing import Any

import cases
import numpy as np
import soundfile
import torch
from silero_vad import get_speech_timestamps, load_silero_vad
from writing import Places, places, write_cases

_RATE, _FRAME = 16_000, 512


def segments(where: Places, model: Any) -> Iterator[dict[str, Any]]:
    """Whole recordings. Times are samples turned to ms and rounded down, as all times of this project are."""
    for audio, options in cases.silero():
        found = get_speech_timestamps(samples_of(where, audio), model, sampling_rate=_RATE, **options)
        spans = [[each["start"] * 1000 // _RATE, each["end"] * 1000 // _RATE] for each in found]
        yield {"audio": audio, "options": dict(options), "segments_ms": spans}


def posterior(where: Places, model: Any, audio: str) -> np.ndarray:
    """The network's probability of speech, for each frame of 32 ms, float32."""
    samples = samples_of(where, audio)
    samples = torch.nn.functional.pad(samples, (0, -len(samples) % _FRAME))
    model.reset_states()
    with torch.no_grad():
        return np.array([model(frame, _RATE).item() for frame in samples.split(_FRAME)], dtype=np.float32)


def samples_of(where: Places, audio: str) -> torch.Tensor:
    """A recording at 16 kHz."""
    samples, rate = soundfile.read(where.recording(audio), dtype="float32")
    if rate != _RATE:
        raise ValueError(f"{audio} is at {rate} Hz")
    return torch.from_numpy(samples)


where = places()
silero = load_silero_vad()
write_cases(where.golden / "silero.json", segments(where, silero))
name = cases.SILERO_POSTERIOR.removesuffix(".wav")
np.save(where.golden / f"silero_{name}.posterior.npy", posterior(where, silero, cases.SILERO_POSTERIOR))
