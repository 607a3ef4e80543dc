"""The command line as a person sees it: on a terminal of 80 columns, where a long sentence is broken between words."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = 80
_END = "\x1e"
_WALK = f"""
import json, sys
from app.cli.commands import cli
for line in json.loads(sys.argv[1]):
    try:
        cli(line.split())
    except SystemExit as ended:
        print(f"status {{ended.code}}{_END}", flush=True)
"""
WALK = {
    "detect README.md --model silerro": (3, "there is no model 'silerro'; there are: fsmn, fsmn-8k, silero"),
    "detect README.md --threshold 0.5": (2, "but the mode in force is endpoint: add --mode tight"),
    "detect README.md --out results --format table": (2, "With --out choose json, csv, srt or another form"),
    "detect nowhere/": (2, "nowhere/: there is no such file or folder"),
    "detect README.md --format zip": (2, "--format zip needs --out FOLDER"),
    "detect deploy": (2, "deploy: there are no audio files in this folder"),
    "model list": (0, "Get one: fsmn-vad model download NAME"),
    "stream": (2, "name one source: --mic, a file, a pipe, or - for stdin"),
    "detect --jobs 0 README.md": (2, "Invalid value for '--jobs' / '-j': Input should be greater than or equal to 1"),
}


@cache
def walked(empty_cache: Path) -> dict[str, tuple[int, str]]:
    """Each line's exit status and what the terminal shows, without colours; in one process."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    settings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", "LANG": "C.UTF-8",
                "MODELSCOPE_CACHE": str(empty_cache), "VAD_MODEL": "fsmn"}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", _WALK, json.dumps(list(WALK))],
        cwd=ROOT, env=settings, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # the terminal of a process that has ended
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "")
    told = {}
    for line, part in zip(WALK, plain.split(_END), strict=False):
        text, status = re.fullmatch(r"\n?(.*?)status (\d+)", part, re.DOTALL).groups()  # type: ignore[union-attr]
        told[line] = (int(status), text)
    return told


@pytest.mark.slow
@pytest.mark.parametrize("line", WALK)
def test_every_sentence_is_whole(tmp_path_factory: pytest.TempPathFactory, line: str) -> None:
    status, text = walked(tmp_path_factory.getbasetemp())[line]
    expected, sentence = WALK[line]
    assert status == expected, text
    assert max(map(len, text.splitlines())) <= COLUMNS, "the terminal would break it in mid-word"
    assert sentence in " ".join(text.split())
