"""ModelScope's own client, run as a child process by its path: `python hub_client.py MODEL REVISION PATTERN…`.

The progress bar goes to stderr; stdout carries nothing but the reason of a failure. It ends when its parent does.
"""

import logging
import os
import sys
import threading
from pathlib import Path


def main(model: str, revision: str, patterns: list[str]) -> int:
    """Download the files that match into `MODELSCOPE_CACHE`. Returns the exit status."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # what libraries print is not the answer
        try:
            _download(model, revision, patterns)
        except Exception as error:  # noqa: BLE001 - the client has no common base for its errors
            answer.write(_short(str(error)) or type(error).__name__)
            return 1
    return 0


def _download(model: str, revision: str, patterns: list[str]) -> None:
    try:  # the client proper: modelscope's wrapper of it imports torch, a second longer and 200 MB more
        from modelscope_hub.compat.snapshot_download import snapshot_download  # noqa: PLC0415
    except ImportError:  # before modelscope 1.38; its absence is told like the rest
        from modelscope.hub.snapshot_download import snapshot_download  # type: ignore[no-redef]  # noqa: PLC0415

    # The bar is enough; why it failed comes as the exception.
    logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)
    snapshot_download(model, revision=revision or None, allow_patterns=patterns)


def _end_with_parent() -> None:
    """The parent writes nothing: its end of the pipe closes when it has gone, however it went."""
    os.read(0, 1)  # not by sys.stdin, whose lock a waiting thread would still hold when the interpreter ends
    os._exit(1)


def _short(message: str) -> str:
    """The client's message without the request and response that it repeats."""
    return " ".join(message.split(" Request:", maxsplit=1)[0].split())


if __name__ == "__main__":
    # A script's own folder comes first on the path, and the modules here have names that other packages use.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != here]
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
