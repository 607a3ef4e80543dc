"""Nothing silent: what is odd is told at every door, in the words of one table."""

import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from app.warnings import MEANINGS
from tests.cli.calling import call
from tests.live.client import converse, cut, s16
from tests.server import RunningServer
from tests.signals import bursts

ROOT = Path(__file__).resolve().parents[1]
RATE = 16_000
CUT_SHORT = {"max_single_segment_time": "1000"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


@pytest.fixture(scope="module")
def cut_off(folder: Path) -> Path:
    """Half of a WAV: the first of its two bursts."""
    path = folder / "cut.wav"
    soundfile.write(path, bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]), RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + 5 * RATE * 2])
    return path


@pytest.fixture(scope="module")
def quiet(folder: Path) -> Path:
    path = folder / "quiet.wav"
    soundfile.write(path, np.full(RATE, 0.001, dtype=np.float32), RATE)
    return path


def post(server: RunningServer, *paths: Path, **fields: str) -> httpx.Response:
    return server.post("/vad", files=[("file", (path.name, path.read_bytes())) for path in paths], data=fields)


def codes(warnings: list[dict[str, str]]) -> list[str]:
    assert all(warning.keys() == {"code", "detail"} and warning["detail"] for warning in warnings)
    return [warning["code"] for warning in warnings]


def counted(server: RunningServer, code: str) -> float:
    found = re.search(rf'^vad_warnings_total{{code="{code}"}} (\S+)$', server.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_well_behaved_audio_has_none(server: RunningServer, speech_like: Path) -> None:
    response = post(server, speech_like)
    assert response.json()["warnings"] == []
    assert "x-vad-warnings" not in response.headers


def test_json(server: RunningServer, cut_off: Path) -> None:
    before = counted(server, "truncated")
    answer = post(server, cut_off, **CUT_SHORT).json()
    assert codes(answer["warnings"]) == ["truncated", "forced_cuts"]
    assert re.search(r"first begins at \d+ ms", answer["warnings"][1]["detail"])
    assert counted(server, "truncated") == before + 1


@pytest.mark.parametrize("form", ["csv", "srt", "rttm", "funasr", "wav", "zip", "md"])
def test_forms_without_room_have_the_header(server: RunningServer, cut_off: Path, form: str) -> None:
    response = post(server, cut_off, format=form, **CUT_SHORT)
    assert response.headers["x-vad-warnings"] == "truncated, forced_cuts"


def test_ndjson_summary(server: RunningServer, cut_off: Path) -> None:
    *_, summary = map(json.loads, post(server, cut_off, format="ndjson").text.splitlines())
    assert codes(summary["warnings"]) == ["truncated"]


def test_several_files(server: RunningServer, cut_off: Path, quiet: Path) -> None:
    response = post(server, cut_off, quiet)
    assert [codes(entry["warnings"]) for entry in response.json()] == [["truncated"], ["very_quiet"]]
    assert response.headers["x-vad-warnings"] == "truncated, very_quiet"


def test_the_alias(server: RunningServer, cut_off: Path) -> None:
    response = server.post("/v1/audio/speech/timestamps", files={"file": ("a.wav", cut_off.read_bytes())})
    assert response.headers["x-vad-warnings"] == "truncated"


def test_a_kept_analysis_tells_what_holds_for_its_options(server: RunningServer, cut_off: Path) -> None:
    with server.client() as client:
        kept = client.post("/vad", content=cut_off.read_bytes(), params={"keep": "true", **CUT_SHORT}).json()
        assert codes(kept["warnings"]) == ["truncated", "forced_cuts"]
        again = client.get(f"/analyses/{kept['analysis_id']}/segments")
        assert codes(again.json()["warnings"]) == ["truncated"]
        assert again.headers["x-vad-warnings"] == "truncated"


def test_live(server: RunningServer) -> None:
    chunks = cut(s16(bursts(5.0, [(2.0, 4.0)])), 3_200)
    before = counted(server, "forced_cuts")
    assert codes(converse(server, chunks).done["warnings"]) == []
    assert codes(converse(server, chunks, **CUT_SHORT).done["warnings"]) == ["forced_cuts"]
    assert codes(converse(server, [bytes(3_200)] * 5).done["warnings"]) == ["very_quiet"]
    assert counted(server, "forced_cuts") == before + 1


def test_the_command_line(small_model: Path, cut_off: Path, server: RunningServer) -> None:
    for where in ((), ("--url", server.url)):
        ended = call(small_model, "detect", cut_off, "--format", "csv", *where)
        assert ended.returncode == 0
        assert ended.stdout.startswith("index,start_ms")
        assert f"{cut_off}: truncated: the part that exists was decoded: 160000 of 320000 bytes" in ended.stderr


def test_batch_rows(small_model: Path, cut_off: Path, tmp_path: Path) -> None:
    assert call(small_model, "batch", cut_off, tmp_path / "out", "--workers", "1").returncode == 0
    [line] = (tmp_path / "out").glob("segments-*.jsonl")
    assert codes(json.loads(line.read_text())["warnings"]) == ["truncated"]


def test_every_code_is_in_the_table_and_in_the_documentation() -> None:
    source = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    assert set(re.findall(r'AnswerWarning\(\s*"(\w+)"', source)) == set(MEANINGS)
    documented = (ROOT / "docs/api.md").read_text().partition("## Warnings")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", documented, re.MULTILINE)) == dict(MEANINGS)
    page = (ROOT / "web/src/text/texts.ts").read_text()
    assert set(re.findall(r"^  warn_(\w+):", page, re.MULTILINE)) == set(MEANINGS)
