"""One live stream as a protocol object: chunks and commands in, blocks to be scored and messages out.

No socket, no clock, no callbacks, no threads. Whoever holds it

- hands it what the client sends (`receive_audio`, `receive_command`),
- asks for work (`next_block`), has it scored, and brings back what scoring gave (`commit`), of which at most one piece
  is under way while more may be received,
- and fetches messages (`next_message`, `message_sent`) until it has `ended` and there are none left.

What a session holds is bounded: chunks that wait by `buffer_s` and `INBOX_LIMIT` (`is_full` then, and its client has to
wait), messages that wait by `OUTBOX_LIMIT`. Only the list of segments grows, by some hundred bytes for each. The last
messages are kept for a client that comes back.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from app.audio.channel import parse_channel
from app.audio.signal import Bandwidth, Levels
from app.audio.sniff import container_for_certain
from app.formats.report import ChannelSegments, forced_cuts
from app.live.arrival import Arrivals
from app.live.curve import ProbabilityCurve
from app.live.messages import PROTOCOLS, Json, encode
from app.live.parameters import StreamParameters
from app.live.pcm import PcmReader
from app.vad.blocks import Block, Scored
from app.vad.errors import InvalidOption, UnsupportedAudio
from app.vad.grid import Grid
from app.vad.posteriors import FloatArray, Posteriors
from app.vad.segment import Event, Segment, SpeechStart
from app.vad.segmenters.registry import Segmentation
from app.vad.stream import Stream
from app.warnings import AnswerWarning

Command = Literal["flush", "reset", "end"]

INBOX_LIMIT = 1_000
"""Chunks and commands. At 100 ms a chunk `buffer_s` is reached long before: this bounds clients that send crumbs."""
OUTBOX_LIMIT = 1_000
"""Messages that nobody fetches: minutes of events, after which the client is taken for gone."""
HISTORY = 256
"""Messages kept for a client that comes back: with probabilities, ten a second, as long as a session waits for it."""
_TAKE_S = 5.0
"""Audio in a block at most: some 5 ms of a core, so that a client that is far behind hardly holds up the others."""
_BACKLOG_S = 1.0
"""Audio that waits, of a client that sends faster than it is scored or catches up."""
DONE = "done"


@dataclass(slots=True)
class PendingBlock:
    """Blocks to be scored, one of each of the model's members, and what follows them."""

    blocks: list[Block[Any] | None]
    command: Command | None
    received: list[float]
    """The receiver's clock at each chunk in it."""


class LiveSession:
    """One stream's state."""

    def __init__(
        self,
        parameters: StreamParameters,
        segmentation: Segmentation,
        stream: Stream,
        grid: Grid,
        *,
        buffer_s: float,
        warnings: Sequence[AnswerWarning] = (),
    ) -> None:
        """`warnings`: what is to be told of how the stream was opened."""
        self.segmentation, self.stream = segmentation, stream
        self.ended: str | None = None
        """Why the stream is over: `done`, or an error's code. Messages may still wait then."""
        self.degraded = False
        """Whether the CPU had to stand in for the device."""
        self._given_warnings, self._levels, self._bandwidth = tuple(warnings), Levels(), Bandwidth(grid.sample_rate)
        self._say = PROTOCOLS[parameters.protocol]
        self._grid, self._buffer_s = grid, buffer_s
        self._curve = ProbabilityCurve(parameters.probability_interval_ms, grid.frame_ms)
        self._inbox: deque[tuple[float, bytes] | Command] = deque()
        self._outbox: deque[str] = deque()
        self._waiting_bytes = 0
        self._fed_bytes = 0
        self._received: list[float] = []
        self._base_ms = 0
        self._scored_frames = 0
        self._segments: list[Segment] = []
        self._history: deque[str] = deque(maxlen=HISTORY)
        self._seq = 0
        self._chunks = 0
        self._expect(parameters)

    def _expect(self, parameters: StreamParameters) -> None:
        self.parameters = parameters
        self._pcm = PcmReader(parameters.form, parse_channel(parameters.channel), self._grid.sample_rate)
        self._arrivals = Arrivals(self._grid, parameters.sample_rate)
        bytes_per_s = parameters.sample_rate * parameters.bytes_per_sample
        self._full_bytes, self._take_bytes = int(self._buffer_s * bytes_per_s), int(_TAKE_S * bytes_per_s)
        self._backlog_bytes = int(_BACKLOG_S * bytes_per_s)

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
        """Whether `next_block` has something to do."""
        return bool(self._inbox) and self.ended is None

    @property
    def has_backlog(self) -> bool:
        """Whether so much waits that waiting for more, to score it together with others', gains nothing."""
        return self.has_work and (self.is_full or self._waiting_bytes >= self._backlog_bytes)

    @property
    def received_ms(self) -> int:
        """Audio received, those chunks included that wait."""
        return self.received_samples * 1000 // self.parameters.sample_rate

    @property
    def received_samples(self) -> int:
        """Audio received in samples of the client's, those included that wait."""
        return self._fed_bytes // self.parameters.bytes_per_sample

    def receive_audio(self, chunk: bytes, now: float) -> None:
        """A chunk of PCM, of any length; `now` comes back with the block that it is in."""
        self._chunks += 1
        if self._chunks == 1 and (container := container_for_certain(chunk)) is not None:
            self.fail(
                UnsupportedAudio.code,
                f"this is a {container} file, and a stream takes bare samples ({self.parameters.encoding} here): "
                "decode it, or send the whole file to POST /vad",
            )
            return
        chunk = self._pcm.align(chunk)
        self._fed_bytes += len(chunk)
        self._waiting_bytes += len(chunk)
        self._inbox.append((now, chunk))

    def receive_command(self, command: Command) -> None:
        """`flush`: end the utterance and go on. `reset`: forget everything, time 0. `end`: the last chunk has come."""
        if command == "reset":
            self._pcm.drop_rest()
            self._fed_bytes = 0
        self._inbox.append(command)

    # ---- to be scored

    def next_block(self) -> PendingBlock | None:
        """The next piece of work, or None when there is none yet. Raises `InvalidAudio`."""
        while self.has_work:
            head = self._inbox[0]
            if isinstance(head, tuple):
                blocks, command = self.stream.cut_blocks(self._read_chunks()), None
            else:
                self._inbox.popleft()
                if head == "reset":
                    self._reset()
                    continue
                command = head
                blocks = self.stream.cut_blocks(self._pcm.flush(), final=True)
            if any(block is not None for block in blocks):
                received, self._received = self._received, []
                return PendingBlock(blocks, command, received)
        return None

    def commit(self, pending: PendingBlock, found: Sequence[Scored[Any] | None]) -> None:
        """Take over what scoring the blocks gave."""
        final = pending.command is not None
        events = self.stream.commit_scores(found, final=final)
        heard = self.stream.heard
        if self.parameters.probabilities:
            self._tell_probabilities(heard, final=final)
        self._scored_frames += len(heard)
        for event in events:
            self._tell(event, final=final)
        self._arrivals.scored(self._scored_frames * self._grid.frame_ms)
        if pending.command == "flush":
            self._emit(self._say.flushed(self._arrivals.received_ms))
            self._begin_utterance(self._arrivals.received_ms)
        elif pending.command == "end":
            counters = {"duration_ms": self._arrivals.received_ms, "chunks": self._chunks}
            self._emit(self._say.done(self._segments, self.warnings, counters))
            self.ended = DONE

    @property
    def warnings(self) -> tuple[AnswerWarning, ...]:
        """What has been odd about the stream so far."""
        degraded = [AnswerWarning("degraded", "the CPU stood in for the device")] if self.degraded else []
        heard = (*self._levels.warnings(), *self._bandwidth.warnings())
        cut = forced_cuts([ChannelSegments(None, tuple(self._segments))])
        return (*self._given_warnings, *heard, *degraded, *cut)

    # ---- to the client

    def next_message(self) -> str | None:
        """The oldest message that has not been sent."""
        return self._outbox[0] if self._outbox else None

    def message_sent(self) -> None:
        """It has: what could not be sent is kept for a client that comes back."""
        self._outbox.popleft()

    def say(self, message: Json) -> None:
        """A message outside the stream's own, which is not kept."""
        if message is not None:
            self._post(encode(message))

    def fail(self, code: str, detail: str) -> None:
        """Say what is wrong and end the stream."""
        if self.ended is None:
            self.ended = code
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
            self._outbox = deque(list(self._history)[len(self._history) - missed :])
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
        whole = taken[0] if len(taken) == 1 else np.concatenate(taken)
        if len(whole):
            self._levels.add(whole, max(float(whole.max()), -float(whole.min())))
            self._bandwidth.add(whole)
        return whole

    def _tell(self, event: Event, *, final: bool) -> None:
        at_ms = self._arrivals.received_ms if final else self._arrivals.known_at_ms(event.at_ms)
        if isinstance(event, SpeechStart):
            self._emit(self._say.start(self._base_ms + event.start_ms, at_ms))
            return
        segment = event.segment
        moved = replace(segment, start_ms=self._base_ms + segment.start_ms, end_ms=self._base_ms + segment.end_ms)
        self._segments.append(moved)
        self._emit(self._say.end(moved, at_ms))

    def _tell_probabilities(self, posteriors: Posteriors, *, final: bool) -> None:
        values = self._curve.accept(posteriors.speech, final=final)
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
        self._outbox.append(text)
        if len(self._outbox) > OUTBOX_LIMIT and self.ended is None:
            self.ended = "slow_reader"

    def _reset(self) -> None:
        self._pcm.flush()
        self._pcm.source_samples = self._arrivals.source_samples = 0
        self._segments.clear()
        self._levels, self._bandwidth = Levels(), Bandwidth(self._grid.sample_rate)
        self._begin_utterance(0)
        self._emit(self._say.reset())

    def _begin_utterance(self, base_ms: int) -> None:
        self.stream.reset()
        self._arrivals.restart()
        self._curve.restart()
        self._base_ms = base_ms
        self._scored_frames = 0
