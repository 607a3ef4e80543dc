"""One live stream as a protocol object: chunks and commands in, blocks to be scored and messages out.

No socket, no clock, no callbacks, no threads. Whoever holds it

- hands it what the client sends (`receive_audio`, `receive_command`, `receive_options`, `receive_clear`),
- asks for work (`next_block`), has it scored, and brings back what scoring gave (`commit`), of which at most one piece
  is under way while more may be received,
- and fetches messages (`next_message`, `message_sent`) until it has `ended` and there are none left.

What a session holds is bounded: what has been received by `app.live.inbox` (`is_full` then, and its client has to
wait), messages by `app.live.outbox`, samples for a client that wants them back by `app.live.recording`. Only the list
of segments grows, by some hundred bytes for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from app.audio.channel import parse_channel
from app.audio.containers import container_for_certain
from app.audio.signal import Bandwidth, Levels
from app.formats.report import ChannelSegments, forced_cuts
from app.live.arrival import Arrivals
from app.live.curve import ProbabilityCurve
from app.live.hints import Hint, Hints
from app.live.inbox import Change, Drop, Ending, Inbox
from app.live.messages import PROTOCOLS, Json, Messages, Protocols
from app.live.options import ClientOptions, Resolve
from app.live.outbox import Outbox
from app.live.parameters import CONTAINERS, StreamParameters
from app.live.pcm import PcmReader
from app.live.recording import Recording
from app.vad.blocks import Block, Scored
from app.vad.errors import InvalidOption, UnsupportedAudio
from app.vad.grid import Grid
from app.vad.posteriors import FloatArray, Posteriors
from app.vad.segment import Event, Segment, SpeechStart
from app.vad.segmenters.registry import Segmentation
from app.vad.stream import Stream
from app.warnings import AnswerWarning

Command = Literal["flush", "reset", "end"]
DONE = "done"


@dataclass(slots=True)
class PendingBlock:
    """Blocks to be scored, one of each of the model's members, and what follows them."""

    blocks: list[Block[Any] | None]
    command: Ending | None
    received: list[float]
    """The receiver's clock at each chunk in it."""


class LiveSession:
    """The state of one stream, from its first sample to its last event."""

    def __init__(
        self,
        parameters: StreamParameters,
        segmentation: Segmentation,
        stream: Stream,
        grid: Grid,
        *,
        buffer_s: float,
        warnings: Sequence[AnswerWarning] = (),
        asked: Mapping[str, Any] | None = None,
        resolve: Resolve | None = None,
        say: Protocols | None = None,
    ) -> None:
        """`warnings`: what is to be told of how the stream was opened. `asked`: the options that the client set, from
        which `resolve` made the segmentation; without it options cannot change. `say`: how events are told; without it
        as the parameters have it."""
        self.segmentation, self.stream, self.parameters = segmentation, stream, parameters
        self.ended: str | None = None
        """Why the stream is over: `done`, or an error's code. Messages may still wait then."""
        self.degraded = False
        """Whether the CPU had to stand in for the device."""
        self._given_warnings, self._levels, self._bandwidth = tuple(warnings), Levels(), Bandwidth(grid.sample_rate)
        self._say = say or PROTOCOLS[parameters.protocol]
        self._options = ClientOptions(asked or {}, resolve, grid)
        self._grid = grid
        self._curve = ProbabilityCurve(parameters.probability_interval_ms, grid.frame_ms)
        self._hints = Hints(parameters.confirm_ms, parameters.maybe_end_ms, grid.frame_ms) if parameters.hints else None
        self._recording = Recording(grid.sample_rate) if parameters.audio else None
        self._inbox, self._outbox = Inbox(buffer_s), Outbox(keeps=self.resumable)
        self._fed_bytes = 0
        self._received: list[float] = []
        self._base_ms = 0
        self._scored_frames = 0
        self._segments: list[Segment] = []
        self._chunks = 0
        self._expect(parameters)

    def _expect(self, parameters: StreamParameters) -> None:
        self.parameters = parameters
        self._pcm = PcmReader(parameters.form, parse_channel(parameters.channel), self._grid.sample_rate)
        self._arrivals = Arrivals(self._grid, parameters.sample_rate)
        self._inbox.use_rate(parameters.sample_rate * parameters.bytes_per_sample)

    # ---- from the client

    def use_form(self, **form: object) -> None:
        """Another `sample_rate`, `encoding` or number of `channels` than the handshake's, told before the first chunk.
        Raises `InvalidOption`."""
        before = self.parameters.model_dump(exclude_none=True)
        changed = {name: value for name, value in form.items() if before.get(name) != value}
        if not changed:
            return
        if self._chunks:
            raise InvalidOption(next(iter(changed)), "cannot change once chunks have come")
        self._expect(StreamParameters.parse({**before, **changed})[0])

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may."""
        return self._inbox.is_full

    @property
    def has_work(self) -> bool:
        """Whether `next_block` has something to do."""
        return len(self._inbox) > 0 and self.ended is None

    @property
    def has_backlog(self) -> bool:
        """Whether so much waits that waiting for more, to score it together with others', gains nothing."""
        return self.has_work and self._inbox.has_backlog

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
        if self._chunks == 1 and self._is_file(chunk):
            return
        chunk = self._pcm.align(chunk)
        self._fed_bytes += len(chunk)
        self._inbox.put_chunk(now, chunk)

    def receive_command(self, command: Command) -> None:
        """`flush`: end the utterance and go on. `reset`: forget everything, time 0. `end`: the last chunk has come."""
        if command == "reset":
            self._pcm.drop_rest()
            self._fed_bytes = 0
            self._inbox.put(Drop(starts_over=True))
        else:
            self._inbox.put(command)

    def receive_clear(self) -> None:
        """Drop the utterance under way without a word, and go on; time goes on, too."""
        self._pcm.drop_rest()
        self._inbox.put(Drop(starts_over=False))

    def receive_options(self, given: Mapping[str, Any], note: Any = None) -> None:
        """Set options, None setting one back to its default, for every frame that is scored after the chunks that came
        before. `note`: handed to the protocol when they come into force. Raises `InvalidOption`; nothing has changed
        then."""
        self._inbox.put(Change(self._options.changed(given, self.segmentation), note))

    @property
    def resumable(self) -> bool:
        """Whether a client that loses its connection may come back to this session."""
        return self._say.numbered and self.parameters.container is None

    # ---- to be scored

    def next_block(self) -> PendingBlock | None:
        """The next piece of work, or None when there is none yet. Raises `InvalidAudio`."""
        while self.has_work:
            command: Ending | None = None
            if self._inbox.next_is_chunk():
                blocks = self.stream.cut_blocks(self._read_chunks())
            else:
                item = self._inbox.take()
                if isinstance(item, Change):
                    self._change(item)
                    continue
                if isinstance(item, Drop):
                    self._drop_utterance(starts_over=item.starts_over)
                    continue
                command, blocks = item, self.stream.cut_blocks(self._pcm.flush(), final=True)
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
        hinted = events if self._hints is None else self._hints.accept(heard.speech, events, self.segmentation.options)
        for event in hinted:
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
        return self._outbox.next_message()

    def message_sent(self) -> None:
        """It has: what could not be sent is kept for a client that comes back."""
        self._outbox.message_sent()

    def say(self, message: Json) -> None:
        """A message outside the stream's own, which is not kept."""
        self._outbox.say(message)
        self._notice_slow_reader()

    def fail(self, code: str, detail: str) -> None:
        """Say what is wrong and end the stream."""
        if self.ended is None:
            self.ended = code
            for message in self._say.error(code, detail):
                self.say(message)

    @property
    def last_seq(self) -> int:
        """Number of the newest message."""
        return self._outbox.last_seq

    def replay(self, after: int | None) -> bool:
        """Say again what a client that comes back has missed: the messages after number `after`, or, without one,
        those that were never handed to its socket. False when they are no longer kept."""
        self._pcm.drop_rest()
        return self._outbox.replay(after)

    def _read_chunks(self) -> FloatArray:
        """Samples of the chunks at the head of the inbox."""
        taken: list[FloatArray] = []
        for received, chunk in self._inbox.take_chunks():
            samples = self._pcm.read(chunk)
            self._arrivals.add(self._pcm.source_samples, len(samples))
            self._received.append(received)
            taken.append(samples)
        whole = taken[0] if len(taken) == 1 else np.concatenate(taken)
        if self._recording is not None:
            self._recording.add(whole)
        if len(whole):
            self._levels.add(whole, max(float(whole.max()), -float(whole.min())))
            self._bandwidth.add(whole)
        return whole

    def _tell(self, event: Event | Hint, *, final: bool) -> None:
        at_ms = self._arrivals.received_ms if final else self._arrivals.known_at_ms(event.at_ms)
        base_ms, recording = self._base_ms, self._recording
        if isinstance(event, SpeechStart):
            if recording is not None:
                recording.open(event.start_ms)
            self._emit(self._say.start(base_ms + event.start_ms, at_ms))
        elif isinstance(event, Hint):
            self._emit(self._say.hint(event.moved(base_ms), at_ms))
        else:
            segment = event.segment
            audio = None if recording is None else recording.close(segment.start_ms, segment.end_ms)
            moved = replace(segment, start_ms=base_ms + segment.start_ms, end_ms=base_ms + segment.end_ms)
            self._segments.append(moved)
            self._emit(self._say.end(moved, at_ms, audio, asked_for=final))

    def _tell_probabilities(self, posteriors: Posteriors, *, final: bool) -> None:
        values = self._curve.accept(posteriors.speech, final=final)
        if values:
            start_ms = self._base_ms + self._curve.next_ms
            self._curve.next_ms += len(values) * self._curve.interval_ms
            self._emit(self._say.probability(start_ms, self._curve.interval_ms, values))

    def _emit(self, messages: Messages) -> None:
        for message in messages:
            self._outbox.emit(message, numbered=self._say.numbered)
        self._notice_slow_reader()

    def _notice_slow_reader(self) -> None:
        if self._outbox.overflows and self.ended is None:
            self.ended = "slow_reader"

    def _is_file(self, chunk: bytes) -> bool:
        """Whether a first chunk is a file's beginning and not samples; the stream ends then."""
        container = None if self.parameters.container else container_for_certain(chunk)
        if container is None:
            return False
        self.fail(
            UnsupportedAudio.code,
            f"this is a {container} file, and a stream takes bare samples ({self.parameters.encoding} here): "
            f"decode it, open the stream with encoding={' or '.join(CONTAINERS)} if it is that, or use POST /vad",
        )
        return True

    def _change(self, change: Change) -> None:
        self.segmentation = change.segmentation
        self.stream.use_options(change.segmentation.options)
        self._emit(self._say.options(change.segmentation.document(), self._arrivals.received_ms, change.note))

    def _drop_utterance(self, *, starts_over: bool) -> None:
        """What is under way is forgotten; `starts_over`: time and all that has been told as well."""
        self._pcm.flush()
        if starts_over:
            self._pcm.source_samples = self._arrivals.source_samples = 0
            self._segments.clear()
            self._levels, self._bandwidth = Levels(), Bandwidth(self._grid.sample_rate)
        at_ms = self._arrivals.received_ms
        self._begin_utterance(at_ms)
        self._emit(self._say.reset() if starts_over else self._say.cleared(at_ms))

    def _begin_utterance(self, base_ms: int) -> None:
        self.stream.reset()
        self._arrivals.restart()
        self._curve.restart()
        if self._hints is not None:
            self._hints.restart()
        if self._recording is not None:
            self._recording.restart()
        self._base_ms = base_ms
        self._scored_frames = 0
