"""Clips of speech as they are uploaded, for whoever measures single requests."""

import io

import numpy as np
import soundfile

from tools.reference_data import reference_folder

SECONDS = (0.1, 5.5)
"""As short as a request can be, where everything but the audio counts; and a sentence."""
RATE = 16_000  # Hz


def speech() -> "np.ndarray":
    """A minute of speech, float32; noise where the reference data are not here."""
    path = reference_folder() / "audio" / "vad_example.wav"
    if path.is_file():
        samples, _ = soundfile.read(path, dtype="float32")
        return np.asarray(samples)
    return np.random.default_rng(0).standard_normal(60 * RATE).astype(np.float32) / 10


def wav(samples: "np.ndarray") -> bytes:
    """A WAV of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def wav_of(seconds: float) -> bytes:
    """The first seconds of the speech."""
    return wav(speech()[: round(seconds * RATE)])


def form(content: bytes) -> tuple[bytes, str]:
    """The same as a form's body, and its content type."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return head + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
