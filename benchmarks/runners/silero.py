"""Silero VAD, another model. Its files are read by libsndfile, in one piece, as it wants.

`--variant`: onnx or jit, or sequence for its newer walk of the ONNX model in blocks of 16 s.
"""

from pathlib import Path
from typing import Any

from measured import Detect, arguments, measure

given = arguments()


def load() -> Detect:
    """torch is set to the cores given; an ONNX session of this package always runs on one."""
    import soundfile
    import torch

    torch.set_num_threads(given.cores)
    detect_samples = _sequence() if given.variant == "sequence" else _stock(given.variant == "onnx")

    def detect(path: Path) -> int:
        samples, rate = soundfile.read(path, dtype="float32")
        return len(detect_samples(torch.from_numpy(samples), sampling_rate=rate))

    return detect


def _stock(onnx: bool) -> Any:
    from silero_vad import get_speech_timestamps, load_silero_vad

    model = load_silero_vad(onnx=onnx)
    return lambda samples, **options: get_speech_timestamps(samples, model, **options)


def _sequence() -> Any:
    from silero_vad import load_silero_vad
    from silero_vad.sequence_vad import get_speech_timestamps_sequence

    model = load_silero_vad(sequence=True)
    return lambda samples, **options: get_speech_timestamps_sequence(samples, model, **options)


measure(given, load)
