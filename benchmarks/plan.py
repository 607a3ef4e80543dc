"""What a run of the benchmarks was asked for, and where things lie."""

import os
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tools.reference_data import reference_folder

ROOT = Path(__file__).resolve().parent.parent
_MODEL_ID = "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"
_ONNX_ID = "speech_fsmn_vad_zh-cn-16k-common-onnx"


@dataclass(frozen=True)
class Plan:
    """What one run measures, and how thoroughly."""

    quick: bool
    """Shorter audio, fewer repeats; the figures are for seeing that all works."""
    repeat: int

    @property
    def audio_folder(self) -> Path:
        """Generated audio; kept for the next run."""
        return ROOT / "artifacts" / "benchmarks" / "audio"

    @property
    def work_folder(self) -> Path:
        """Logs and temporary files of servers."""
        return ROOT / "artifacts" / "benchmarks" / "work"

    @property
    def results_folder(self) -> Path:
        """Full runs are kept with the project; quick ones are not worth it."""
        return ROOT / "artifacts" / "benchmarks" / "quick" if self.quick else ROOT / "benchmarks" / "results"

    @property
    def hour_minutes(self) -> float:
        """Length of what stands for a long file."""
        return 10 if self.quick else 60

    @property
    def peers_python(self) -> Path:
        """The interpreter of the peers' environment, which may not be there."""
        return ROOT / os.environ.get("VAD_PEERS", ".peers") / "bin" / "python"

    @property
    def reference(self) -> Path:
        """The folder of reference data, which may not be there."""
        return reference_folder()

    @cached_property
    def model(self) -> str:
        """The model's directory; empty: each finds it where it always does."""
        directory = self.reference / "modelscope" / "models" / _MODEL_ID
        return str(directory) if (directory / "model.pt").is_file() else ""

    @property
    def model_cache(self) -> dict[str, str]:
        """Where this project finds the models that are known by name."""
        cache = self.reference / "modelscope"
        return {"MODELSCOPE_CACHE": str(cache)} if cache.is_dir() else {}

    def model_of(self, runner: str) -> str:
        """What a runner's own package takes for its model."""
        if runner == "funasr_onnxruntime":
            return self.onnx_model
        if runner == "firered":
            return str(self.reference / "modelscope" / "models" / "xukaituo" / "FireRedVAD")
        if runner == "pyannote_pipeline":
            return str(self.reference / "modelscope" / "models" / "pyannote" / "segmentation-3.0" / "pytorch_model.bin")
        return self.model

    @property
    def onnx_model(self) -> str:
        """The directory of the same weights as ONNX, which may not be there."""
        return str(self.reference / "modelscope-onnx" / _ONNX_ID)

    @property
    def speech(self) -> Path:
        """A minute of real speech, which may not be there."""
        return self.reference / "audio" / "vad_example.wav"

    @property
    def ours_python(self) -> Path:
        """The interpreter of this project's environment: the one that runs this."""
        return Path(sys.executable)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_disk_mb(folder: Path) -> int:
    """MiB free where `folder` lies."""
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free >> 20
