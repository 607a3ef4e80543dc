"""How much is installed: a service's distribution and all that it needs, without tools to work on it."""

from pathlib import Path
from typing import Any

from benchmarks.plan import Plan
from benchmarks.process import Missing, RunnerFailed, measure
from benchmarks.table import Result

_SCRIPT = Path(__file__).resolve().parent.parent / "runners" / "installed.py"
_PEERS = {
    "FunASR": ["funasr", "torch", "torchaudio"],
    "FunASR behind a lock": ["funasr", "torch", "torchaudio", "fastapi", "uvicorn", "python-multipart"],
    "funasr-onnx": ["funasr-onnx"],
    "Silero": ["silero-vad"],
    "webrtcvad": ["webrtcvad-wheels"],
}


def install(plan: Plan) -> Result:
    """Nothing is timed, so once is enough."""
    result = Result(
        "install", "Installed size, with everything needed",
        {"name": "", "mb": "MB", "without_torch_mb": "of it not torch", "count": "packages", "largest": "largest"},
    )  # fmt: skip
    wanted = {"this project": (plan.ours_python, ["fsmn-vad-service"])}
    wanted |= {name: (plan.peers_python, packages) for name, packages in _PEERS.items()}
    for name, (python, packages) in wanted.items():
        _add(result, name, [python, _SCRIPT, *packages])
    return result


def _add(result: Result, name: str, command: list[str | Path]) -> None:
    try:
        result.rows.append(_row(name, dict(measure(command).answer)))
    except (Missing, RunnerFailed) as error:
        result.missing[name] = str(error)


def _row(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    largest = answer["largest"]
    shown = ", ".join(f"{package} {mb:.0f}" for package, mb in list(largest.items())[:3])
    rest = answer["mb"] - largest.get("torch", 0.0)
    return {"name": name, "mb": answer["mb"], "without_torch_mb": rest, "count": answer["count"], "largest": shown}
