"""Who is measured: this project and its peers, each by a runner in an environment of its own."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.plan import Plan
from benchmarks.process import Measured, Missing, environment, measure

_RUNNERS = Path(__file__).resolve().parent / "runners"


@dataclass(frozen=True)
class Contender:
    """One way to get speech segments from a file."""

    name: str
    runner: str
    ours: bool = False
    variant: str = ""
    model: str = ""
    """Of this project's models another than the default one, by name."""
    longest_minutes: float = 600
    """Longer files take more memory than a machine of this kind has."""
    kinds: frozenset[str] = frozenset({"wav", "flac", "mp3"})

    def run(self, plan: Plan, audio: Path, warm_up: Path, cores: int) -> Measured:
        """Detect `audio` in a new process on `cores` cores. Raises `Missing`, `RunnerFailed`."""
        python = plan.ours_python if self.ours else plan.peers_python
        model = self.model or plan.model_of(self.runner)
        command = [
            python, _RUNNERS / f"{self.runner}.py", "--audio", audio, "--warm-up", warm_up,
            "--cores", str(cores), "--model", model, "--variant", self.variant,
        ]  # fmt: skip
        return measure(command, plan.model_cache)


OURS = Contender("this project", "ours", ours=True)
OURS_BF16 = Contender("this project, bfloat16", "ours", ours=True, variant="bfloat16")
FUNASR = Contender("FunASR AutoModel", "funasr_automodel")
FUNASR_ONNX = Contender("funasr-onnx", "funasr_onnxruntime", longest_minutes=60, kinds=frozenset({"wav"}))
SILERO_ONNX = Contender("Silero, ONNX", "silero", variant="onnx")
SILERO_SEQUENCE = Contender("Silero, ONNX in blocks", "silero", variant="sequence")
SILERO_JIT = Contender("Silero, JIT", "silero", variant="jit")
WEBRTC = Contender("webrtcvad", "by_frame", variant="webrtc")
TEN = Contender("TEN VAD", "by_frame", variant="ten")
EARSHOT = Contender("earshot", "by_frame", variant="earshot")
FIRERED = Contender("FireRedVAD's package", "firered", variant="VAD", kinds=frozenset({"wav"}))
FIRERED_STREAM = Contender("FireRedVAD's package, stream", "firered", variant="Stream-VAD", kinds=frozenset({"wav"}))
PYANNOTE = Contender("pyannote.audio's pipeline", "pyannote_pipeline", longest_minutes=60, kinds=frozenset({"wav"}))
_NAMES = (
    "silero firered firered-stream firered-aed pyannote silero+firered fsmn+silero+firered silero+firered+2*pyannote"
)
_FURTHER_NAMES = "silero-8k fsmn+silero silero+firered-stream"


def _ours(names: str) -> tuple[Contender, ...]:
    return tuple(Contender(f"this project, {name}", "ours", ours=True, model=name) for name in names.split())


OTHER_MODELS = _ours(_NAMES)

ALL = (OURS, OURS_BF16, FUNASR, FUNASR_ONNX, SILERO_ONNX, SILERO_SEQUENCE, SILERO_JIT, WEBRTC, TEN, EARSHOT)
BY_MODEL = (
    OURS, *OTHER_MODELS, FUNASR, FUNASR_ONNX, SILERO_ONNX, SILERO_SEQUENCE, FIRERED, FIRERED_STREAM, PYANNOTE,
    WEBRTC, TEN, EARSHOT,
)  # fmt: skip
"""Every model here, beside its own package and the other detectors."""
OURS_ALONE = (OURS, *OTHER_MODELS, *_ours(_FURTHER_NAMES))
"""Every model and sum that is told of, beside each other."""
QUICKEST = (OURS, OURS_BF16, FUNASR, SILERO_ONNX)
"""For what differs in the reading of files alone."""


def products(plan: Plan, cores: int) -> Callable[[], Measured]:
    """The network's matrix products alone, for an hour of audio."""
    return partial(measure, [plan.ours_python, _RUNNERS / "products.py", "--cores", str(cores)])


def bare_clips(plan: Plan) -> AbstractContextManager[Callable[[float, float], float]]:
    """Clips decoded, scored and segmented in one thread of this project, without a service: a length in seconds and a
    count to the CPU ms of one. Raises `Missing`."""
    return _asked(plan, "bare_clips", plan.model)


def bare_chunks(plan: Plan, model: str) -> AbstractContextManager[Callable[[float, float], float]]:
    """Live chunks cut, scored and segmented in one thread of this project, without a service: how many streams
    together, and for how many seconds, to the CPU µs of a chunk. Raises `Missing`."""
    return _asked(plan, "bare_chunks", model)


def funasr_clips(plan: Plan) -> AbstractContextManager[Callable[[float, float], float]]:
    """Clips by FunASR in a process of its own, one after the other on one core: a length in seconds, and for how many
    seconds, to clips a second. Raises `Missing`."""
    return _asked(plan, "funasr_clips", plan.model_of("funasr_clips"), plan.peers_python)


@contextmanager
def _asked(
    plan: Plan, runner: str, model: str, python: Path | None = None
) -> Iterator[Callable[[float, float], float]]:
    """A runner on one core that answers two numbers by one; of this project without another `python`."""
    if python is not None and not python.exists():
        raise Missing("its environment is not here (make bench-peers)")
    command = [
        python or plan.ours_python, _RUNNERS / f"{runner}.py", "--audio", plan.speech, "--warm-up", plan.speech,
        "--cores", "1", "--model", model,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=environment(plan.model_cache), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with process:
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None or not stdout.readline():
            raise Missing(f"{runner} does not run here")

        def cost(one: float, other: float) -> float:
            print(one, other, file=stdin, flush=True)
            return float(stdout.readline())

        yield cost
        stdin.close()


def parts_of(plan: Plan, audio: Path, warm_up: Path) -> Measured:
    """The parts of a detection of `audio` by this project, on one core."""
    command = [
        plan.ours_python, _RUNNERS / "parts.py", "--audio", audio, "--warm-up", warm_up,
        "--cores", "1", "--model", plan.model,
    ]  # fmt: skip
    return measure(command, plan.model_cache)
