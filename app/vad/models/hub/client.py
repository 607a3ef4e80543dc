"""ModelScope's own client, run as a child process by its path: `python client.py MODEL REVISION PATTERN…`.

The progress bar goes to stderr. stdout carries what the parent has to know, as lines of one JSON object each, written
when it happens, so that a child which is ended in the middle of its retries has told all that it knew:

    {"begun": true}                              the client has been imported; from here on it is the hub that takes time
    {"status": 500, "of": "model.pt"}            the hub has answered, whatever the client makes of it
    {"failure": "…"}                             why there will be no model; the exit status is 1

It ends when its parent does.
"""

import contextlib
import json
import logging
import os
import re
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_FAILURE_CHARS = 300
"""Of a reason: enough for what failed and how, without the pages that some errors repeat."""


def main(model: str, revision: str, patterns: list[str]) -> int:
    """Download the files that match into `MODELSCOPE_CACHE`. Returns the exit status."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    parent = _Parent(os.dup(1))
    os.dup2(2, 1)  # what libraries print is not for the parent
    try:
        _download(model, revision, patterns, parent)
    except Exception as error:  # noqa: BLE001 - the client has no common base for its errors
        parent.tell(failure=(_short(str(error)) or type(error).__name__)[:_FAILURE_CHARS])
        return 1
    return 0


def _download(model: str, revision: str, patterns: list[str], parent: "_Parent") -> None:
    try:  # the client proper: modelscope's wrapper of it imports torch, a second longer and 200 MB more
        from modelscope_hub.compat.snapshot_download import snapshot_download  # noqa: PLC0415
    except ImportError:  # before modelscope 1.38; its absence is told like the rest
        from modelscope.hub.snapshot_download import snapshot_download  # type: ignore[no-redef]  # noqa: PLC0415

    # The bar is enough; why it failed comes as the exception.
    logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)
    _tell_answers(parent)
    parent.tell(begun=True)
    snapshot_download(model, revision=revision or None, allow_patterns=patterns)


class _Parent:
    """The other end of the pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def tell(self, **what: object) -> None:
        """At once: nothing is held back in a buffer, and a line this short is written whole by any thread."""
        os.write(self._pipe, json.dumps(what).encode() + b"\n")


def _tell_answers(parent: _Parent) -> None:
    """Have the parent told of every HTTP answer.

    By urllib3's log, which has a line for each of them, and which all versions of the client share: what is retried
    is seen by nobody above it.
    """
    log = logging.getLogger("urllib3.connectionpool")
    log.addHandler(_Answers(parent))
    log.setLevel(logging.DEBUG)
    log.propagate = False  # to the terminal


class _Answers(logging.Handler):
    """Reads lines such as `http://hub:80 "GET /path?query HTTP/1.1" 500 None`."""

    _LINE = re.compile(r'"[A-Z]+ (?P<target>\S+) [^"]*" (?P<status>\d{3})\b')

    def __init__(self, parent: _Parent) -> None:
        super().__init__()
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of one answer; lines of other forms speak of connections."""
        line = self._LINE.search(record.getMessage())
        if line is not None:
            with contextlib.suppress(OSError, ValueError):  # what cannot be told is no reason to end a download
                self._parent.tell(status=int(line["status"]), of=_asked_for(line["target"]))


def _asked_for(target: str) -> str:
    """The model's file that a request is for, else its path: queries may carry signatures that are nobody's business."""
    parts = urlsplit(target)
    return parse_qs(parts.query).get("FilePath", [parts.path])[0]


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
