"""The reference implementation's segments over a socket, to the millisecond, and events no later than its own."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.live.client import Heard, Pairs, converse, cut
from tests.server import RunningServer

pytestmark = pytest.mark.reference

_BYTES_PER_MS = 32


def pcm(reference: Path, name: str) -> bytes:
    samples, rate = soundfile.read(reference / "audio" / name, dtype="int16")
    assert rate == 16_000
    return bytes(samples.astype("<i2").tobytes())


def offline(golden_cases: list[dict[str, Any]], name: str) -> Pairs:
    (case,) = [case for case in golden_cases if case["audio"] == name and not case["options"]]
    segments: Pairs = case["segments_ms"]
    return segments


def events(case: dict[str, Any]) -> list[tuple[int, list[int]]]:
    """(audio fed, pair) in order."""
    return [(fed, pair) for fed, pairs in case["events"] for pair in pairs]


@pytest.fixture(scope="module")
def live_cases(reference: Path) -> list[dict[str, Any]]:
    """The reference's streaming answers."""
    cases: list[dict[str, Any]] = json.loads((reference / "golden" / "streaming.json").read_text())
    return cases


@pytest.fixture(scope="module")
def heard_of(
    published_server: RunningServer, reference: Path, live_cases: list[dict[str, Any]]
) -> dict[tuple[str, int], Heard]:
    """What was heard for an audio in chunks of so many ms: streams that were open side by side."""
    wanted = {(case["audio"], case["chunk_ms"]) for case in live_cases}
    wanted |= {("vad_example.wav", chunk_ms) for chunk_ms in (20, 60, 100, 200, 600)}

    def one(audio: str, chunk_ms: int) -> Heard:
        return converse(published_server, cut(pcm(reference, audio), chunk_ms * _BYTES_PER_MS))

    with ThreadPoolExecutor(len(wanted)) as pool:
        return dict(zip(wanted, pool.map(one, *zip(*wanted, strict=True)), strict=True))


@pytest.mark.parametrize("number", range(9))
def test_every_streaming_case(
    heard_of: dict[tuple[str, int], Heard],
    golden_cases: list[dict[str, Any]],
    live_cases: list[dict[str, Any]],
    number: int,
) -> None:
    assert len(live_cases) == 9
    case = live_cases[number]
    heard, expected = heard_of[case["audio"], case["chunk_ms"]], events(case)
    assert [pair for _, pair in heard.events] == [pair for _, pair in expected]
    assert all(mine <= theirs for (mine, _), (theirs, _) in zip(heard.events, expected, strict=True))
    assert heard.pairs == offline(golden_cases, case["audio"])
    assert [[s["start_ms"], s["end_ms"]] for s in heard.done["segments"]] == heard.pairs
    assert heard.code == 1000


@pytest.mark.parametrize(("chunk_ms", "not_later_than"), [(20, 60), (60, 60), (100, 200), (200, 200), (600, 600)])
def test_every_chunk_size_of_live_use(
    heard_of: dict[tuple[str, int], Heard],
    golden_cases: list[dict[str, Any]],
    live_cases: list[dict[str, Any]],
    chunk_ms: int,
    not_later_than: int,
) -> None:
    heard = heard_of["vad_example.wav", chunk_ms]
    assert heard.pairs == offline(golden_cases, "vad_example.wav")
    (case,) = [c for c in live_cases if (c["audio"], c["chunk_ms"]) == ("vad_example.wav", not_later_than)]
    expected = events(case)
    assert [pair for _, pair in heard.events] == [pair for _, pair in expected]
    # Chunks that divide the reference's bring every sample at least as early.
    assert all(mine <= theirs for (mine, _), (theirs, _) in zip(heard.events, expected, strict=True))


@pytest.mark.parametrize("chunk_ms", [60, 600])
def test_funasr_pairs(
    published_server: RunningServer, reference: Path, live_cases: list[dict[str, Any]], chunk_ms: int
) -> None:
    (case,) = [c for c in live_cases if (c["audio"], c["chunk_ms"]) == ("vad_example.wav", chunk_ms)]
    chunks = cut(pcm(reference, "vad_example.wav"), chunk_ms * _BYTES_PER_MS)
    heard = converse(published_server, [*chunks, '{"is_speaking": false}'], protocol="funasr")
    *answers, last = heard.messages
    assert [pair for answer in answers for pair in answer] == [pair for _, pair in events(case)]
    assert last["is_final"] is True
    assert heard.code == 1000
