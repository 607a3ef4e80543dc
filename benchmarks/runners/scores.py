"""A detector's probabilities, frame after frame, by its own package, which the peers' environment has.

usage: scores.py webrtc|ten|earshot|pyannote FILES.json FOLDER    FILES.json lists audio files; FOLDER gets 0.npz, …:
`scores`, from 0 to 1, and `speech`, what the package itself calls speech. One JSON line tells the frames' distance.
"""

import ctypes
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16_000
"""Hz, that of all these detectors."""
Frames = tuple[np.ndarray, np.ndarray]
"""Scores and decisions."""
Hear = Callable[[np.ndarray], Frames]
"""Of samples, int16."""


def webrtc() -> tuple[int, Hear]:
    """No probability: the share of its four levels of aggressiveness that hear speech; it decides as the second does,
    which is what most of its users set."""
    import webrtcvad

    def hear(samples: np.ndarray) -> Frames:
        votes = []
        for level in range(4):
            vad = webrtcvad.Vad(level)
            votes.append([vad.is_speech(frame.tobytes(), RATE) for frame in _frames(samples, 160)])
        return np.mean(votes, axis=0), np.array(votes[2])

    return 10, hear


def ten() -> tuple[int, Hear]:
    """Frames of 16 ms, its default; it decides at 0.5. On Linux it needs the system's libc++.so.1."""
    from ten_vad import TenVad

    if sys.platform == "linux":
        ctypes.CDLL("libc++.so.1")  # told here: the package's own complaint comes from its destructor, too

    def hear(samples: np.ndarray) -> Frames:
        vad = TenVad()
        said = [vad.process(frame) for frame in _frames(samples, 256)]
        return np.array([score for score, _ in said]), np.array([flag == 1 for _, flag in said])

    return 16, hear


def earshot() -> tuple[int, Hear]:
    """Frames of 16 ms; its documentation decides at 0.5."""
    from earshot import Detector

    def hear(samples: np.ndarray) -> Frames:
        detector = Detector()
        scores = np.array([detector.predict_i16(frame) for frame in _frames(samples, 256)])
        return scores, scores >= 0.5

    return 16, hear


def pyannote() -> tuple[int, Hear]:
    """A segmentation network of pyannote.audio, which PYANNOTE_MODEL names: a checkpoint or a directory. The likeliest
    speaker's probability, at the network's frame whose middle is nearest; it decides at 0.5."""
    model = os.environ.get("PYANNOTE_MODEL")
    if not model:
        raise ImportError("PYANNOTE_MODEL names no network of pyannote.audio")
    warnings.simplefilter("ignore")  # it warns of torchcodec, which only its own reading of files needs
    import torch
    from pyannote.audio import Inference, Model

    infer = Inference(Model.from_pretrained(model), pre_aggregation_hook=lambda scores: scores.max(-1, keepdims=True))

    def hear(samples: np.ndarray) -> Frames:
        waveform = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
        found = infer({"waveform": waveform, "sample_rate": RATE})
        window, values = found.sliding_window, found.data[:, 0]
        middles = np.arange(len(samples) // 160) / 100 + 0.005
        places = np.round((middles - window.start - window.duration / 2) / window.step).astype(int)
        scores = values[places.clip(0, len(values) - 1)]
        return scores, scores >= 0.5

    return 10, hear


VARIANTS = {"webrtc": webrtc, "ten": ten, "earshot": earshot, "pyannote": pyannote}


def _frames(samples: np.ndarray, size: int) -> np.ndarray:
    """Whole ones; what is left at the end is filled up with silence."""
    return np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)


def _read(path: str) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, RATE)
    return np.round(mono.clip(-1, 1) * 32767).astype(np.int16)


def main() -> None:
    """One package, all files."""
    variant, files, folder = sys.argv[1:]
    try:
        step_ms, hear = VARIANTS[variant]()
    except (ImportError, OSError) as error:  # the package, or a library of the system that it is built on
        print(json.dumps({"missing": f"{error} (make bench-peers)"}))
        return
    for number, path in enumerate(json.loads(Path(files).read_text())):
        scores, speech = hear(_read(path))
        np.savez(Path(folder) / f"{number}.npz", scores=scores, speech=speech)
    print(json.dumps({"step_ms": step_ms}))


main()
