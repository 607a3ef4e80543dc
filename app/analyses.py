"""What is kept of a file for other options, and for how long.

An `Analysis` is what a run leaves behind when it is asked to: the posteriors, from which another plan's segmenter makes
another report without the audio. The `AnalysisStore` has them all.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.detection import ChannelGatherer, Results, Run, columns_of
from app.engine.shares import Holder, Shares, State, Ticket
from app.formats.report import Report, Timing, forced_cuts
from app.models import Model
from app.request import Plan
from app.vad.errors import InvalidOption, VadError
from app.vad.posteriors import Posteriors


class NoSuchAnalysis(VadError):
    """There is none of this id, or not any more."""

    code = "no_such_analysis"


@dataclass(frozen=True, slots=True)
class Curve:
    """What a picture of an analysis needs; all lists are of equal length."""

    probabilities: list[float]
    """Mean over the channels."""
    peaks: list[float]
    by_channel: tuple[tuple[int, list[float]], ...]
    """(channel, its own probabilities), of channels that were detected separately."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """One file's posteriors and first report, kept so that other options need no second upload."""

    report: Report
    """As first answered."""
    rows: tuple[tuple[int | None, Posteriors], ...]
    """(channel, posteriors)."""
    model: Model
    """The model that produced the posteriors."""
    plan: Plan
    """By which the file was read."""

    @classmethod
    def of(cls, run: Run) -> "Analysis | None":
        """What a run that has ended leaves behind; None where it keeps nothing."""
        rows = run.posteriors()
        return None if rows is None else cls(run.report(), rows, run.plan.chosen.model, run.plan)

    def check(self, plan: Plan) -> None:
        """Raise `InvalidOption` for what needs the audio: another channel, track, clock or reading of it."""
        asked, kept = plan.request, self.plan.request
        for name in ("channel", "track", "clock", "encoding", "sample_rate", "channels"):
            if name in asked.model_fields_set and getattr(asked, name) != getattr(kept, name):
                made_with = "the default" if getattr(kept, name) is None else getattr(kept, name)
                raise InvalidOption(name, f"the kept analysis was made with {made_with}; send the file to /vad again")
        if plan.form.needs_audio or plan.form.streams:
            raise InvalidOption("format", f"{plan.form.name} needs the audio, which is not kept; send the file to /vad")

    def count(self, plan: Plan, results: Results) -> int:
        """Count the probabilities that the plan asks for, and return how many they are. Raises as `Results.add`."""
        if not plan.request.probabilities:
            return 0
        frames = sum(len(posteriors) for _, posteriors in self.rows)
        values = frames * columns_of(plan)
        results.add(frames * self.model.grid.frame_ms / 1000, values)
        return values

    def segment(self, plan: Plan, request_id: str, identifier: str) -> Report:
        """Make the report that this plan would have given. Pure computation, about 0.2 s for an hour of audio."""
        started, grid, duration_ms = time.perf_counter(), self.model.grid, self.report.audio.duration_ms
        channels = []
        for channel, posteriors in self.rows:
            row = ChannelGatherer(plan, channel, keeps=False)
            events = plan.segmentation.new_segmenter(grid).accept(posteriors, final=True)
            row.push(events, posteriors, final_ms=0, duration_ms=duration_ms)
            channels.append(row.finish(duration_ms))
        return replace(
            self.report,
            request_id=request_id,
            channels=tuple(channels),
            labels=plan.segmentation.labels(grid),
            options=plan.segmentation.document(),
            extras={"analysis_id": identifier},
            # What is odd about the audio stays so; which segments were cut does not.
            warnings=(*(each for each in self.report.warnings if each.code != "forced_cuts"), *forced_cuts(channels)),
            timing=Timing(0, 0, 0, round((time.perf_counter() - started) * 1000)),
        )

    def curve(self, start_ms: int, end_ms: int, points: int) -> Curve:
        """Speech probability (mean over each step's frames) and amplitude of a stretch, in `points` steps or fewer."""
        grid = self.model.grid
        stretch = slice(start_ms // grid.frame_ms, -(-end_ms // grid.frame_ms))
        speech = [posteriors.take(stretch).speech for _, posteriors in self.rows]
        level = np.max([posteriors.decibel[stretch] for _, posteriors in self.rows], axis=0)
        # The root of the mean square, times a sine's ratio of peak to that.
        amplitude = np.sqrt(10.0 ** (level / 10) / (grid.level_samples or grid.frame_samples) * 2)
        return Curve(
            probabilities=np.round(_steps(np.mean(np.stack(speech), axis=0), points, np.mean), 4).tolist(),
            peaks=np.round(np.minimum(1.0, _steps(amplitude, points, np.max)), 4).tolist(),
            by_channel=tuple(
                (channel, np.round(_steps(row, points, np.mean), 4).tolist())
                for (channel, _), row in zip(self.rows, speech, strict=True)
                if channel is not None and len(self.rows) > 1
            ),
        )


def _steps(
    values: NDArray[np.floating], points: int, reduce: Callable[[NDArray[np.floating]], np.floating]
) -> NDArray[np.float64]:
    if len(values) <= points:
        return values.astype(np.float64)
    return np.array([reduce(part) for part in np.array_split(values, points)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Kept:
    analysis: Analysis
    client: str
    until: float
    place: Ticket
    room: Ticket


class AnalysisStore:
    """Kept analyses, bounded in number, bytes and time, and dealt out by `app.engine.shares`. The client that made one
    can use it, nobody else. To be used from the event loop alone."""

    def __init__(
        self, max_count: int, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.places, self.room = Shares(max_count), Shares(max_bytes)
        """How many, and how many bytes, of those being made, too."""
        self._ttl_s, self._clock = ttl_s, clock
        self._kept: dict[str, _Kept] = {}
        self._names: dict[Ticket, str] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, holder: Holder) -> "Keeping":
        """Return what counts an analysis while it is being made."""
        return Keeping(self, holder)

    def keep(self, analysis: Analysis, place: Ticket, room: Ticket) -> str:
        """Keep an analysis and return its id."""
        identifier = secrets.token_urlsafe(16)
        self._kept[identifier] = _Kept(analysis, place.holder.client, self._clock() + self._ttl_s, place, room)
        self._names[place] = self._names[room] = identifier
        self.places.keep(place)
        self.room.keep(room)
        return identifier

    def get(self, identifier: str, holder: Holder) -> Analysis:
        """Return the analysis, and begin its time anew. Raises `NoSuchAnalysis`, for somebody else's too."""
        self.drop_old()
        kept = self._kept.get(identifier)
        if kept is None or kept.client != holder.client:
            raise NoSuchAnalysis("this analysis does not exist or has expired; please send the file again")
        self._kept[identifier] = replace(kept, until=self._clock() + self._ttl_s)
        for shares, ticket in ((self.places, kept.place), (self.room, kept.room)):
            shares.use(ticket)
            shares.keep(ticket)  # now the newest
        return kept.analysis

    def drop_old(self) -> bool:
        """Drop what has been displaced, or was not used for long; whether there was any."""
        displaced = [self._names[ticket] for shares in (self.places, self.room) for ticket in shares.decided()]
        now = self._clock()
        expired = [identifier for identifier, kept in self._kept.items() if kept.until <= now]
        dropped = {*displaced, *expired}
        for identifier in dropped:
            kept = self._kept.pop(identifier)
            for shares, ticket in ((self.places, kept.place), (self.room, kept.room)):
                del self._names[ticket]
                shares.leave(ticket)
        return bool(dropped)


class Keeping:
    """Room for an analysis that is being made. Nobody knows how large it will be: past what there is room for it is not
    kept, and the answer says so."""

    def __init__(self, store: AnalysisStore, holder: Holder) -> None:
        self._store, self._holder = store, holder
        self._room: Ticket | None = None

    def add(self, size: int) -> bool:
        """Count bytes. False: there is no room for them, and what had been counted is given back."""
        shares = self._store.room
        self._store.drop_old()
        if self._room is None and size <= shares.total:
            self._room = shares.arrive(self._holder, amount=size)
            there_is = self._room.state is State.IN_USE
        else:
            there_is = self._room is not None and shares.grow(self._room, size)
        self._store.drop_old()
        if not there_is:
            self.drop()
        return there_is

    def keep(self, analysis: Analysis) -> str | None:
        """Keep it and return its id, or None where there is no room."""
        self._store.drop_old()
        place, room = self._store.places.arrive(self._holder), self._room
        self._store.drop_old()
        if room is None or place.state is not State.IN_USE:
            self._store.places.leave(place)
            self.drop()
            return None
        self._room = None
        return self._store.keep(analysis, place, room)

    def drop(self) -> None:
        """Give back what is not kept. A second call does nothing."""
        if self._room is not None:
            self._store.room.leave(self._room)
            self._room = None
