"""A file in, speech and warnings out: what a case asserts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.audio.ffmpegs import encode
from tests.server import RunningServer
from tests.signals import bursts

Pairs = Sequence[tuple[int, int]]
"""Start and end of segments, ms."""
RATE = 16_000
SECONDS = 10.0
LOUD = [(2.0, 4.0), (6.0, 8.0)]
"""Where the usual recording is loud, s."""
SOUND: NDArray[np.float32] = bursts(SECONDS, LOUD)
"""The usual recording, float32 [n] at 16 kHz; the tiny model takes its noise for speech."""


@dataclass(frozen=True)
class Answer:
    """What the service said of a file."""

    segments: Pairs
    codes: list[str]
    """Of its warnings."""
    audio: dict[str, Any]

    def is_near(self, expected: Pairs, ms: int) -> bool:
        """Whether these are its segments, no edge off by more than so much."""
        if len(self.segments) != len(expected):
            return False
        return not expected or bool(np.abs(np.array(self.segments) - np.array(expected)).max() <= ms)


def ask(server: RunningServer, content: bytes | Path, **options: str) -> Answer:
    """Upload a file as the body. Raises AssertionError with the problem when it is refused."""
    response = server.post(
        "/vad", content=content if isinstance(content, bytes) else content.read_bytes(), params=options
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    segments = [(each["start_ms"], each["end_ms"]) for each in answer["segments"]]
    return Answer(segments, [warning["code"] for warning in answer["warnings"]], answer["audio"])


def refusal(server: RunningServer, content: bytes, **options: str) -> tuple[int, str, str]:
    """Status, code and detail of the problem that a file is."""
    response = server.post("/vad", content=content, params=options)
    problem = response.json()
    return response.status_code, problem["code"], problem["detail"]


def shifted(pairs: Pairs, ms: int) -> Pairs:
    """Later by so much."""
    return [(start + ms, end + ms) for start, end in pairs]


def wav(
    folder: Path, samples: NDArray[Any] = SOUND, rate: int = RATE, subtype: str = "PCM_16", suffix: str = ".wav"
) -> Path:
    """A plain file of these samples, as libsndfile writes it."""
    path = folder / f"{subtype}-{rate}{suffix}"
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def coded(folder: Path, suffix: str, *options: str, samples: NDArray[Any] = SOUND, rate: int = RATE) -> Path:
    """The same by ffmpeg. Raises LookupError when none here can encode it."""
    return encode(wav(folder, samples, rate), folder / f"coded{suffix}", *options)
