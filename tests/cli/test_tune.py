"""`fsmn-vad tune` as a person calls it: over labelled audio that is made here, to a preset that requests then name."""

import json
import signal
import time
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("scipy", reason="the extra `tune` is not installed")
pytest.importorskip("praatio", reason="the extra `tune` is not installed")

from app.accuracy import fitting, tuning
from app.presets import read_presets
from app.registry import Registry
from tests.cli.calling import call, environment
from tests.forked import Forked
from tests.signals import bursts
from tests.waiting import eventually

SPANS = [(1.0, 3.0), (4.0, 6.5), (8.0, 9.0)]
"""5.5 s of speech in 10 s."""
FEW = ([{"threshold": on, "neg_threshold": on} for on in (0.3, 0.6)], [{"pad_end_ms": ms} for ms in (0, 20)])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few settings, and little audio is enough."""
    monkeypatch.setattr(fitting, "COORDINATES", FEW)
    monkeypatch.setattr(tuning, "LEAST_SPEECH_S", 20)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five clips, each with its labels in a form of its own."""
    folder = tmp_path / "calls"
    folder.mkdir()
    for number in range(5):
        soundfile.write(folder / f"clip-{number}.wav", bursts(10.0, SPANS, seed=number), 16_000, subtype="PCM_16")
    rows = [{"start_ms": round(1000 * start), "end_ms": round(1000 * end)} for start, end in SPANS]
    regions = [{"value": {"start": start, "end": end, "labels": ["Speech"]}} for start, end in SPANS]
    (folder / "clip-0.json").write_text(json.dumps({"segments": rows}))
    (folder / "clip-1.labels.txt").write_text("".join(f"{start}\t{end}\tann\n" for start, end in SPANS))
    (folder / "clip-2.csv").write_text("start,end\n" + "".join(f"{start},{end}\n" for start, end in SPANS))
    tasks = [{"data": {"audio": f"clip-{number}.wav"}, "annotations": [{"result": regions}]} for number in (3, 4)]
    (folder / "project.json").write_text(json.dumps(tasks))
    return folder


def settings(model: Path) -> dict[str, str]:
    return {"VAD_MODELS": str(model)}


@pytest.mark.usefixtures("quick")
def test_from_labelled_audio_to_a_preset(small_model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "presets.json"
    ended = call(small_model, "tune", data, "--out", out, "--name", "calls", **settings(small_model))
    assert ended.returncode == 0, ended.stderr
    name = small_model.name
    assert f"{name}: 5 of 5 files scored" in ended.stderr
    for word in (f"{name} *", "missed", "false alarms", "starts off, ms", "CPU s/h", "Measured on 5 files"):
        assert word in ended.stdout
    assert f"Use it: VAD_PRESETS={out} fsmn-vad serve, then preset=calls" in ended.stdout
    (preset,) = read_presets(out, Registry().segmenters)
    assert (preset.name, preset.model, preset.live_model, preset.mode) == ("calls", name, name, "tight")
    assert set(preset.options) >= {"threshold", "neg_threshold", "min_speech_duration_ms", "min_silence_duration_ms"}
    assert set(preset.reasons) == {"model", "mode", *preset.options}
    assert preset.title == "Tuned for f1 on calls: 5 files, 0.5 min of speech."
    asked = call(
        small_model, "detect", data / "clip-0.wav", "--preset", "calls", "-f", "json",
        VAD_PRESETS=str(out), **settings(small_model),
    )  # fmt: skip
    assert json.loads(asked.stdout)["options"].items() >= preset.options.items()


@pytest.mark.usefixtures("quick")
def test_twice_the_same_bytes_and_other_presets_stay(small_model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "presets.json"
    other = {"name": "other", "model": "silero", "mode": "tight", "options": {"threshold": 0.4}}
    out.write_text(json.dumps({"presets": [other]}))
    written = []
    for _ in range(2):
        assert call(small_model, "tune", data, "--out", out, **settings(small_model)).returncode == 0
        written.append(out.read_bytes())
    assert written[0] == written[1]
    assert [each.name for each in read_presets(out, Registry().segmenters)] == ["other", "tuned"]


def test_too_little_audio_writes_nothing_without_force(
    small_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "COORDINATES", FEW)
    out = tmp_path / "presets.json"
    ended = call(small_model, "tune", data, "--out", out, **settings(small_model))
    assert (ended.returncode, out.exists()) == (1, False)
    assert "Too little to tune on: 5 files with 28 s of speech" in ended.stderr
    assert "Nothing was written; --force writes it." in ended.stderr
    assert "Measured on 5 files" in ended.stdout
    for path in data.glob("clip-[1-4].wav"):
        path.unlink()
    ended = call(small_model, "tune", data, "--out", out, "--force", **settings(small_model))
    assert (ended.returncode, out.exists()) == (0, True)
    assert "Only one file" in ended.stdout


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_used_is_named_and_left_out(small_model: Path, data: Path, tmp_path: Path) -> None:
    (data / "broken.wav").write_bytes(b"no audio")
    (data / "broken.txt").write_text("1\t2\ta\n")
    (data / "clip-0.json").write_text("{")
    soundfile.write(data / "unlabelled.wav", bursts(1.0, []), 16_000)
    ended = call(small_model, "tune", data, "--out", tmp_path / "presets.json", "--force", **settings(small_model))
    assert ended.returncode == 0
    assert "skipped, because without labels: unlabelled.wav" in ended.stderr
    assert "broken.wav: skipped: " in ended.stderr
    assert "clip-0.wav: skipped: clip-0.json: Expecting property name" in ended.stderr
    assert "Measured on 4 files" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("{data}/none",), 2, "there is no folder"),
        (("{tmp}",), 2, "no audio with labels in"),
        (("{data}", "--models", "nobody"), 3, "nobody"),
        (("{data}", "--condition", "rain:3"), 2, "'rain:3': there are: clean, telephone"),
        (("{data}", "--objective", "auc"), 2, "auc"),
        (("{data}", "--name", "asr"), 2, "--name asr: the service has a preset of this name"),
        (("{data}", "--name", "two words"), 2, "--name two words"),
        (("{data}", "--out", "{data}/clip-0.wav"), 2, "the file was not changed; name another file"),
        (("{data}", "--out", "{tmp}/nowhere/presets.json"), 2, "there is no folder"),
    ],
)
def test_what_is_asked_wrongly(
    small_model: Path, data: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, complaint: str
) -> None:
    (tmp_path / "empty").mkdir()
    given = [each.format(data=data, tmp=tmp_path / "empty") for each in arguments]
    ended = call(small_model, "tune", *given, **settings(small_model))
    assert (ended.returncode, complaint in ended.stderr) == (status, True), ended.stderr
    assert not list(tmp_path.rglob("presets.json"))


@pytest.mark.slow
def test_ctrl_c_leaves_what_is_known(small_model: Path, data: Path, tmp_path: Path) -> None:
    """The signal comes while the second model is being fitted: the first one's table and preset are there."""
    out = tmp_path / "presets.json"
    models = f"one={small_model},other={small_model}"
    said, complained = tmp_path / "stdout", tmp_path / "stderr"
    with said.open("wb") as written, complained.open("wb") as told:
        process = Forked(
            ["tune", str(data), "--out", str(out), "--force", "--models", "one,other"],
            env={**environment(f"one={small_model}", VAD_MODELS=models.split(",", 1)[1]), "OMP_NUM_THREADS": "1"},
            stdout=written, stderr=told,
        )  # fmt: skip
    eventually(lambda: "other: 5 of 5 files scored" in complained.read_text())
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Interrupted: 1 model done." in complained.read_text()
    assert "one *" in said.read_text()
    assert read_presets(out, Registry().segmenters)[0].model == "one"
