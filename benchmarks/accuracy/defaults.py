"""Thresholds of `mode=tight` for every model and sum: `python -m benchmarks.accuracy.defaults FOLDER [MODEL …]`.

One pair for all subfolders of FOLDER, such as conversation and meetings, and all conditions; the objective is the mean
of their F1. What the rule takes, and why, stands in `app/vad/models/accuracy.py`, which its figures are written into.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.accuracy.conditions import CLEAN, DEFAULTS, parse
from app.accuracy.corpus import find_recordings, group_of
from app.accuracy.fitting import USUAL, Row, Search, total
from app.accuracy.frames import Counts
from app.accuracy.service import Service
from app.accuracy.tuning import Candidate, Tuning, usable
from app.config import Settings
from app.logs import configure_logging
from app.registry import installed
from app.runtime import start_runtime
from benchmarks.table import progress

_THRESHOLDS = (
    0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, *(round(0.15 + 0.05 * step, 2) for step in range(15)),
)  # fmt: skip
_NOTHING = Counts(0, 0, 0, 0)
_WIDEST = 0.3
"""From one threshold to the other."""
_LEVEL, _MOST_MISSED = 0.005, 0.1
"""F1 that is noise, and the speech of clean meetings that may be missed."""
_QUIET_ROOM, _CLOSE = "meetings", "conversation"
"""The subfolders that the rule asks."""
PAIRS: Sequence[Mapping[str, float]] = [
    {"threshold": on, "neg_threshold": off} for on in _THRESHOLDS for off in _THRESHOLDS if 0 <= on - off <= _WIDEST
]


def choose(search: Search, places: Sequence[int]) -> Mapping[str, float]:
    """The pair that the rule takes over these rows."""
    tried = []
    for pair in PAIRS:
        setting = {**USUAL, **pair}
        groups = [search.rows[place].group for place in places]
        tallies = list(zip(groups, search.tallies(setting, places), strict=True))
        far = total([each.counts for group, each in tallies if group == f"{_QUIET_ROOM} {CLEAN}"] or [_NOTHING])
        near = total([each.counts for group, each in tallies if group.startswith(_CLOSE)] or [_NOTHING])
        tried.append((search.value(setting, places), far.miss_rate, near.false_alarm_rate, pair))
    best = max(value for value, *_ in tried)
    level = [each for each in tried if each[0] >= best - _LEVEL]
    hearing = [each for each in level if each[1] <= _MOST_MISSED] or level
    return min(hearing, key=lambda each: (each[2], -each[0]))[3]


def judge(rows: Sequence[Row]) -> dict[str, Any]:
    """The pair for all rows, and the mean F1 where each file is judged by the others' pair."""
    search, places = Search(rows, "f1"), range(len(rows))
    judged = {}
    for file in sorted({row.file for row in rows}):
        mine = [place for place in places if rows[place].file == file]
        pair = choose(search, [place for place in places if rows[place].file != file])
        judged |= dict(zip(mine, search.tallies({**USUAL, **pair}, mine), strict=True))
    return {**choose(search, places), "f1": search.mean([judged[place] for place in places], places)}


async def main(folder: Path, names: Sequence[str]) -> None:
    """Print a line for each model."""
    runtime = await start_runtime(Settings(), installed(), on_demand=True)
    try:
        service = Service(runtime)
        recordings = usable(find_recordings(folder), _View())
        tuning = Tuning(service, recordings, "f1", _View(), [parse(each) for each in DEFAULTS])
        with tempfile.TemporaryDirectory() as scratch:
            files = tuning.heard(Path(scratch))
            for name in names or await service.model_names():
                rows = await tuning.rows(await runtime.models.get(name), files)
                kinds = [group_of(recordings[row.file].recording.path, folder) for row in rows]
                grouped = [_renamed(row, f"{kind} {row.group}") for kind, row in zip(kinds, rows, strict=True)]
                found = judge(grouped)
                print(f"{name}: {found['f1']:.3f}, {found['threshold']} / {found['neg_threshold']}")
    finally:
        runtime.close()


def _renamed(row: Row, group: str) -> Row:
    return Row(row.file, group, row.posteriors, row.grid, row.spans, row.duration_s)


class _View:
    """Lines on stderr (`TuningView`)."""

    def scored(self, model: str, done: int, files: int) -> None:
        if done == files:
            progress(f"{model}: scored")

    def fitted(self, found: Candidate, done: int, candidates: int) -> None: ...

    def left_out(self, name: str, reason: str) -> None:
        progress(f"{name}: skipped: {reason}")


if __name__ == "__main__":
    configure_logging("auto", "error")
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
