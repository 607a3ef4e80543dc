"""What each model costs: processor time for the same audio, where that of `fsmn` is 1, as `GET /models` tells it.

From benchmarks/results: models.json (an hour of 16 kHz WAV on one core, decoding and all), and costs.json (ten minutes)
for what the other does not have; rounded to two digits. A test compares them.
"""

from collections.abc import Mapping

_COSTS: Mapping[str, float] = {
    "fsmn": 1.0,
    "silero": 0.65,
    "firered": 1.4,
    "firered-stream": 1.3,
    "firered-aed": 1.4,
    "pyannote": 5.0,
    "silero+firered": 2.0,
    "fsmn+silero+firered": 2.8,
    "silero+firered+2*pyannote": 6.8,
    "silero-8k": 0.61,
    "fsmn+silero": 1.6,
    "silero+firered-stream": 1.9,
}


def cost_of(name: str) -> float | None:
    """Of a model or a sum by its canonical name; None where it has not been measured."""
    return _COSTS.get(name)
