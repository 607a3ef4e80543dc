"""Sound as it comes out of bad rooms and bad lines: what is spoken is found, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.field.asking import RATE, Pairs, ask, wav
from tests.server import RunningServer
from tests.voice import voice

pytestmark = pytest.mark.slow

Samples = NDArray[np.float32]
SECONDS = 10
SPOKEN = [(2.0, 4.5), (6.5, 9.0)]
EDGE_MS = 400
"""What edges may be off by: FSMN-VAD's end-point machine keeps up to so much before speech, and as much again after."""


def spoken(stretches: list[tuple[float, float]] = SPOKEN, seconds: float = SECONDS) -> Samples:
    return voice(seconds, stretches)


def found(pairs: Pairs, stretches: list[tuple[float, float]]) -> bool:
    """Whether each stretch, and nothing else, is covered by segments, but for its edges."""
    mask, wanted = np.zeros(2 * SECONDS * 1000, dtype=bool), np.zeros(2 * SECONDS * 1000, dtype=bool)
    allowed = wanted.copy()
    for start, end in pairs:
        mask[start:end] = True
    for first, last in stretches:
        start, end = round(1000 * first), round(1000 * last)
        wanted[start + EDGE_MS : end - EDGE_MS] = True
        allowed[max(0, start - EDGE_MS) : end + 2 * EDGE_MS] = True
    return bool(mask[wanted].all() and not mask[~allowed].any())


def hum(samples: Samples) -> Samples:
    time = np.arange(len(samples)) / RATE
    mains = sum(np.sin(2 * np.pi * 50 * harmonic * time) / harmonic for harmonic in (1, 2, 3))
    return (samples + 0.02 * mains).astype(np.float32)


def with_drop_outs(samples: Samples) -> Samples:
    """A packet of 20 ms is missing every 200 ms."""
    out = samples.copy()
    for start in range(0, len(out), RATE // 5):
        out[start : start + RATE // 50] = 0
    return out


TREATMENTS: dict[str, tuple[Callable[[Samples], Samples], set[str]]] = {
    "DC offset": (lambda samples: samples * 0.5 + 0.3, set()),
    "clipping by 40 dB": (lambda samples: np.clip(100 * samples, -1, 1), {"clipped"}),
    "hum": (hum, set()),
    "drop-outs": (with_drop_outs, set()),
}


@pytest.mark.parametrize(("treat", "codes"), TREATMENTS.values(), ids=TREATMENTS)
def test_bad_lines(
    treat: Callable[[Samples], Samples], codes: set[str], hearing: RunningServer, tmp_path: Path
) -> None:
    answer = ask(hearing, wav(tmp_path, treat(spoken())))
    assert found(answer.segments, SPOKEN), answer.segments
    assert set(answer.codes) == codes


def test_60_db_down_is_told(hearing: RunningServer, tmp_path: Path) -> None:
    assert ask(hearing, quiet(tmp_path)).codes == ["very_quiet"]


@pytest.mark.reference
def test_60_db_down_fsmn_vad_hears_all_the_same(published_server: RunningServer, tmp_path: Path) -> None:
    answer = ask(published_server, quiet(tmp_path))
    assert found(answer.segments, SPOKEN), answer.segments


def quiet(folder: Path) -> Path:
    samples = spoken()
    return wav(folder, samples * (1e-3 / np.abs(samples).max()), subtype="FLOAT")


def words(folder: Path, ms: int) -> Path:
    return wav(folder, spoken([(start, start + ms / 1000) for start in (2.0, 5.0, 8.0)]))


@pytest.mark.parametrize("ms", [150, 200, 300])
def test_short_words_where_they_are_asked_for(ms: int, hearing: RunningServer, tmp_path: Path) -> None:
    # FSMN-VAD takes the first moment of a file for a word where it is less strict, and words may be so short.
    fsmn = hearing.get("/options").json()["default_model"] == "fsmn"
    strict = {"threshold": "0.7", "neg_threshold": "0.5"} if fsmn else {}
    answer = ask(hearing, words(tmp_path, ms), mode="tight", min_speech_duration_ms="40", **strict)
    assert [round(start / 1000) for start, _ in answer.segments] == [2, 5, 8]


@pytest.mark.reference
@pytest.mark.parametrize("ms", [150, 200, 300])
def test_fsmn_vad_hears_words_from_150_ms(ms: int, published_server: RunningServer, tmp_path: Path) -> None:
    answer = ask(published_server, words(tmp_path, ms))
    assert [round((start + end) / 2000) for start, end in answer.segments] == [2, 5, 8]


def test_ten_minutes_of_digital_silence(hearing: RunningServer, tmp_path: Path) -> None:
    answer = ask(hearing, wav(tmp_path, np.zeros(600 * RATE, dtype=np.float32)))
    assert (answer.segments, answer.codes, answer.audio["duration_ms"]) == ([], ["very_quiet"], 600_000)


def test_speech_from_the_first_sample_to_the_last(hearing: RunningServer, tmp_path: Path) -> None:
    answer = ask(hearing, wav(tmp_path, spoken([(0.0, 3.0)], seconds=3.0)))
    [(start, end)] = answer.segments
    assert start <= EDGE_MS / 2
    assert 3_000 - 100 <= end <= 3_000


@pytest.mark.reference
def test_fsmn_vad_loses_no_first_sample(published_server: RunningServer, tmp_path: Path) -> None:
    answer = ask(published_server, wav(tmp_path, spoken([(0.0, 3.0)], seconds=3.0)))
    assert [start for start, _ in answer.segments] == [0]


@pytest.mark.parametrize("ms", [1, 333, 977])
def test_no_segment_ends_after_the_sound(ms: int, hearing: RunningServer, tmp_path: Path) -> None:
    samples = spoken([(1.0, 3.0 + ms / 1000)], seconds=3.0 + ms / 1000)
    answer = ask(hearing, wav(tmp_path, samples))
    assert answer.segments
    assert answer.segments[-1][1] <= answer.audio["duration_ms"]
