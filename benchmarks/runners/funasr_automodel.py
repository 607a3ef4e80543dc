"""FunASR's AutoModel, as its own pages show it, with the schedule off that changes the published segments."""

from pathlib import Path

from measured import Detect, arguments, measure

given = arguments()


def load() -> Detect:
    """The same weights from the same directory; its own reading of files."""
    from funasr import AutoModel

    model = AutoModel(
        model=given.model or "fsmn-vad", device="cpu", ncpu=given.cores,
        dynamic_silence=False, disable_update=True, disable_pbar=True, disable_log=True,
    )  # fmt: skip

    def detect(path: Path) -> int:
        return len(model.generate(input=str(path), dynamic_silence=False)[0]["value"])

    return detect


measure(given, load)
