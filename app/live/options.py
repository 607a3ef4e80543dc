"""The options of a live stream, as its client has set them and may change them while it goes on."""

from collections.abc import Callable, Mapping
from typing import Any

from app.live.parameters import StreamParameters
from app.vad.errors import InvalidOption
from app.vad.grid import Grid
from app.vad.posteriors import adjust
from app.vad.segmenters.registry import Segmentation

Resolve = Callable[[Mapping[str, Any]], Segmentation]
"""From the options that a client has set to those in force. Raises `InvalidOption`."""
_SETTLED = ("mode", "merge_gap_ms")
"""What makes another machine of the segmenter, or another chain of them: a segment that is open cannot move there."""


class ClientOptions:
    """What the client has set."""

    def __init__(self, asked: Mapping[str, Any], resolve: Resolve | None, grid: Grid) -> None:
        """`resolve`: None where options cannot change."""
        self._asked, self._resolve, self._grid = dict(asked), resolve, grid

    def changed(self, given: Mapping[str, Any], in_force: Segmentation) -> Segmentation:
        """With these set besides, None setting one back to its default. Raises `InvalidOption`, and then nothing has
        changed."""
        if self._resolve is None:
            raise InvalidOption(next(iter(given), "options"), "was settled when the stream was opened")
        mine = next((name for name in given if name in StreamParameters.model_fields), None)
        if mine is not None:
            raise InvalidOption(mine, "was settled when the stream was opened; begin a new one")
        asked = {name: value for name, value in {**self._asked, **given}.items() if value is not None}
        segmentation = self._resolve(asked)
        told, before = segmentation.document(), in_force.document()
        settled = next((name for name in _SETTLED if told[name] != before[name]), None)
        if settled is not None:
            raise InvalidOption(settled, "cannot change while a stream goes on; begin a new one")
        adjust(segmentation.new_segmenter(self._grid), segmentation.options)  # on trial: whether it can change at all
        self._asked = asked
        return segmentation
