"""Segments to chunks for a recogniser: pieces of the audio of at most so many seconds, cut where nobody speaks.

Theory of operation. In come the segments of one channel, complete and in order, and the speech probability of every
frame; out come chunks, stretches [start, end) of the audio that hold the segments and the pauses between them.

1. A chunk begins with the first segment that is in no chunk yet. As long as what follows fits (`max_chunk_s`), nothing
   is cut. At the end of the audio the rest is a chunk.
2. Once a segment does not fit, the chunk ends at the longest of the pauses before that segment that leave it at least
   half full; of several that are equally long, at the last. Pauses are compared in steps of 200 ms, and a second is as
   good as more: to a recogniser they are, and fuller chunks are fewer. A pause in
   which no frame is quiet is the shortest there is.
3. Where no pause does, and the segment that does not fit is longer than a chunk may be at all, it is cut at its least
   speech-like frame between half full and full; both chunks then hold a part of it, and touch.
4. Else the chunk ends at the last pause there is, and is less than half full: a segment that fits into a chunk is never
   cut.

Padding (`chunk_pad_ms`) is taken from the pauses around a chunk, half of each at most, so that neighbours never
overlap, and counts within the longest duration, as it does for being half full.

A chunk is given out as soon as nothing that follows can change it. That needs, beside the segments, how far back the
segmenter may still reach (`final_ms`): a pause that is still growing may be cut before it ends.
Invariants: every moment of every segment is in exactly one chunk; chunks are in order; none is longer than
`max_chunk_s`; and they do not depend on how frames and segments were grouped into calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from app.vad.errors import InvalidOption
from app.vad.options import Options
from app.vad.posteriors import DoubleArray, FloatArray
from app.vad.segment import Segment

_PAUSE_STEP_MS, _LONG_PAUSE_MS = 200, 1_000
"""How pauses are compared. On an hour of read and spontaneous speech exact lengths give 1.22 times as many chunks of
30 s as filling each up does, these 1.13, and no cut that is any louder."""
_QUIET = 0.3
"""Speech probability below which a frame is quiet. Between segments nearly all frames are; where none is, somebody
whispers or breathes there, and another pause is the better place."""
_LEAST_ROOM = 4
"""Both pads together may take half of a chunk: each a quarter."""


class ChunkOptions(Options):
    """How segments are packed into chunks; they change no segment."""

    max_chunk_s: float | None = Field(
        None,
        ge=1,
        le=600,
        allow_inf_nan=False,
        description="Packs the segments into chunks of at most this length, for a recogniser. Cuts at the longest "
        "pause that leaves a chunk at least half full. Not set: no chunks.",
        json_schema_extra={"unit": "s"},
    )
    chunk_pad_ms: int = Field(
        0,
        ge=0,
        le=2_000,
        description="Added on both sides of a chunk. Stops at the neighbouring chunk and at `max_chunk_s`. At most a "
        "quarter of `max_chunk_s`.",
        json_schema_extra={"unit": "ms"},
    )

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.max_chunk_s is not None and self.chunk_pad_ms * _LEAST_ROOM > self.max_chunk_s * 1000:
            raise InvalidOption("chunk_pad_ms", f"must be at most a quarter of max_chunk_s ({self.max_chunk_s:g} s)")
        return self

    @property
    def limit_ms(self) -> int | None:
        """Longest chunk, ms; None: no chunks are made."""
        # Rounded first: 1.1 s are 1,100.0000000000002 ms.
        return None if self.max_chunk_s is None else int(round(self.max_chunk_s * 1000, 6))

    def document(self) -> dict[str, Any]:
        """For answers: the options in force; empty where no chunks are made."""
        return {} if self.max_chunk_s is None else self.model_dump(mode="json")


NO_CHUNKS = ChunkOptions()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of audio, [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    segments: tuple[int, ...]
    """Indices of the segments that are in it, wholly or in part, among those of the channel, from 0."""

    @property
    def duration_ms(self) -> int:
        """Length of the chunk in milliseconds."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class _Piece:
    """A segment, or what a cut has left of it."""

    start_ms: int
    end_ms: int
    place: int


class Chunker:
    """Packs the segments of one channel into chunks, as they are found."""

    def __init__(self, limit_ms: int, pad_ms: int, frame_ms: int) -> None:
        """`frame_ms`: distance of the frames whose probabilities will come."""
        self._limit_ms, self._pad_ms, self._frame_ms = limit_ms, pad_ms, frame_ms
        self._pieces: list[_Piece] = []
        """Those that are in no chunk yet."""
        self._count = 0
        """Segments so far."""
        self._before_ms: int | None = None
        """Where the speech before the next chunk ended; None before the first one."""
        self._at_cut = False
        """Whether the next chunk begins inside a segment."""
        self._speech: FloatArray = np.zeros(0, dtype=np.float32)
        """Probabilities from frame `_speech_from` on."""
        self._speech_from = 0

    def accept(self, segments: Iterable[Segment], speech: DoubleArray, final_ms: int) -> list[Chunk]:
        """Chunks that the next segments and frames decide.

        `segments`: complete; `speech`: speech probabilities of the frames, [frames], at least up to the segments' ends;
        `final_ms`: no later segment begins before this.
        """
        self._speech = np.concatenate((self._speech, speech.astype(np.float32)))
        for segment in segments:
            self._pieces.append(_Piece(segment.start_ms, segment.end_ms, self._count))
            self._count += 1
        chunks = []
        while (chunk := self._next(final_ms)) is not None:
            chunks.append(chunk)
        self._forget(final_ms)
        return chunks

    def finish(self, duration_ms: int) -> list[Chunk]:
        """The last chunks, once nothing follows. `duration_ms`: of the audio."""
        chunks = []
        while self._pieces:
            start_ms = self._start_ms()
            beyond = self._first_beyond(start_ms)
            if beyond is not None:
                chunks.append(self._cut(start_ms, beyond))
                continue
            end_ms = self._pieces[-1].end_ms
            room = min(self._pad_ms, start_ms + self._limit_ms - end_ms, duration_ms - end_ms)
            chunks.append(self._close(start_ms, len(self._pieces) - 1, max(0, room)))
        return chunks

    def _next(self, final_ms: int) -> Chunk | None:
        if not self._pieces:
            return None
        start_ms = self._start_ms()
        beyond = self._first_beyond(start_ms)
        if beyond is not None:
            return self._cut(start_ms, beyond)
        # All pieces fit. Whatever is to come does not, once it cannot begin before the chunk would be full.
        last = len(self._pieces) - 1
        pause_ms = final_ms - self._pieces[last].end_ms
        if final_ms < start_ms + self._limit_ms or pause_ms < 2 * self._pad_ms:
            return None
        pad_ms = self._right_pad(start_ms, last, pause_ms)
        longer_than = self._rank(self._pieces[last].end_ms, final_ms)
        if self._half_full(start_ms, last, pad_ms) and self._longest_pause(start_ms, last, longer_than) is not None:
            return None  # a pause before it is longer, so far
        return self._close(start_ms, last, pad_ms)

    def _start_ms(self) -> int:
        """Where the chunk that begins with the first piece begins."""
        first = self._pieces[0]
        if self._at_cut:
            return first.start_ms
        # Before the first speech no previous chunk shares the pause.
        most = first.start_ms if self._before_ms is None else (first.start_ms - self._before_ms) // 2
        length = first.end_ms - first.start_ms
        # A segment that just fits without padding goes without.
        room = (self._limit_ms - length) // 2 if length <= self._limit_ms else self._pad_ms
        return first.start_ms - max(0, min(self._pad_ms, most, room))

    def _first_beyond(self, start_ms: int) -> int | None:
        """Index of the first piece that does not fit."""
        full_ms = start_ms + self._limit_ms
        return next((place for place, piece in enumerate(self._pieces) if piece.end_ms > full_ms), None)

    def _cut(self, start_ms: int, beyond: int) -> Chunk:
        """End the chunk before, or in, a piece that does not fit."""
        place = self._longest_pause(start_ms, beyond)
        piece = self._pieces[beyond]
        too_long = piece.end_ms - piece.start_ms > self._limit_ms
        if place is None and too_long and piece.start_ms < start_ms + self._limit_ms:
            return self._cut_inside(start_ms, beyond)
        if place is None:
            place = beyond - 1
        return self._close(start_ms, place, self._right_pad(start_ms, place, self._pause_ms(place)))

    def _longest_pause(self, start_ms: int, stop: int, longer_than: int = -1) -> int | None:
        """Index of the piece before `stop` that the longest pause follows, of those that leave the chunk half full;
        None when no pause ranks above `longer_than`."""
        pauses = [
            (self._rank(self._pieces[place].end_ms, self._pieces[place + 1].start_ms), place)
            for place in range(stop)
            if self._half_full(start_ms, place, self._right_pad(start_ms, place, self._pause_ms(place)))
        ]
        longest, place = max(pauses, default=(-1, -1))
        return place if longest > longer_than else None

    def _rank(self, from_ms: int, to_ms: int) -> int:
        """Rank of a pause: the higher, the better a place to cut. Of a pause that still goes on, the least that it will
        have."""
        first = from_ms // self._frame_ms - self._speech_from
        within = self._speech[max(0, first) : max(first + 1, to_ms // self._frame_ms - self._speech_from)]
        if len(within) == 0 or within.min() >= _QUIET:
            return 0
        return min(to_ms - from_ms, _LONG_PAUSE_MS) // _PAUSE_STEP_MS

    def _pause_ms(self, place: int) -> int:
        return max(0, self._pieces[place + 1].start_ms - self._pieces[place].end_ms)

    def _right_pad(self, start_ms: int, place: int, pause_ms: int) -> int:
        return min(self._pad_ms, pause_ms // 2, start_ms + self._limit_ms - self._pieces[place].end_ms)

    def _half_full(self, start_ms: int, place: int, pad_ms: int) -> bool:
        return 2 * (self._pieces[place].end_ms + pad_ms - start_ms) >= self._limit_ms

    def _close(self, start_ms: int, place: int, pad_ms: int) -> Chunk:
        """End the chunk after a piece."""
        inside, self._pieces = self._pieces[: place + 1], self._pieces[place + 1 :]
        self._before_ms, self._at_cut = inside[-1].end_ms, False
        return Chunk(start_ms, inside[-1].end_ms + pad_ms, tuple(piece.place for piece in inside))

    def _cut_inside(self, start_ms: int, beyond: int) -> Chunk:
        """End the chunk at the least speech-like frame of a piece that is longer than any chunk may be."""
        piece, full_ms = self._pieces[beyond], start_ms + self._limit_ms
        cut_ms = self._least_speech_ms(max(full_ms - self._limit_ms // 2, piece.start_ms + 1), full_ms)
        places = tuple(each.place for each in self._pieces[: beyond + 1])
        self._pieces = [_Piece(cut_ms, piece.end_ms, piece.place), *self._pieces[beyond + 1 :]]
        self._before_ms, self._at_cut = cut_ms, True
        return Chunk(start_ms, cut_ms, places)

    def _least_speech_ms(self, from_ms: int, to_ms: int) -> int:
        """Middle of the frame in [from_ms, to_ms] with the lowest probability, the last one of several; `to_ms` where
        no frame has its middle there."""
        frame_ms = self._frame_ms
        middle = frame_ms // 2
        first, stop = -(-(from_ms - middle) // frame_ms), (to_ms - middle) // frame_ms + 1
        near = self._speech[max(0, first - self._speech_from) : max(0, stop - self._speech_from)]
        if len(near) == 0:
            return to_ms
        lowest = len(near) - 1 - int(np.argmin(near[::-1]))
        return (max(first, self._speech_from) + lowest) * frame_ms + middle

    def _forget(self, final_ms: int) -> None:
        """Drop probabilities before anything that may still be cut."""
        oldest_ms = self._pieces[0].start_ms if self._pieces else max(final_ms, self._before_ms or 0)
        drop = min(oldest_ms // self._frame_ms - self._speech_from, len(self._speech))
        if drop > 0:
            self._speech = self._speech[drop:].copy()
            self._speech_from += drop


def new_chunker(options: ChunkOptions, frame_ms: int) -> Chunker | None:
    """For one channel; None where no chunks are asked for."""
    return None if options.limit_ms is None else Chunker(options.limit_ms, options.chunk_pad_ms, frame_ms)
