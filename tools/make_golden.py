"""Make the golden data that the tests use, from the reference packages and the public recordings.

    python tools/make_golden.py                              into artifacts/golden, everything fetched
    python tools/make_golden.py --audio DIR --models DIR     without a network: recordings and models that are here
    VAD_REFERENCE_DATA=artifacts/golden MODELSCOPE_CACHE=artifacts/golden/modelscope make test

FunASR, FireRedVAD and silero-vad are installed into an environment of their own (2 GB, minutes), recordings are fetched
by hash, models by ModelScope's client. What is made lies as VAD_REFERENCE_DATA wants it: `audio/`, `golden/`,
`modelscope/`. It needs Python and a POSIX shell, and this project need not be installed; `--against` needs numpy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import urllib.error
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # started as a script

from tools.golden.recordings import WrongRecording, gather  # noqa: E402
from tools.reference_data import VARIABLE, reference_folder  # noqa: E402

REFERENCES = ("silero", "firered", "funasr")
"""The quickest first, so that what is broken shows soon."""
MODELS = ("iic/speech_fsmn_vad_zh-cn-16k-common-pytorch", "xukaituo/FireRedVAD")
"""By ModelScope id. Silero's weights are in its package."""
_DOWNLOAD = "import sys; from modelscope import snapshot_download; [snapshot_download(m) for m in sys.argv[1:]]"


def main() -> int:
    """The command; 1 when something cannot be had, or differs from what it is compared with."""
    given = _arguments()
    out: Path = given.out
    try:
        gather(out / "audio", local=given.audio)
        python = environment(given.environment)
        gather_models(python, out / "modelscope", given.models)
        for reference in given.only or REFERENCES:
            make(python, reference, out)
    except (WrongRecording, urllib.error.URLError, OSError, subprocess.CalledProcessError) as error:
        print(f"golden data could not be made: {error}", file=sys.stderr)
        return 1
    print(f"golden data lie in {out}; tests find them by {VARIABLE}={out}")
    return 0 if given.against is None else _told(out / "golden", given.against)


def environment(folder: Path) -> Path:
    """The interpreter of the references' environment, which is built where it is not there yet."""
    python = folder / "bin" / "python"
    ready = folder / ".references"
    if not (python.is_file() and ready.is_file()):
        subprocess.run(["sh", str(ROOT / "benchmarks" / "peers" / "setup.sh"), str(folder)], check=True)
        ready.touch()
    return python


def gather_models(python: Path, cache: Path, local: Path | None) -> None:
    """Put the published models into a ModelScope cache: from another cache, or from the hub."""
    for model in MODELS:
        place = cache / "models" / model
        if local is not None and not place.is_dir():
            shutil.copytree(local / "models" / model, place)
    if local is None:
        subprocess.run([python, "-c", _DOWNLOAD, *MODELS], check=True, env=_environ(MODELSCOPE_CACHE=str(cache)))


def make(python: Path, reference: str, out: Path) -> None:
    """Let one reference package write its golden files."""
    golden = out / "golden"
    golden.mkdir(parents=True, exist_ok=True)
    print(f"{reference}: {golden}", flush=True)
    script = ROOT / "tools" / "golden" / f"reference_{reference}.py"
    folders = {"audio": out / "audio", "models": out / "modelscope" / "models", "golden": golden}
    arguments = [part for name, folder in folders.items() for part in (f"--{name}", str(folder))]
    # One thread: sums are then added in the same order everywhere.
    subprocess.run([python, script, *arguments], check=True, env=_environ(OMP_NUM_THREADS="1"))


def _environ(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


def _told(made: Path, kept: Path) -> int:
    from tools.golden.compare import compare  # noqa: PLC0415 - it needs numpy, which making does not

    compared = list(compare(made, kept))
    for each in compared:
        print(f"{'same   ' if each.same else 'DIFFERS'}  {each.name}: {each.told}")
    return int(not all(each.same for each in compared))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tools/make_golden.py", description="Make the golden data that the tests use."
    )
    parser.add_argument(
        "--out", type=_folder, default=reference_folder(),
        help=f"where everything is put ({VARIABLE}, else artifacts/golden)",
    )  # fmt: skip
    parser.add_argument("--audio", type=_folder, help="a folder with the recordings: nothing is fetched")
    parser.add_argument("--models", type=_folder, help="a ModelScope cache with the models: the hub is not asked")
    parser.add_argument(
        "--environment", type=_folder, default=ROOT / "artifacts" / "golden-environment",
        help="the references' environment; built where it is not there",
    )  # fmt: skip
    parser.add_argument("--only", action="append", choices=REFERENCES, help="of one reference; repeatable")
    parser.add_argument("--against", type=_folder, help="a folder of golden files to compare with")
    return parser.parse_args()


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


if __name__ == "__main__":
    sys.exit(main())
