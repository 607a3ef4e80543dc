"""What each model costs: processor time for the same audio, where that of `fsmn` is 1, as `GET /models` tells it.

From benchmarks/results/costs.json (`make bench ARGS="--only costs --quick"`): ten minutes of 16 kHz WAV on one core,
decoding and all, rounded to two digits. A test compares the two.
"""

from collections.abc import Mapping

_COSTS: Mapping[str, float] = {
    "fsmn": 1.0,
    "silero": 0.73,
    "firered": 1.6,
    "firered-stream": 1.4,
    "firered-aed": 1.7,
    "pyannote": 5.0,
    "silero+firered": 2.2,
    "fsmn+silero+firered": 3.2,
    "silero+firered+2*pyannote": 7.2,
    "silero-8k": 0.61,
    "fsmn+silero": 1.6,
    "silero+firered-stream": 1.9,
}


def cost_of(name: str) -> float | None:
    """Of a model or a sum by its canonical name; None where it has not been measured."""
    return _COSTS.get(name)
