"""FunASR's AutoModel with clips in this process, one after the other on one core, as a program without a service has
them. Each line of standard input, `SECONDS FOR_S`, is answered by the clips of this length that it did in a second,
over so many seconds. The first line says that it may be asked."""

import os
import sys
import tempfile
import time
import wave
from pathlib import Path

from measured import arguments

given = arguments()
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # it prints as it pleases

from funasr import AutoModel  # noqa: E402 - after the threads are set

_WARM_UP = 3  # the first calls make what later ones have


def clip(folder: str, seconds: float) -> str:
    """The first seconds of the audio, as a file."""
    path = Path(folder) / f"{seconds}.wav"
    with wave.open(str(given.audio), "rb") as source, wave.open(str(path), "wb") as target:
        target.setparams(source.getparams())
        target.writeframes(source.readframes(round(seconds * source.getframerate())))
    return str(path)


def main() -> None:
    """Answer until the input ends."""
    model = AutoModel(
        model=given.model or "fsmn-vad", device="cpu", ncpu=given.cores,
        dynamic_silence=False, disable_update=True, disable_pbar=True, disable_log=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        print("ready", file=answers)
        for line in sys.stdin:
            seconds, for_s = map(float, line.split())
            path, done = clip(folder, seconds), 0
            for _ in range(_WARM_UP):
                model.generate(input=path, dynamic_silence=False)
            started = time.perf_counter()
            while time.perf_counter() - started < for_s:
                model.generate(input=path, dynamic_silence=False)
                done += 1
            print(done / (time.perf_counter() - started), file=answers)


main()
