"""That cutting speech out of a long file holds a block of it, whatever there is to cut; counted, not timed."""

import gc
import io
import weakref
import zipfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from app.formats.excerpts import Block, ExcerptOptions, SourceBlocks, stream_channel_wavs, stream_wav, stream_zip
from app.formats.report import Report
from tests.formats.reports import Times, report_of

RATE, LONG_MS, BLOCK_FRAMES = 8_000, 1_200_000, 1 << 16
ONE_LONG = [(0, LONG_MS)]
MANY_SHORT = [(start, start + 2_000) for start in range(0, LONG_MS, 5_000)]
Stream = Callable[[Report, SourceBlocks], Iterator[bytes]]
ZEROS = ExcerptOptions(silence="zero")
STREAMS: dict[str, Stream] = {
    "wav": lambda report, open_blocks: stream_wav(report, open_blocks()),
    "wav with silence": lambda report, open_blocks: stream_wav(report, open_blocks(), ZEROS),
    "wavs of channels": stream_channel_wavs,
    "zip": stream_zip,
}


class LongSource:
    """A source that is made as it is read, and knows which of its blocks are still held by anyone."""

    def __init__(self) -> None:
        self.passes = 0
        self.made = 0
        self._alive: weakref.WeakSet[_Tracked] = weakref.WeakSet()

    def open(self) -> Iterable[Block]:
        """A pass."""
        self.passes += 1
        total = LONG_MS * RATE // 1000
        for start in range(0, total, BLOCK_FRAMES):
            block = np.full((min(BLOCK_FRAMES, total - start), 1), 0.25, dtype=np.float32).view(_Tracked)
            self._alive.add(block)
            self.made += 1
            yield block
            del block

    @property
    def held(self) -> int:
        """Blocks alive."""
        return len(self._alive)


class _Tracked(np.ndarray):  # type: ignore[type-arg]
    """An array that hashes by identity, so that a weak set can hold it; its slices keep it alive as their base."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__  # type: ignore[assignment]


@pytest.mark.parametrize("times", [ONE_LONG, MANY_SHORT], ids=["one long", "many short"])
@pytest.mark.parametrize("name", STREAMS)
def test_one_block_and_one_piece_are_held(name: str, times: Times) -> None:
    source = LongSource()
    report = report_of(times, duration_ms=LONG_MS, rate=RATE)
    most_held = longest = total = 0
    for piece in STREAMS[name](report, source.open):
        most_held, longest, total = max(most_held, source.held), max(longest, len(piece)), total + len(piece)
        assert piece, "an empty piece ends an HTTP body"
    assert most_held <= 2, "the block that is being cut, and the one that is being made"
    if name == "wav with silence":
        assert total == 44 + LONG_MS * RATE // 1000 * 2
    assert longest <= BLOCK_FRAMES * 2 + 65_536, "a piece is at most a block of 16-bit samples, or the zip's directory"
    assert total > sum(end - start for start, end in times) * RATE // 1000 * 2
    assert source.passes == 1
    gc.collect()
    assert source.held == 0


@pytest.mark.parametrize("name", STREAMS)
def test_the_answer_begins_before_the_source_has_been_read(name: str) -> None:
    source = LongSource()
    pieces = STREAMS[name](report_of(ONE_LONG, duration_ms=LONG_MS, rate=RATE), source.open)
    received = b""
    while len(received) < 100_000:
        received += next(pieces)
    assert source.made == 1
    assert b"RIFF" in received


def test_a_zip_of_many_is_whole() -> None:
    data = io.BytesIO()
    for piece in stream_zip(report_of(MANY_SHORT, duration_ms=LONG_MS, rate=RATE), LongSource().open):
        data.write(piece)
    with zipfile.ZipFile(data) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(MANY_SHORT) + 1
        assert {info.file_size for info in archive.infolist()[:-1]} == {44 + 2 * 2 * RATE}
