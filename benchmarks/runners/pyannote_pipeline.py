"""pyannote.audio's own voice activity detection, of samples that soundfile has read: `--model` is the checkpoint."""

import os
import warnings
from pathlib import Path

import soundfile
from measured import Detect, arguments, measure

given = arguments()
os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # it reports its use by default
warnings.simplefilter("ignore")  # it warns of torchcodec, which only its own reading of files needs


def load() -> Detect:
    """torch is set to the cores given."""
    import torch

    torch.set_num_threads(given.cores)
    if not Path(given.model).is_file():
        raise FileNotFoundError(f"{given.model} is not here")
    from pyannote.audio import Model
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.pipelines import VoiceActivityDetection

    with torch.serialization.safe_globals([Specifications, Problem, Resolution, torch.torch_version.TorchVersion]):
        network = Model.from_pretrained(given.model)
    pipeline = VoiceActivityDetection(segmentation=network.eval())
    pipeline.instantiate({"min_duration_on": 0.0, "min_duration_off": 0.0})

    def detect(path: Path) -> int:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        found = pipeline({"waveform": torch.from_numpy(samples.T), "sample_rate": rate})
        return len(list(found.itersegments()))

    return detect


measure(given, load)
