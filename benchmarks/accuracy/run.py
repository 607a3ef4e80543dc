"""One run: every condition, every model of the service, every peer."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.accuracy.conditions import Condition
from app.accuracy.corpus import Clip
from app.accuracy.heard import Heard, Setting
from app.accuracy.intervals import Drawings
from app.accuracy.judging import Segmented, judge_segments
from app.accuracy.service import Service
from benchmarks.accuracy.judging import Scored, has_both, judge_scores, speech_share
from benchmarks.accuracy.peers import Peer
from benchmarks.accuracy.report import document
from benchmarks.process import Missing, RunnerFailed
from benchmarks.results import commit
from benchmarks.table import progress

_SHOWN = ("torch", "numpy", "scikit-learn", "silero-vad")


@dataclass
class Run:
    """What is judged, and what was found so far."""

    clips: Sequence[Clip]
    conditions: Sequence[Condition]
    draws: int
    """Drawings of files, for intervals; 0 for none."""
    scored: list[Scored] = field(default_factory=list)
    segmented: list[Segmented] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Peers that could not be judged, and why."""
    blind: dict[str, dict[str, float]] = field(default_factory=dict)
    """By model and folder of audio without labels, the share of its loud frames that are called speech."""

    @property
    def groups(self) -> list[str]:
        """Kinds of recordings, each judged by itself: subfolders, where there are several."""
        return list(dict.fromkeys(clip.group for clip in self.clips))

    def key(self, condition: Condition, group: str) -> str:
        """What rows call a kind of recording in a condition."""
        return f"{group} {condition.name}" if len(self.groups) > 1 else condition.name

    async def all(
        self, service: Service, models: Sequence[str], settings: Mapping[Setting, Mapping[str, Any]],
        peers: Sequence[Peer], python: Path,
    ) -> None:  # fmt: skip
        """Condition after condition. `python`: the interpreter of the peers' environment."""
        for condition in self.conditions:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                files = [
                    (condition.write(clip, seed, folder), len(clip.speech)) for seed, clip in enumerate(self.clips)
                ]
                for model in models:
                    progress(f"{condition.title}: {model}")
                    self._take(model, condition, await service.hear(model, files, settings))
                for peer in peers:
                    progress(f"{condition.title}: {peer.name}")
                    self._take_peer(peer, condition, python, files, folder)

    def _take_peer(
        self, peer: Peer, condition: Condition, python: Path, files: Sequence[tuple[Path, int]], folder: Path
    ) -> None:
        if peer.name in self.missing:
            return
        try:
            self._take(peer.name, condition, peer.hear(python, files, folder))
        except (Missing, RunnerFailed) as error:
            self.missing[peer.name] = str(error)

    def _take(self, model: str, condition: Condition, heard: Sequence[Heard]) -> None:
        for group in self.groups:
            places = [place for place, clip in enumerate(self.clips) if clip.group == group]
            clips, mine = [self.clips[place] for place in places], [heard[place] for place in places]
            key, drawings = self.key(condition, group), Drawings(len(clips), self.draws)
            if has_both(clips):
                self.scored.append(judge_scores(model, key, mine, clips, drawings))
            self.segmented += judge_segments(key, mine, clips, drawings)

    def document(self, folder: Path) -> dict[str, Any]:
        """Everything, to be written. `folder`: where the clips come from; its name is told, not where it lies."""
        about = {
            "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": {name: version(name) for name in _SHOWN},
            "data": folder.resolve().name,
            "clips": len(self.clips),
            "seconds": round(sum(clip.duration_s for clip in self.clips), 1),
            "speech_share": round(speech_share(self.clips), 4),
            "drawings": self.draws,
            "groups": [group for group in self.groups if group],
            "conditions": {
                self.key(each, group): f"{group} {each.title}" if len(self.groups) > 1 else each.title
                for group in self.groups
                for each in self.conditions
            },
            "missing": self.missing,
        }
        return {**document(about, self.scored, self.segmented), "blind": self.blind}
