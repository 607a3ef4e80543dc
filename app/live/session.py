"""One live stream without its socket: chunks and wishes in, messages out. Used from one event loop.

A session is asked for work (`take`), which somebody scores, together with other sessions' work, and brings back
(`give`). Between the two it may receive more; at most one piece of its work is under way. Messages wait in `outbox`
until whoever holds the socket fetches them, and the last of them are kept for a client that comes back.

What a session holds is bounded: chunks that wait by `buffer_s` and `INBOX_LIMIT` (`is_full` then, and its client has to
wait), messages that wait by `OUTBOX_LIMIT`. Only the list of segments grows, by some hundred bytes for each.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from app.live.arrival import Arrivals
from app.live.curve import ProbabilityCurve
from app.live.messages import PROTOCOLS, Json, encode
from app.live.parameters import StreamParameters
from app.live.pcm import PcmReader
from app.vad.blocks import BankedState, Block, BlockScorer
from app.vad.errors import InvalidOption
from app.vad.posteriors import FloatArray, FrameScores
from app.vad.segment import Event, Segment, SpeechStart
from app.vad.segmenters.options import VadOptions
from app.vad.stream import VadStream

Wish = Literal["flush", "reset", "end"]

INBOX_LIMIT = 1_000
OUTBOX_LIMIT = 1_000
HISTORY = 256
_TAKE_S = 1.0
"""Audio taken at a time: a client that is far behind does not hold up the others."""


@dataclass(slots=True)
class Work:
    """A block to be scored, and what follows it."""

    block: Block
    wish: Wish | None
    received: list[float]
    """time.perf_counter() at the receipt of each chunk in it."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The stream ends: a WebSocket close code and a reason."""

    code: int
    reason: str


@dataclass(slots=True)
class Owner:
    """Whose session it is."""

    token: str
    client: str
    """Who may come back to it."""
    since: float = field(default_factory=time.monotonic)


class LiveSession:
    """One stream's state."""

    def __init__(
        self,
        owner: Owner,
        parameters: StreamParameters,
        options: VadOptions,
        scorer: BlockScorer,
        state: BankedState | None,
        *,
        buffer_s: float,
    ) -> None:
        grid = scorer.grid
        self.owner, self.parameters, self.options, self.state = owner, parameters, options, state
        self.busy = False
        self.seen = time.monotonic()
        """When its client last sent something."""
        self.closing: Closing | None = None
        self.outbox: deque[str] = deque()
        self.on_output: Callable[[], None] = lambda: None
        self.on_room: Callable[[], None] = lambda: None
        self._say = PROTOCOLS[parameters.protocol]
        self._stream = VadStream(scorer, options, state=state)
        self._grid, self._buffer_s = grid, buffer_s
        self._curve = ProbabilityCurve(parameters.probability_interval_ms, grid.frame_ms)
        self._frame_ms = grid.frame_ms
        self._inbox: deque[tuple[float, bytes] | Wish] = deque()
        self._waiting_bytes = 0
        self._fed_bytes = 0
        self._received: list[float] = []
        self._base_ms = 0
        self._scored_frames = 0
        self._start_ms = 0
        self._segments: list[Segment] = []
        self._history: deque[str] = deque(maxlen=HISTORY)
        self._seq = 0
        self._chunks = 0
        self._expect(parameters)

    def _expect(self, parameters: StreamParameters) -> None:
        self.parameters = parameters
        self._pcm = PcmReader(parameters.encoding, parameters.sample_rate, self._grid.sample_rate)
        self._arrivals = Arrivals(self._grid, parameters.sample_rate)
        bytes_per_s = parameters.sample_rate * parameters.bytes_per_sample
        self._full_bytes, self._take_bytes = int(self._buffer_s * bytes_per_s), int(_TAKE_S * bytes_per_s)

    # ---- from the client

    def use_sample_rate(self, hertz: object) -> None:
        """Another rate than the handshake's, told before the first chunk. Raises `InvalidOption`."""
        if hertz == self.parameters.sample_rate:
            return
        if self._chunks:
            raise InvalidOption("sample_rate", "cannot change once chunks have come")
        given = {**self.parameters.model_dump(exclude_none=True), "sample_rate": hertz}
        self._expect(StreamParameters.parse(given)[0])

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may."""
        return self._waiting_bytes >= self._full_bytes or len(self._inbox) >= INBOX_LIMIT

    @property
    def has_work(self) -> bool:
        """Whether `take` has something to do."""
        return bool(self._inbox) and self.closing is None

    @property
    def received_ms(self) -> int:
        """Audio received, those chunks included that wait."""
        return self.received_samples * 1000 // self.parameters.sample_rate

    @property
    def received_samples(self) -> int:
        """Audio received in samples of the client's, those included that wait."""
        return self._fed_bytes // self.parameters.bytes_per_sample

    def feed(self, chunk: bytes) -> None:
        """A chunk of PCM, of any length."""
        self._chunks += 1
        chunk = self._pcm.align(chunk)
        self._fed_bytes += len(chunk)
        self._waiting_bytes += len(chunk)
        self._inbox.append((time.perf_counter(), chunk))

    def wish(self, wish: Wish) -> None:
        """`flush`: end the utterance and go on. `reset`: forget everything, time 0. `end`: the last chunk has come."""
        if wish == "reset":
            self._pcm.drop_rest()
            self._fed_bytes = 0
        self._inbox.append(wish)

    # ---- to be scored

    def take(self) -> Work | None:
        """The next block. Raises `InvalidAudio`."""
        while self._inbox:
            head = self._inbox[0]
            if isinstance(head, tuple):
                block, wish = self._stream.cut(self._read_chunks()), None
            else:
                self._inbox.popleft()
                if not self.is_full:
                    self.on_room()
                if head == "reset":
                    self._reset()
                    continue
                wish = head
                block = self._stream.cut(self._pcm.flush(), final=True)
            if block is not None:
                received, self._received = self._received, []
                return Work(block, wish, received)
        return None

    def give(self, work: Work, scores: FrameScores) -> None:
        """What scoring a block has brought."""
        final = work.wish is not None
        if self.parameters.probabilities:
            self._tell_probabilities(scores, final=final)
        self._scored_frames += len(scores)
        for event in self._stream.segment(scores, final=final):
            self._tell(event, final=final)
        self._arrivals.scored(self._scored_frames * self._frame_ms)
        if work.wish == "flush":
            self._emit(self._say.flushed(self._arrivals.received_ms))
            self._begin_utterance(self._arrivals.received_ms)
        elif work.wish == "end":
            self._end()

    # ---- to the client

    def say(self, message: Json) -> None:
        """A message outside the stream's own, which is not kept."""
        if message is not None:
            self._post(encode(message))

    def fail(self, code: str, detail: str, close_code: int) -> None:
        """Say what is wrong and end the stream."""
        if self.closing is None:
            self.closing = Closing(close_code, code)
            self.say({"type": "error", "code": code, "detail": detail})

    @property
    def last_seq(self) -> int:
        """Number of the newest message."""
        return self._seq

    def replay(self, after: int | None) -> bool:
        """Say again what a client that comes back has missed: the messages after number `after`, or, without one,
        those that were never handed to its socket. False when they are no longer kept."""
        self._pcm.drop_rest()
        if after is not None:
            missed = max(0, self._seq - after)
            if missed > len(self._history):
                return False
            self.outbox = deque(list(self._history)[len(self._history) - missed :])
        return True

    def _read_chunks(self) -> FloatArray:
        """Samples of the chunks at the head of the inbox, up to a second of audio."""
        taken: list[FloatArray] = []
        bytes_taken = 0
        while self._inbox and bytes_taken < self._take_bytes:
            head = self._inbox[0]
            if not isinstance(head, tuple):
                break
            self._inbox.popleft()
            received, chunk = head
            bytes_taken += len(chunk)
            self._waiting_bytes -= len(chunk)
            samples = self._pcm.read(chunk)
            self._arrivals.add(self._pcm.source_samples, len(samples))
            self._received.append(received)
            taken.append(samples)
        if not self.is_full:
            self.on_room()
        return taken[0] if len(taken) == 1 else np.concatenate(taken)

    def _tell(self, event: Event, *, final: bool) -> None:
        at_ms = self._arrivals.received_ms if final else self._arrivals.known_at_ms(event.at_ms)
        if isinstance(event, SpeechStart):
            self._emit(self._say.start(self._base_ms + event.start_ms, at_ms))
            return
        segment = event.segment
        moved = replace(segment, start_ms=self._base_ms + segment.start_ms, end_ms=self._base_ms + segment.end_ms)
        self._segments.append(moved)
        self._emit(self._say.end(moved, at_ms))

    def _tell_probabilities(self, scores: FrameScores, *, final: bool) -> None:
        values = self._curve.accept(scores.silence, final=final)
        if values:
            start_ms = self._base_ms + self._curve.next_ms
            self._curve.next_ms += len(values) * self._curve.interval_ms
            self._emit(self._say.probability(start_ms, self._curve.interval_ms, values))

    def _emit(self, message: Json) -> None:
        if message is None:
            return
        self._seq += 1
        if isinstance(message, dict):
            message["seq"] = self._seq
        text = encode(message)
        self._history.append(text)
        self._post(text)

    def _post(self, text: str) -> None:
        self.outbox.append(text)
        if len(self.outbox) > OUTBOX_LIMIT and self.closing is None:
            self.closing = Closing(1008, "slow_reader")
        self.on_output()

    def _reset(self) -> None:
        self._pcm.flush()
        self._pcm.source_samples = self._arrivals.source_samples = 0
        self._segments.clear()
        self._begin_utterance(0)
        self._emit(self._say.reset())

    def _begin_utterance(self, base_ms: int) -> None:
        self._stream.reset()
        self._arrivals.restart()
        self._curve.restart()
        self._base_ms = base_ms
        self._scored_frames = 0

    def _end(self) -> None:
        counters = {"duration_ms": self._arrivals.received_ms, "chunks": self._chunks}
        self._emit(self._say.done(self._segments, counters))
        self.closing = Closing(1000, "done")
