"""Detectors that are asked frame by frame and keep what they need of the past: a run of speech is a segment.

`--variant`: webrtc, ten or earshot. Files are read by libsndfile, in pieces, and are at 16 kHz.
"""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measured import Detect, arguments, measure

given = arguments()
_RATE = 16_000
"""Hz, that of all of them."""
_PIECE = 2000
"""Frames that are read at a time: a minute, about."""
IsSpeech = Callable[[np.ndarray], bool]
"""Of a frame, int16."""


def webrtc() -> tuple[int, Callable[[], IsSpeech]]:
    """WebRTC's mixture model of a few bands, in frames of 30 ms; aggressiveness 2, of 0 to 3."""
    import webrtcvad

    def begin() -> IsSpeech:
        vad = webrtcvad.Vad(2)
        return lambda frame: vad.is_speech(frame.tobytes(), _RATE)

    return 480, begin


def ten() -> tuple[int, Callable[[], IsSpeech]]:
    """TEN VAD, in its default frames of 16 ms."""
    from ten_vad import TenVad

    if sys.platform == "linux":
        ctypes.CDLL("libc++.so.1")  # told here: the package's own complaint comes from its destructor, too

    def begin() -> IsSpeech:
        vad = TenVad()
        return lambda frame: vad.process(frame)[1] == 1

    return 256, begin


def earshot() -> tuple[int, Callable[[], IsSpeech]]:
    """Frames of 16 ms; its documentation decides at 0.5."""
    from earshot import Detector

    def begin() -> IsSpeech:
        detector = Detector()
        return lambda frame: detector.predict_i16(frame) >= 0.5

    return 256, begin


VARIANTS = {"webrtc": webrtc, "ten": ten, "earshot": earshot}


def load() -> Detect:
    """The detector that is asked for. What is missing, a library of the system among it, is an ImportError."""
    import soundfile

    try:
        size, begin = VARIANTS[given.variant]()
    except OSError as error:
        raise ImportError(str(error)) from error

    def detect(path: Path) -> int:
        is_speech, segments, inside = begin(), 0, False
        with soundfile.SoundFile(path) as audio:
            while len(piece := audio.read(size * _PIECE, dtype="int16")):
                for frame in piece[: len(piece) // size * size].reshape(-1, size):
                    speech = is_speech(frame)
                    segments += speech and not inside
                    inside = speech
        return segments

    return detect


measure(given, load)
