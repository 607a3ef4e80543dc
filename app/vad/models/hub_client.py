"""ModelScope's own client, run as a child process by its path: `python hub_client.py MODEL REVISION PATTERN…`.

The progress bar goes to stderr. stdout carries what the parent has to know, one JSON object a line, written when it
happens, so that a child which is ended in the middle of its retries has reported all that it knew:

    {"begun": true}                     the client has been imported; what takes time from here on is the hub
    {"status": 500, "of": "model.pt"}   the hub has answered, whatever the client makes of it
    {"failure": "…"}                    why there will be no model; the exit status is 1

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
    pipe = os.dup(1)
    os.dup2(2, 1)  # what libraries print is not for the parent
    try:
        _download(model, revision, patterns, pipe)
    except Exception as error:  # noqa: BLE001 - the client has no common base for its errors
        # Its messages repeat the request and the response, which nobody needs.
        message = " ".join(str(error).split(" Request:", maxsplit=1)[0].split())
        _report(pipe, failure=(message or type(error).__name__)[:_FAILURE_CHARS])
        return 1
    return 0


def _download(model: str, revision: str, patterns: list[str], pipe: int) -> None:
    try:  # the client proper: modelscope's wrapper of it imports torch, a second longer and 200 MB more
        from modelscope_hub.compat.snapshot_download import snapshot_download  # noqa: PLC0415
    except ImportError:  # before modelscope 1.38; its absence is reported like the rest
        from modelscope.hub.snapshot_download import snapshot_download  # type: ignore[no-redef]  # noqa: PLC0415

    # The bar is enough; why it failed comes as the exception.
    logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)
    # urllib3's log has a line for each HTTP answer, and all versions of the client share it. The retries that it makes
    # are seen by nobody above it.
    answers = logging.getLogger("urllib3.connectionpool")
    answers.addHandler(_AnswerReporter(pipe))
    answers.setLevel(logging.DEBUG)
    answers.propagate = False  # to the terminal
    _report(pipe, begun=True)
    snapshot_download(model, revision=revision or None, allow_patterns=patterns)


def _report(pipe: int, **message: object) -> None:
    """At once: nothing is held back in a buffer, and a line this short is written whole by any thread."""
    os.write(pipe, json.dumps(message).encode() + b"\n")


class _AnswerReporter(logging.Handler):
    """Reports every HTTP answer, from lines such as `http://hub:80 "GET /path?query HTTP/1.1" 500 None`."""

    _LINE = re.compile(r'"[A-Z]+ (?P<target>\S+) [^"]*" (?P<status>\d{3})\b')

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        line = self._LINE.search(record.getMessage())
        if line is None:
            return  # other lines speak of connections
        with contextlib.suppress(OSError, ValueError):  # a report that cannot be written is no reason to end a download
            target = urlsplit(line["target"])
            # The file that was asked for, else the path without its query: signatures there are nobody's business.
            [asked_for, *_] = parse_qs(target.query).get("FilePath", [target.path])
            _report(self._pipe, status=int(line["status"]), of=asked_for)


def _end_with_parent() -> None:
    """The parent writes nothing: its end of the pipe closes when it has gone, however it went."""
    os.read(0, 1)  # not by sys.stdin, whose lock a waiting thread would still hold when the interpreter ends
    os._exit(1)


if __name__ == "__main__":
    # A script's own folder comes first on the path, and the modules here have names that other packages use.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != here]
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
