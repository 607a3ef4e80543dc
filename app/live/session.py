"""One live stream as a protocol object: what a client sends goes in, blocks to be scored and messages come out.

Theory of operation. There is no socket here, no clock, no thread and no callback: the owner of a session calls it, and
a test can drive a whole stream in a loop.

    client -> receive_* -> inbox -> next_blocks -> (scored elsewhere) -> commit -> outbox -> next_message -> client

What goes in: chunks of samples of any length (`receive_audio`), and commands between them (`receive_command`,
`receive_clear`, `receive_options`). They wait in the inbox in the order in which they came, so a command applies to
exactly the samples that were sent before it.

What comes out: `next_blocks` reads the inbox up to the next command that ends an utterance, at most 5 s of audio, and
cuts it into a block for each of the model's members. It does so for many sessions at a time: what can be done to all of
their samples at once is. The owner scores the blocks, together with other streams', and hands the results to `commit`,
which lets the segmenter decide and puts what happened into the outbox, as messages of the client's protocol.
`next_message` and `message_sent` empty it.

State:

- `plan`: what the client asked for, with the segmenter's options that are in force now.
- `stream`: the model's and the segmenter's state of the utterance under way. `flush` and `reset` begin a new one.
- a recording: what comes up to `receive_recording_end`, in protocols that know it. The next one's time begins at 0, and
  its samples may have another form.
- `ended`: why the stream is over, or None. Once it is set nothing more is scored; messages may still wait.

Time: messages count ms of audio since the start, or since the last `reset`. The segmenter counts from the start of the
utterance, which is at `_utterance_ms`. The owner's clock (`now`) is only carried along, to measure the lag.

Invariants:

- Segments, and the times at which they are known, depend on the samples and on where the commands are between them, not
  on how the samples were cut into chunks or gathered into blocks, nor on how long scoring took.
- At most one `PendingBlock` is under way: `next_blocks` is called again only after `commit`. More may be received
  meanwhile.
- Both queues are bounded (`app.live.queues`), and so are the samples kept for a client that wants them back
  (`app.live.events`). Only the list of segments grows, by some hundred bytes for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from app.audio.containers import container_for_certain
from app.audio.options import Encoding
from app.audio.signal import Bandwidth, Levels
from app.formats.report import ChannelSegments, forced_cuts
from app.live.events import Arrivals, Hint, Hints, ProbabilityCurve, Recorded, Recording
from app.live.pcm import Decoded, PcmReader, decode_together
from app.live.queues import Change, Chunk, Drop, Final, Inbox, Json, Outbox, Reform
from app.request import STREAM_CONTAINERS, DetectionRequest, Plan
from app.vad.blocks import Block, Scored
from app.vad.errors import InvalidOption, UnsupportedAudio
from app.vad.posteriors import FloatArray, adjust
from app.vad.segment import Event, Segment, SpeechStart, clip
from app.vad.segmenters.registry import MODE
from app.warnings import AnswerWarning

Command = Literal["flush", "reset", "end"]
DONE = "done"
FIXED = (MODE, "merge_gap_ms", "pad_start_ms", "pad_end_ms")
"""Options that need another segmenter, or another chain of them: an open segment cannot move there."""

Messages = Sequence[Json]
NO_MESSAGES: Messages = ()
"""Where a protocol has no message."""


class ClientProtocol(Protocol):
    """How one protocol reads a client's frames, and which messages it sends for what happens in the stream.

    Times are ms since the start of the session or its last reset. `at_ms` is how much audio had come by then.
    """

    numbered: bool
    """Whether messages have a `seq`, by which a client that comes back says which ones it has."""
    usual_options: Mapping[str, Any]
    """The segmenter's options where the client sets none, in place of the model's defaults."""
    rest_s: float
    """How long a connection may say nothing between two recordings, before it is closed as one that has ended."""

    def greeting(self, session: "LiveSession", name: str) -> Json | None:
        """The first message of a connection, or None if the client sends first. `name`: of the session."""
        ...

    def receive_text(self, session: "LiveSession", text: str, now: float) -> None:
        """Carry out a text frame, or answer what is wrong with it."""
        ...

    def receive_bytes(self, session: "LiveSession", data: bytes, now: float) -> None:
        """As `receive_text`, for a binary frame."""
        ...

    def start(self, start_ms: int, at_ms: int) -> Messages: ...
    def hint(self, hint: Hint, at_ms: int) -> Messages: ...
    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages:
        """`asked_for`: the client has ended the utterance, rather than silence."""
        ...

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Messages: ...
    def options(self, options: Mapping[str, Any], at_ms: int, note: Any) -> Messages: ...
    def flushed(self, at_ms: int) -> Messages: ...
    def cleared(self, at_ms: int) -> Messages: ...
    def reset(self) -> Messages: ...
    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: Mapping[str, int]
    ) -> Messages: ...
    def error(self, code: str, detail: str) -> Messages: ...


@dataclass(slots=True)
class Piece:
    """What has been read of an inbox: some chunks, or a command that ends the utterance."""

    chunks: Sequence[Chunk]
    final: Final | None = None


@dataclass(slots=True)
class PendingBlock:
    """A stream's next piece of work for the scorers."""

    blocks: list[Block[Any] | None]
    """One for each of the model's members; None where the samples do not fill one yet."""
    final: Final | None
    """The command that ends the utterance behind these blocks."""
    received: list[float]
    """The owner's clock when each of its chunks came."""


class LiveSession:
    """The state of one stream, from its first sample to its last message."""

    def __init__(self, plan: Plan, protocol: ClientProtocol, *, buffer_s: float) -> None:
        """`buffer_s`: audio that may wait to be scored."""
        model, request = plan.chosen.model, plan.request
        self.plan, self.protocol = plan, protocol
        self.stream = model.new_stream(plan.segmentation)
        self.ended: str | None = None
        """Why the stream is over: `done`, or an error's code."""
        self.input_ended = False
        """Whether the client has said that nothing more comes."""
        self.degraded = False
        """Whether the CPU did the work instead of the device."""
        self.received_samples = 0
        """The client's samples since the start or the last reset, those that wait included."""
        self._grid = model.grid
        self._asked = dict(request.segmenter_options)
        self.form = plan.stream or request.stream_form()
        self._incoming = self._pcm = PcmReader(self.form.raw, plan.channel, self._grid.sample_rate)
        """What takes chunks in, and what is read to be scored: another one once the form has changed in between."""
        self._arrivals = Arrivals(self._grid, self.form.sample_rate)
        self._inbox = Inbox(buffer_s, self._bytes_per_s)
        self._outbox = Outbox(keeps=self.resumable)
        self._curve = None
        if request.probabilities:
            self._curve = ProbabilityCurve(request.probability_interval_ms, self._grid.frame_ms)
        self._hints = None
        if request.confirm_ms or request.maybe_end_ms:
            self._hints = Hints(request.confirm_ms, request.maybe_end_ms, self._grid.frame_ms)
        self._recording = Recording(self._grid.sample_rate) if request.audio else None
        self._told: list[AnswerWarning] = []
        """What a decoder in front of the session has found."""
        self._levels, self._bandwidth = Levels(), Bandwidth(self._grid.sample_rate)
        self._received: list[float] = []
        """The owner's clock at each chunk that is not in a block yet."""
        self._utterance_ms = 0
        self._scored_frames = 0
        """Of the utterance under way."""
        self._segments: list[Segment] = []
        self._chunks = 0
        """Of the recording that is coming."""
        self._told_all = False
        """Whether a recording has been scored and told to its end, and nothing of the next one has been scored."""
        self.past_warnings: dict[str, AnswerWarning] = {}
        """Of recordings before this one, by their codes."""

    @property
    def _bytes_per_s(self) -> int:
        return self.form.sample_rate * self._incoming.frame_bytes

    # ---- from the client

    def use_form(self, **form: object) -> None:
        """Change `encoding`, `sample_rate` or `channels` from what was said before, ahead of a recording's first chunk.
        Raises `InvalidOption`."""
        changed = self.plan.request.changed(**form)
        stream = changed.stream_form()
        if stream == self.form:
            return
        if self._chunks:
            raise InvalidOption(next(iter(form)), "cannot change after audio has arrived")
        self.plan = replace(self.plan, request=changed, stream=stream)
        self.form = stream
        self._incoming = PcmReader(stream.raw, self.plan.channel, self._grid.sample_rate)
        self._inbox.use_rate(self._bytes_per_s)
        self._inbox.put(Reform(self._incoming, stream.sample_rate))

    @property
    def is_new(self) -> bool:
        """Whether nothing of the recording has come yet."""
        return not self._chunks

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may: the client has to be held up."""
        return self._inbox.is_full

    @property
    def has_work(self) -> bool:
        """Whether anything waits for `next_blocks`."""
        return len(self._inbox) > 0 and self.ended is None

    @property
    def has_backlog(self) -> bool:
        """Whether so much waits that waiting for more, to score it together with others', gains nothing."""
        return self.has_work and self._inbox.has_backlog

    @property
    def received_ms(self) -> int:
        return self.received_samples * 1000 // self.form.sample_rate

    def receive_audio(self, data: bytes, now: float) -> None:
        """Queue PCM of any length; a sample may be split over two chunks. `now` comes back in the block it becomes."""
        self._chunks += 1
        if self._chunks == 1 and self._is_file(data):
            return
        data = self._incoming.align(data)
        self.received_samples += len(data) // self._incoming.frame_bytes
        self._inbox.put(Chunk(data, now))

    def receive_command(self, command: Command) -> None:
        """Queue a command.

        `flush` ends the utterance and the stream goes on. `reset` forgets everything, and time begins at 0 again. `end`
        says that nothing more comes: the stream ends behind what has. Where that is a container's bytes, the last of
        its samples is still to come, and `receive_last_sample` ends the stream.
        """
        if command == "reset":
            self._incoming.drop_rest()
            self.received_samples = 0
            self._inbox.put(Drop(starts_over=True))
        elif command == "end":
            self.input_ended = True
            if self.form.container is None:
                self._inbox.put("end")
        else:
            self._inbox.put("flush")

    def tell(self, warning: AnswerWarning) -> None:
        """Add a warning to those that the client gets in the end."""
        self._told.append(warning)

    def receive_recording_end(self) -> None:
        """Queue that a recording ends: everything is told of it, and what comes belongs to the next one."""
        self._incoming.drop_rest()
        self.received_samples = self._chunks = 0
        self._inbox.put("finish")

    @property
    def is_at_rest(self) -> bool:
        """Whether a recording has been told to its end, and the next one has not begun."""
        return self._told_all and self.is_new and not self.has_work and self.ended is None

    def end_at_rest(self) -> None:
        """End the stream between two recordings: there is nothing more to be told."""
        self.ended = DONE

    def receive_last_sample(self) -> None:
        """End the stream of a container, whose decoder has given out everything."""
        self._inbox.put("end")

    def receive_clear(self) -> None:
        """Queue that the utterance under way is dropped without its events. Time goes on."""
        self._incoming.drop_rest()
        self._inbox.put(Drop(starts_over=False))

    def receive_options(self, given: Mapping[str, Any], note: Any = None) -> None:
        """Queue other options of the segmenter: they hold for every frame that the samples so far do not complete.

        None sets an option back to its default. `note`: handed to the protocol when the options come into force. Raises
        `InvalidOption`, and then none of them is changed.
        """
        other = next((name for name in given if name in DetectionRequest.model_fields), None)
        if other is not None:
            raise InvalidOption(other, "was set when the stream was opened; open a new stream to change it")
        asked = {name: value for name, value in {**self._asked, **given}.items() if value is not None}
        segmentation = self.plan.with_segmenter_options({**self.protocol.usual_options, **asked}).segmentation
        after, before = segmentation.document(), self.plan.segmentation.document()
        fixed = next((name for name in FIXED if after.get(name) != before.get(name)), None)
        if fixed is not None:
            raise InvalidOption(fixed, "cannot change during a stream; open a new one")
        adjust(segmentation.new_segmenter(self._grid), segmentation.options)  # tried on one that is thrown away
        self._asked = asked
        self._inbox.put(Change(segmentation, note))

    def _is_file(self, data: bytes) -> bool:
        """Refuse a first chunk that is the beginning of a file and not samples: end the stream and return True."""
        container = None if self.form.container else container_for_certain(data)
        if container is None:
            return False
        self.fail(
            UnsupportedAudio.code,
            f"this is a {container} file, and a stream takes bare samples ({self.form.encoding} here): decode it, open "
            f"the stream with encoding={' or '.join(STREAM_CONTAINERS)} if it is that, or use POST /vad",
        )
        return True

    # ---- to be scored

    @property
    def encoding(self) -> Encoding:
        """Of the chunks that are read now."""
        return self._pcm.encoding

    def read_inbox(self) -> Piece | None:
        """Take what comes next, and carry out the commands before it; None when there is nothing yet."""
        while self.has_work:
            if self._inbox.next_is_chunk():
                self._told_all = False
                return Piece(self._inbox.take_chunks())
            item = self._inbox.take()
            if isinstance(item, Change):
                self.plan = replace(self.plan, segmentation=item.segmentation)
                self.stream.use_options(item.segmentation.options)
                options = item.segmentation.document()
                self._emit(self.protocol.options(options, self._arrivals.received_ms, item.note))
            elif isinstance(item, Drop):
                self._drop(starts_over=item.starts_over)
            elif isinstance(item, Reform):
                self._pcm, self._arrivals = item.reader, Arrivals(self._grid, item.sample_rate)
            else:
                return Piece((), item)
        return None

    def cut(self, piece: Piece, decoded: Sequence[Decoded]) -> PendingBlock | None:
        """The piece of work that is complete with `piece`, or None. `decoded`: its chunks. Raises `InvalidAudio`."""
        if piece.final is not None:
            blocks = self.stream.cut_blocks(self._pcm.flush(), final=True)
        else:
            blocks = self.stream.cut_blocks(self._read(piece.chunks, decoded))
        if not any(blocks):
            return None
        received, self._received = self._received, []
        return PendingBlock(blocks, piece.final, received)

    def commit(self, pending: PendingBlock, scored: Sequence[Scored[Any] | None]) -> None:
        """Let the segmenter decide by what scoring the blocks gave, and queue the messages."""
        final = pending.final is not None
        decided = self.stream.commit_scores(scored, final=final)
        posteriors = self.stream.posteriors
        if self._curve is not None:
            start_ms, values = self._curve.accept(posteriors.speech, final=final)
            if values:
                start_ms += self._utterance_ms
                self._emit(self.protocol.probability(start_ms, self._curve.interval_ms, values))
        self._scored_frames += len(posteriors)
        events: Sequence[Event | Hint] = decided
        if self._hints is not None:
            events = self._hints.accept(posteriors.speech, decided, self.plan.segmentation.options)
        for event in events:
            self._emit_event(event, final=final)
        self._arrivals.scored(self._scored_frames * self._grid.frame_ms)
        at_ms = self._arrivals.received_ms
        if pending.final == "flush":
            self._emit(self.protocol.flushed(at_ms))
            self._begin_utterance(at_ms)
        elif pending.final is not None:
            if not self._told_all or pending.final == "finish":
                counters = {"duration_ms": at_ms, "chunks": self._chunks}
                self._emit(self.protocol.done(self._segments, self.warnings, counters))
            if pending.final == "end":
                self.ended = DONE
            else:
                self.past_warnings |= {warning.code: warning for warning in self.warnings}
                self._start_over()
                self._told_all = True

    @property
    def warnings(self) -> tuple[AnswerWarning, ...]:
        """Warnings about the choice of the model and about the audio so far."""
        degraded = [AnswerWarning("degraded", "the CPU did the work instead of the device")] if self.degraded else []
        signal = (*self._levels.warnings(), *self._bandwidth.warnings())
        cuts = forced_cuts([ChannelSegments(None, tuple(self._segments))])
        return (*self.plan.warnings, *self._told, *signal, *degraded, *cuts)

    def _read(self, chunks: Sequence[Chunk], decoded: Sequence[Decoded]) -> FloatArray:
        """The samples of chunks at the model's rate, float32 [n]."""
        parts: list[FloatArray] = []
        for chunk, each in zip(chunks, decoded, strict=True):
            samples = self._pcm.read(each)
            self._levels.add(each.samples, each.peak)
            self._arrivals.add(len(chunk.data) // self._pcm.frame_bytes, len(samples))
            self._received.append(chunk.received)
            parts.append(samples)
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self._recording is not None:
            self._recording.add(whole)
        self._bandwidth.add(whole)
        return whole

    def _emit_event(self, event: Event | Hint, *, final: bool) -> None:
        """Queue the messages for an event. `final`: the client has ended the utterance."""
        at_ms = self._arrivals.received_ms if final else self._arrivals.known_at_ms(event.at_ms)
        base_ms, recording = self._utterance_ms, self._recording
        if isinstance(event, SpeechStart):
            if recording is not None:
                recording.open(event.start_ms)
            self._emit(self.protocol.start(base_ms + event.start_ms, at_ms))
        elif isinstance(event, Hint):
            self._emit(self.protocol.hint(event.moved(base_ms), at_ms))
        else:
            segment = clip(event.segment, self._arrivals.received_ms - base_ms)
            audio = None if recording is None else recording.close(segment.start_ms, segment.end_ms)
            segment = replace(segment, start_ms=base_ms + segment.start_ms, end_ms=base_ms + segment.end_ms)
            self._segments.append(segment)
            self._emit(self.protocol.end(segment, at_ms, audio, asked_for=final))

    def _drop(self, *, starts_over: bool) -> None:
        """Drop the utterance under way. `starts_over`: also its time, the segments and what warnings are made of."""
        self._pcm.flush()
        if starts_over:
            self._start_over()
            self._emit(self.protocol.reset())
            return
        at_ms = self._arrivals.received_ms
        self._begin_utterance(at_ms)
        self._emit(self.protocol.cleared(at_ms))

    def _start_over(self) -> None:
        """Begin at 0 with the next sample, as if nothing had come."""
        self._arrivals.restart(at_zero=True)
        self._segments.clear()
        self._levels, self._bandwidth = Levels(), Bandwidth(self._grid.sample_rate)
        self._begin_utterance(0)

    def _begin_utterance(self, at_ms: int) -> None:
        self.stream.reset()
        for each in (self._arrivals, self._curve, self._hints, self._recording):
            if each is not None:
                each.restart()
        self._utterance_ms = at_ms
        self._scored_frames = 0

    # ---- to the client

    def next_message(self) -> str | None:
        """The oldest message that has not been sent. It stays until `message_sent`, for a client that comes back."""
        return self._outbox.next_message()

    def all_messages(self) -> Sequence[str]:
        """All messages that have not been sent, as `next_message` gives the first."""
        return self._outbox.all_messages()

    def message_sent(self, count: int = 1) -> None:
        """The oldest messages that had not been sent have been."""
        self._outbox.message_sent(count)

    def say(self, message: Json) -> None:
        """Queue an answer to something that the client has sent; it is not numbered and not kept."""
        self._outbox.say(message)
        self._end_for_slow_reader()

    def fail(self, code: str, detail: str) -> None:
        """End the stream with an error, unless it is over."""
        if self.ended is None:
            self.ended = code
            for message in self.protocol.error(code, detail):
                self.say(message)

    @property
    def resumable(self) -> bool:
        """Whether a client that loses its connection may come back to this session."""
        return self.protocol.numbered and self.form.container is None

    @property
    def last_seq(self) -> int:
        """`seq` of the newest message."""
        return self._outbox.last_seq

    def replay(self, after: int | None) -> bool:
        """Queue again what a client that comes back has missed: the messages after number `after`, or, for None, those
        that were never handed to its socket. Return False when they are no longer kept."""
        self._incoming.drop_rest()
        return self._outbox.replay(after)

    def _emit(self, messages: Messages) -> None:
        for message in messages:
            self._outbox.emit(message, numbered=self.protocol.numbered)
        self._end_for_slow_reader()

    def _end_for_slow_reader(self) -> None:
        if self._outbox.overflows and self.ended is None:
            self.ended = "slow_reader"


def next_blocks(sessions: Sequence[LiveSession]) -> list[PendingBlock | Exception | None]:
    """Read the inboxes of sessions and return each one's next piece of work: None when there is none yet, or what went
    wrong, which ends this session and no other."""
    found: list[PendingBlock | Exception | None] = [None] * len(sessions)
    left: Sequence[int] = range(len(sessions))
    while left:
        read: list[tuple[int, Piece]] = []
        for at in left:
            try:
                piece = sessions[at].read_inbox()
            except Exception as error:  # noqa: BLE001 - it ends this session
                found[at] = error
                continue
            if piece is not None:
                read.append((at, piece))
        decoded = decode_together([(sessions[at].encoding, chunk.data) for at, piece in read for chunk in piece.chunks])
        left, start = [], 0
        for at, piece in read:
            stop = start + len(piece.chunks)
            try:
                found[at] = sessions[at].cut(piece, decoded[start:stop])
            except Exception as error:  # noqa: BLE001 - it ends this session
                found[at] = error
            start = stop
            if found[at] is None:
                left.append(at)
    return found
