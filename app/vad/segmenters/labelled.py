"""A segmenter for each label of a model that tells several things apart; their segments may overlap."""

from collections.abc import Mapping
from dataclasses import replace

from app.vad.posteriors import Posteriors, Segmenter, settled_ms
from app.vad.segment import Event, SpeechEnd


class Labelled:
    """A `Segmenter`. The events of a call come in the order in which they were known, a label's own in theirs."""

    def __init__(self, segmenters: Mapping[str, Segmenter]) -> None:
        """By label, in the order of the posteriors' columns."""
        self._segmenters = dict(segmenters)

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        for segmenter in self._segmenters.values():
            segmenter.reset()

    @property
    def settled_ms(self) -> int:
        """As `Segmenter`: of the label that is farthest behind."""
        return min(map(settled_ms, self._segmenters.values()), default=0)

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """Events that the next frames decide, each segment with its label."""
        events: list[Event] = []
        for column, (label, segmenter) in enumerate(self._segmenters.items()):
            for event in segmenter.accept(posteriors.column(column), final=final):
                if isinstance(event, SpeechEnd):
                    event = replace(event, segment=replace(event.segment, label=label))  # noqa: PLW2901
                events.append(event)
        return sorted(events, key=lambda event: event.at_ms)
