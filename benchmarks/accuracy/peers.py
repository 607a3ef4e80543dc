"""What other detectors make of clips: each by its own package, in a process of the peers' environment."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.accuracy.frames import at_middles
from app.accuracy.heard import Heard, Setting
from app.accuracy.labels import Span
from benchmarks.accuracy.report import OF_PEERS
from benchmarks.plan import ROOT
from benchmarks.process import measure

_RUNNER = ROOT / "benchmarks" / "runners" / "scores.py"


@dataclass(frozen=True)
class Peer:
    """A detector that gives a probability, or a vote, for each of its frames."""

    name: str
    variant: str
    """As the runner knows it."""

    @property
    def setting(self) -> Setting:
        """Its frames at its package's own threshold, without any smoothing."""
        return Setting(f"{self.name}{OF_PEERS}", self.name)

    def hear(self, python: Path, clips: Sequence[tuple[Path, int]], folder: Path) -> list[Heard]:
        """Its answers. Raises `Missing`, `RunnerFailed`."""
        asked = folder / "asked.json"
        asked.write_text(json.dumps([str(path) for path, _ in clips]))
        step_ms = measure([python, _RUNNER, self.variant, asked, folder]).answer["step_ms"]
        answers = [np.load(folder / f"{number}.npz") for number in range(len(clips))]
        return [self._heard(answer, step_ms, count) for answer, (_, count) in zip(answers, clips, strict=True)]

    def _heard(self, answer: Any, step_ms: float, count: int) -> Heard:
        said = np.flatnonzero(np.diff(np.concatenate(([0], answer["speech"].astype(np.int8), [0])))) * step_ms / 1000
        spans: list[Span] = list(zip(said[0::2].tolist(), said[1::2].tolist(), strict=True))
        return Heard(at_middles(answer["scores"], step_ms, count), {self.setting.name: spans})


PEERS = (Peer("webrtcvad", "webrtc"), Peer("TEN VAD", "ten"), Peer("earshot", "earshot"), Peer("pyannote", "pyannote"))
"""pyannote is judged where PYANNOTE_MODEL names one of its networks. FunASR, FireRedVAD and Silero VAD are not among
them: this service's models give what their packages give."""
