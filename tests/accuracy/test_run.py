"""The whole harness, as it is called, over a set whose right answers are known: the small model hears loud sound as
speech, and the labels say where it is, or say something else by a known amount."""

import contextlib
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.accuracy.made import shifted, write_clip
from tests.cli.calling import kept_process

for package in ("sklearn", "scipy", "matplotlib", "praatio"):
    pytest.importorskip(package, reason="the extra `accuracy` is not installed")

from benchmarks.accuracy.__main__ import main  # noqa: E402
from benchmarks.accuracy.peers import PEERS, Peer  # noqa: E402
from benchmarks.plan import Plan  # noqa: E402
from benchmarks.process import Missing  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
_TIGHT = "close=fsmn,mode=tight,threshold=0.5,min_speech_duration_ms=0,min_silence_duration_ms=0,speech_pad_ms=0"


def settings(model: Path) -> dict[str, str]:
    """Of a service that has this model alone."""
    return {"VAD_MODEL": str(model), "VAD_MODELS": str(model)}


def command(data: Path, out: Path, *arguments: str) -> list[str]:
    return [str(data), "--out", str(out), "--no-peers", *arguments]


@pytest.fixture(scope="module")
def told(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    """Three clips labelled as they are, and a fourth whose labels are 200 ms early: all is found 200 ms late."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out")
    for number in range(3):
        write_clip(data, f"right-{number}")
    write_clip(data, "wrong", labels=shifted(-0.2))
    setting = _TIGHT.replace("=fsmn", f"={small_model.name}")
    arguments = command(data, out, "--setting", setting, "--condition", "clean", "--condition", "music:10")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), kept_process():
        patch.setattr(sys, "argv", ["accuracy", *arguments])
        for name, value in settings(small_model).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "benchmarks/accuracy/__main__.py"), run_name="__main__")
    assert ended.value.code == 0
    return json.loads((out / "accuracy.json").read_text()), said.getvalue(), out


def test_the_figures_are_those_that_the_set_was_made_for(told: tuple[dict[str, Any], str, Path]) -> None:
    document, _, _ = told
    clean, noisy = document["segments"]
    assert (clean["setting"], clean["condition"], noisy["condition"]) == ("close", "clean", "music:10")
    # Of 4 × 300 frames of speech 3 × 20 are missed, of 4 × 500 others as many found: the small model's own edges
    # are a frame or two off, for its frames are 25 ms.
    assert clean["miss_rate"][0] == pytest.approx(60 / 1200, abs=0.02)
    assert clean["false_alarm_rate"][0] == pytest.approx(60 / 2000, abs=0.02)
    assert clean["onset_median_ms"][0] <= 20
    assert clean["onset_p95_ms"][0] == pytest.approx(200, abs=20), "of 12 starts the three late ones are the last"
    assert clean["segments"] == 12
    assert clean["miss_rate"][1] < clean["miss_rate"][0] < clean["miss_rate"][2]
    # Of two values of the probability, and their rates: (1 + 0.95 - 0.03) / 2.
    assert document["scores"][0]["auc"][0] == pytest.approx(0.96, abs=0.015)
    assert document["about"]["clips"] == 4
    assert document["about"]["speech_share"] == pytest.approx(3 / 8)
    assert noisy["f1"][0] < clean["f1"][0], "loud sound is all that this model knows, and music is loud"


def test_it_tells_them_as_tables(told: tuple[dict[str, Any], str, Path]) -> None:
    document, said, out = told
    text = (out / "accuracy.md").read_text()
    assert text in said
    f1 = f"{document['segments'][0]['f1'][0]:.3f}".removeprefix("0")
    assert f"| close | {f1} (" in text
    assert "### Segments in full: music 10 dB" in text


def test_it_draws_both_curves(told: tuple[dict[str, Any], str, Path]) -> None:
    document, _, out = told
    for name in ("accuracy-roc.svg", "accuracy-det.svg"):
        picture = ElementTree.fromstring((out / name).read_text())
        words = {"".join(each.itertext()).strip() for each in picture.iter("{http://www.w3.org/2000/svg}text")}
        assert {"clean", "music 10 dB", "false alarm rate", document["scores"][0]["model"]} <= words


@pytest.fixture
def small_service(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment has the small model alone; its name."""
    for name, value in settings(small_model).items():
        monkeypatch.setenv(name, value)
    return small_model.name


def test_every_mode_without_a_setting(small_service: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_clip(tmp_path / "data", "one")
    assert main(command(tmp_path / "data", tmp_path / "out", "--condition", "clean", "--model", small_service)) == 0
    rows = json.loads((tmp_path / "out" / "accuracy.json").read_text())["segments"]
    assert [row["setting"] for row in rows] == [
        f"{small_service}, {mode}" for mode in ("endpoint", "tight", "smoothed", "binarize")
    ]
    assert rows[0]["f1"][1] is None, "one file has no interval"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--condition", "brown:5"], "'brown:5': there are"),
        (["--model", "nobody"], "there is no model 'nobody'"),
        (["--setting", "a=nobody"], "there is no model 'nobody'"),
        (["--setting", "a={},window=3"], "there is no such option"),
    ],
)
def test_what_is_asked_wrongly(
    small_service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    write_clip(tmp_path, "one")
    assert main(command(tmp_path, tmp_path / "out", *(each.format(small_service) for each in arguments))) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_peers_that_are_not_here_are_told(
    small_service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAD_PEERS", str(tmp_path / "nowhere"))
    write_clip(tmp_path, "one")
    arguments = ["--condition", "clean", "--setting", f"a={small_service}", "--out", str(tmp_path / "out")]
    assert main([str(tmp_path), *arguments]) == 0
    missing = json.loads((tmp_path / "out" / "accuracy.json").read_text())["about"]["missing"]
    assert set(missing) == {peer.name for peer in PEERS}
    assert "not judged: TEN VAD: its environment is not here (make bench-peers)" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_answers_for_every_frame(peer: Peer, tmp_path: Path) -> None:
    path = write_clip(tmp_path, "one")
    try:
        (heard,) = peer.hear(Plan(quick=True, repeat=1).peers_python, [(path, 800)], tmp_path)
    except Missing as error:
        pytest.skip(f"{peer.name}: {error}")
    assert len(heard.scores) == 800
    assert ((heard.scores >= 0) & (heard.scores <= 1)).all()
    for start, end in heard.segments[peer.setting.name]:
        assert 0 <= start < end <= 8.02, "frames of 16 ms may reach past the end"


def test_kinds_of_recordings_are_judged_apart_and_blind_spots_told(small_service: str, tmp_path: Path) -> None:
    """Two subfolders with labels, and one without, all of whose loud sound the small model calls speech."""
    data = tmp_path / "data"
    for name in ("calls", "rooms", "coughs"):
        (data / name).mkdir(parents=True)
    write_clip(data / "calls", "one")
    write_clip(data / "rooms", "two", labels=shifted(-0.3))
    write_clip(data / "coughs", "three").with_suffix(".txt").unlink()
    setting = _TIGHT.replace("=fsmn", f"={small_service}")
    assert main(command(data, tmp_path / "out", "--setting", setting, "--condition", "clean")) == 0
    told = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert told["about"]["conditions"] == {"calls clean": "calls clean", "rooms clean": "rooms clean"}
    calls, rooms = told["segments"]
    assert (calls["condition"], rooms["condition"]) == ("calls clean", "rooms clean")
    assert calls["miss_rate"][0] < 0.05 < rooms["miss_rate"][0]
    assert told["blind"][small_service].keys() == {"coughs"}
    assert told["blind"][small_service]["coughs"] > 0.9
    picture = ElementTree.fromstring((tmp_path / "out" / "accuracy-f1.svg").read_text())
    words = {"".join(each.itertext()).strip() for each in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"calls clean", "rooms clean", "mean"} <= words
    assert "### Loud frames without labels called speech" in (tmp_path / "out" / "accuracy.md").read_text()
