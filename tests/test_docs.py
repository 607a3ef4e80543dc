"""The documentation is true: made pages are fresh, commands work as written, what is named is there."""

import html
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.errors import TABLE
from app.audio.containers import CONTAINERS, SUFFIXES
from app.config import Settings
from app.formats.registry import FORMATS
from app.presets import PRESETS
from tests import forked, markdown
from tests.server import RunningServer, local_server

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.usefixtures("published_model")
def test_made_pages_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    monkeypatch.syspath_prepend(ROOT / "docs")
    assert importlib.import_module("make_docs").stale_pages() == [], "run make docs"


def test_the_latencies_are_those_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    latency = importlib.import_module("latency")
    stale = [name for name, text in latency.pages().items() if (ROOT / "docs" / name).read_text() != text]
    assert stale == [], "run python docs/latency.py"
    names = [row["name"] for row in latency.rows()]
    assert {f"preset={preset.name}" for preset in PRESETS} < set(names)
    pages = [(ROOT / "docs" / name).read_text() for name in ("live-latency.md", "zh/live-latency.md")]
    for row in latency.rows():
        assert all(f"| `{row['name']}` | `{row['model']}`" in page for page in pages)
        assert row["start_p50_ms"] <= row["start_p95_ms"]


@pytest.fixture(scope="module")
def auto_server(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With what is at hand beside its own model, as a service has it by default."""
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    with local_server(small_model, tmp_path_factory.mktemp("auto"), {"VAD_MODELS": "auto"}) as server:
        yield server


def test_every_error_code_is_told() -> None:
    told = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/api.md").read_text().partition("## Errors")[2]))
    assert {error.code for error in TABLE} <= told


def test_the_list_of_what_is_read_is_the_codes_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    assert importlib.import_module("make_docs").audio_page() == (ROOT / "docs/audio.md").read_text(), "run make docs"


def test_figures_of_accuracy_are_those_that_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    for page, text in importlib.import_module("make_docs").accuracy_pages().items():
        assert text == (ROOT / page).read_text(), "run make docs"
        assert "<!-- /" in text


def test_figures_of_speed_are_those_that_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    made = importlib.import_module("make_docs").measured_pages()
    for page, text in made.items():
        assert text == (ROOT / page).read_text(), "run make docs"
    for page, places in importlib.import_module("measured_tables").TABLES.items():
        for name in places:
            _, opened, rest = made[f"docs/{page}"].partition(f"<!-- {name} -->\n|")
            assert opened, f"{page} has no place for {name}"
            shown = rest.partition(f"<!-- /{name} -->")[0]
            assert re.search(r"^\*.+, \d+ cores, \d{4}-\d\d-\d\d, .+\*$", shown, re.MULTILINE), "where and when"


def test_the_advice_on_streams_is_what_the_tables_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page, setting or manifest advises more live streams than the table shows in time, or another number."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    measured = importlib.import_module("measured_tables")
    live, models = measured.found("live"), measured.found("live_models")
    in_time = [row for row in live["rows"] if row["in_time"] >= 0.999]
    assert measured.most_streams() == in_time[-1]["connections"]
    assert in_time == live["rows"][: len(in_time)]
    pages = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(path for path in ROOT.glob("deploy/**/*") if path.is_file()),
    ]
    pages = [path for path in pages if path.name != "CHANGELOG.md"]
    advised = {
        int(number) for path in pages for number in re.findall(r"VAD_MAX_STREAMS[`=: \"]+(\d+)", path.read_text())
    }
    assert advised == {measured.most_streams()}
    for page in ("live.md", "zh/live.md", "troubleshooting.md", "scaling.md", "../deploy/README.md"):
        assert "performance.md#live-streams" in (ROOT / "docs" / page).read_text(), page
    assert "docs/performance.md" in (Settings.model_fields["max_streams"].description or "")
    for row in models["rows"]:
        # Four fifths of the processor time of a core, by what the same table says that a chunk takes.
        assert row["streams"] * row["chunk_us"] * 10 / 1e6 == pytest.approx(0.8, rel=0.01), row["name"]


@pytest.mark.parametrize("case", ["growth"])
def test_pictures_of_speed_show_what_was_kept(case: str) -> None:
    kept = json.loads((ROOT / f"benchmarks/results/{case}.json").read_text())
    drawn = html.unescape((ROOT / f"docs/figures/{case}.svg").read_text())
    machine, day = kept["machine"], kept["taken"][:10]
    assert f"{machine['cpu']}, {machine['cores']} cores, {day}" in drawn, "run make plots"


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_readmes_name_what_is_read(page: str) -> None:
    sentence = (ROOT / page).read_text().partition("WAV")[2].partition("docs/audio.md")[0]
    named = set(re.findall(r"[A-Z][A-Za-z0-9-]+", sentence)) - {"WAV"}
    known = {kind.name for kind in CONTAINERS} | {suffix[1:].upper() for suffix in SUFFIXES}
    assert len(named) >= 10
    assert {name.upper() for name in named} <= known


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_readmes_curl_lines_work(name: str, auto_server: RunningServer, speech_like: Path, tmp_path: Path) -> None:
    server = auto_server
    lines = [line for line in (ROOT / name).read_text().splitlines() if line.startswith("curl ")]
    assert len(lines) >= 5
    for audio in set(re.findall(r"@([\w.]+)", "\n".join(lines))):
        shutil.copyfile(speech_like, tmp_path / audio)
    for line in lines:
        command = re.sub(r"(http://)?(localhost|127\.0\.0\.1):8000", server.url, line.split("   #")[0])
        command = command.replace("curl ", "curl -fsS ", 1)
        ended = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, check=False
        )
        assert ended.returncode == 0, (line, ended.stderr)
        assert ended.stdout or "-o " in line


def test_the_readmes_table_of_models_is_true(auto_server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    readme = importlib.import_module("model_table").readme
    models = auto_server.get("/models").json()["models"]
    for name in ("README.md", "README.zh.md"):
        assert readme(name, models) == (ROOT / name).read_text(), "run make docs"


def test_the_readmes_fit_on_a_screen() -> None:
    for name in ("README.md", "README.zh.md"):
        assert len((ROOT / name).read_text().splitlines()) <= 80


def test_the_readmes_count_the_formats() -> None:
    for name, words in (("README.md", "{} formats"), ("README.zh.md", "{} 种格式")):
        assert words.format(len(FORMATS)) in (ROOT / name).read_text()


def test_the_architectures_diffs_are_the_toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    assert importlib.import_module("toy_diffs").architecture_page() == (ROOT / "ARCHITECTURE.md").read_text()


def test_the_architecture_names_what_there_is() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in re.findall(r"`((?:app|tests|benchmarks|docs|web|docker|deploy)/[\w./]*)`", text):
        assert (ROOT / path).exists() or path == "app/web/static/", path
    rooms = {path.name for path in (ROOT / "app").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert {room for room in rooms if f"`app/{room}/" not in text} == set()
    for name in ("FAMILIES", "SEGMENTERS", "FORMATS"):
        [registry] = re.findall(rf"`{name}` in `([\w/.]+)`", text)
        assert re.search(rf"^{name}: ", (ROOT / registry).read_text(), re.MULTILINE)


@pytest.mark.slow
def test_the_command_lines_of_running_work(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    """As written, where the command is on the path. The Chinese page has the same lines."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    forked.write_script(tmp_path / ".venv/bin/fsmn-vad")
    path = f"{tmp_path / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    (tmp_path / "recordings").mkdir()
    for name in ("talk.mp3", "talk.ogg", "talk.wav", "recordings/a.wav"):
        shutil.copyfile(speech_like, tmp_path / name)
    settings = {"VAD_MODEL": str(small_model), "VAD_DEVICE": "cpu", "MODELSCOPE_CACHE": str(tmp_path / "none")}
    lines = [
        line for _, block in markdown.fenced((ROOT / "docs/running.md").read_text()) for line in block.splitlines()
    ]
    assert len(lines) >= 8
    for line in lines:
        command = line.replace(" fsmn DIR", " DIR")
        ended = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", command], cwd=tmp_path,
            env={**os.environ, **settings, "PATH": path}, capture_output=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, (line, ended.stderr)
        assert ended.stdout or "--out" in line or "export" in line


@pytest.mark.parametrize("example", ["detect.sh", "detect.py", "detect.mjs"])
def test_the_examples_work(example: str, server: RunningServer, speech_like: Path) -> None:
    runner = {"sh": "/bin/sh", "py": sys.executable, "mjs": "node"}[example.rsplit(".", 1)[1]]
    needed = {"detect.sh": ("curl", "jq"), "detect.mjs": ("node",)}.get(example, ())
    if not all(shutil.which(tool) for tool in needed):
        pytest.skip(f"needs {' and '.join(needed)}")
    command = [runner, str(ROOT / "examples" / example), str(speech_like), server.url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 2


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readmes_picture_moves_and_is_small(name: str) -> None:
    [path] = [
        ROOT / found
        for found in re.findall(r"^!\[.+\]\((docs/pictures/\S+)\)$", (ROOT / name).read_text(), re.MULTILINE)
    ]
    content = path.read_bytes()
    assert (content[:4], content[8:12], content.count(b"ANIM") > 0) == (b"RIFF", b"WEBP", True)
    assert content.count(b"ANMF") > 20, "frames"
    assert len(content) < 700_000
