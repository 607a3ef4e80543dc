"""Texts of several files at a terminal or in a pipe: told apart as over HTTP, or by a heading each."""

from pathlib import Path

import pytest
import soundfile

from app.formats.registry import FORMATS
from tests.cli.calling import call
from tests.server import RunningServer
from tests.signals import bursts

TOGETHER = [form.name for form in FORMATS if form.together is not None]
APART = [
    form.name
    for form in FORMATS
    if form.takes_several and form.together is None and form.media_type != "application/json"
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of several lengths, two of which are called alike, and one without speech."""
    folder = tmp_path_factory.mktemp("several")
    paths = []
    for name, spoken in {
        "z/talk.wav": [(0.5, 3.5), (4.5, 6.0)], "a/talk.wav": [(1.0, 2.0)], "silence.wav": [], "b.c.wav": [(0.5, 1.5)],
    }.items():  # fmt: skip
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        seconds = 7.0 if "z" in name else 3.0
        soundfile.write(path, bursts(seconds, spoken), 16_000, subtype="PCM_16")
        paths.append(path)
    return paths


def served(server: RunningServer, files: list[Path], form: str) -> str:
    answer = server.post(
        "/vad", files=[("file", (path.name, path.read_bytes())) for path in files], params={"format": form}
    )
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("form", TOGETHER)
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_lines_that_name_their_file_are_those_of_the_service(
    small_model: Path, server: RunningServer, files: list[Path], form: str, jobs: str
) -> None:
    expected = served(server, files, form)
    assert "talk-2" in expected
    for door in ((), ("--url", server.url)):
        ended = call(small_model, "detect", *files, "--format", form, "--jobs", jobs, *door)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == expected


@pytest.mark.parametrize(
    "form", [form if form in ("srt", "md") else pytest.param(form, marks=pytest.mark.full) for form in APART]
)
def test_other_texts_have_a_heading_each(
    small_model: Path, server: RunningServer, files: list[Path], form: str
) -> None:
    alone = {path: call(small_model, "detect", path, "--format", form).stdout for path in files}
    mark = "## {}\n\n" if form == "md" else "==> {} <==\n"
    texts = {path: text if text != "\n" else "" for path, text in alone.items()}
    expected = "\n".join(mark.format(path) + texts[path] for path in files)
    for door in ((), ("--url", server.url)):
        ended = call(small_model, "detect", *files, "--format", form, *door)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == expected


@pytest.mark.parametrize("form", ["csv", "srt"])
def test_a_file_without_an_answer_stands_in_nobodys_way(
    small_model: Path, files: list[Path], tmp_path: Path, form: str
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    whole = call(small_model, "detect", *files, "--format", form).stdout
    for at in range(0, len(files) + 1, 2):
        ended = call(small_model, "detect", *files[:at], bad, *files[at:], "--format", form, "--jobs", "3")
        assert (ended.returncode, ended.stdout) == (1, whole)
        assert "bad.wav: this is not audio" in ended.stderr
    alone = call(small_model, "detect", bad, bad.parent / "missing.wav", "--format", "csv")
    assert (alone.returncode, alone.stdout) == (1, "")
    two = tmp_path / "worse.wav"
    two.write_text("no audio")
    none = call(small_model, "detect", bad, two, "--format", "csv")
    assert (none.returncode, none.stdout) == (1, "name\n")


def test_files_of_results_have_no_headings(small_model: Path, files: list[Path], tmp_path: Path) -> None:
    for form, name in (("srt", "b.c.srt"), ("csv", "b.c.csv")):
        ended = call(small_model, "detect", *files, "--format", form, "--out", tmp_path)
        assert (ended.returncode, ended.stdout) == (0, "")
        assert (tmp_path / name).read_text() == call(small_model, "detect", files[3], "--format", form).stdout
