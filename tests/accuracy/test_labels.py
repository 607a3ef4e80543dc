"""The same speech in every form of label is the same speech."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.accuracy.made import DURATION_S, RATE, SPEECH

pytest.importorskip("scipy", reason="the extra `accuracy` is not installed")
pytest.importorskip("praatio", reason="the extra `accuracy` is not installed")
from praatio import textgrid
from scipy.io import savemat

from app.accuracy.corpus import NoLabelledAudio, Recording, find_recordings
from app.accuracy.labels import InvalidLabels, Sound, read_labels
from app.api.render import GivenSegments
from app.formats.registry import FORMATS, Format, RenderContext

SOUND = Sound("clip", round(DURATION_S * RATE), RATE)


def rttm(path: Path) -> None:
    """Of a diarization: two people who overlap within the second span, and another recording's line."""
    turns = [("clip", 1.0, 1.0), ("clip", 3.0, 1.0), ("clip", 3.5, 1.0), ("clip", 6.0, 0.5), ("other", 0.0, 8.0)]
    rows = [f"SPEAKER {name} 1 {start} {length} <NA> <NA> ann <NA> <NA>\n" for name, start, length in turns]
    path.write_text("".join(rows) + "NOSCORE clip 1 7.0 1.0 <NA> <NA> <NA> <NA> <NA>\n")


def text_grid(path: Path) -> None:
    """Words of one tier, silences among them, and a tier of points."""
    words = [(0.0, 1.0, "sil"), (1.0, 1.4, "a"), (1.4, 2.0, "b"), (3.0, 4.5, "c"), (6.0, 6.5, "d"), (6.5, 8.0, "")]
    grid = textgrid.Textgrid(0, DURATION_S)
    grid.addTier(textgrid.IntervalTier("words", words, 0, DURATION_S))
    grid.addTier(textgrid.PointTier("marks", [(5.0, "click")], 0, DURATION_S))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)


def audacity(path: Path) -> None:
    """With a span that is no speech, and the second line of a spectral selection."""
    rows = ["1.0\t2.0\tann", "3.0\t4.5\t", "5.0\t5.5\tmusic", "6.0\t6.5\tbob", "\\\t200.0\t3000.0"]
    path.write_text("\n".join(rows) + "\n")


def scv(path: Path) -> None:
    path.write_text("clip,0,1.0,0,1.0,2.0,1,2.0,3.0,0,3.0,4.5,1,4.5,6.0,0,6.0,6.5,1,6.5,8.0,0\n")


def mat(path: Path) -> None:
    """Sample-wise, a few samples short, beside another variable."""
    labels = np.zeros(SOUND.samples - 100)
    for start, end in SPEECH:
        labels[round(start * RATE) : round(end * RATE)] = 1
    savemat(path, {"y_label": labels, "fs": RATE})


def csv_in_s(path: Path) -> None:
    """With a semicolon, as spreadsheets of many countries write it, and a row that is no speech."""
    path.write_text("Start;End;Label\n1.0;2.0;ann\n3.0;4.5;bob\n5.0;5.5;Music\n6.0;6.5;\n")


def csv_of_many(path: Path) -> None:
    rows = ["clip.wav,1000,1000", "other.wav,0,8000", "clip.wav,3000,1500", "clip.wav,6000,500"]
    path.write_text("file,start_ms,duration_ms\n" + "\n".join(rows) + "\n")


def bare_table(path: Path) -> None:
    path.write_text("1.0,2.0\n3.0,4.5\n6.0,6.5\n")


def region(start: float, end: float, label: str = "Speech") -> dict[str, Any]:
    return {"type": "labels", "value": {"start": start, "end": end, "labels": [label]}}


def label_studio(path: Path) -> None:
    """A project: this recording's task as a person has left it, beside what a model has said, and another's."""
    right = [region(1.0, 2.0), region(3.0, 4.5), region(5.0, 5.5, "Noise"), region(6.0, 6.5), {"type": "relation"}]
    tasks = [
        {"data": {"audio": "/data/upload/3/0a1b2c3d-other.wav"}, "annotations": [{"result": [region(0, 8)]}]},
        {
            "data": {"audio": "/data/upload/3/9f8e7d6c-clip.wav"},
            "annotations": [{"was_cancelled": True, "result": [region(0, 8)]}, {"result": right}],
            "predictions": [{"result": [region(0, 8)]}],
        },
    ]
    path.write_text(json.dumps(tasks))


def label_studio_min(path: Path) -> None:
    regions = [{"start": start, "end": end, "labels": ["Speech"]} for start, end in SPEECH]
    path.write_text(json.dumps([{"audio": "/data/local-files/?d=calls/clip.wav", "label": regions, "id": 1}]))


def label_studio_csv(path: Path) -> None:
    regions = json.dumps([{"start": start, "end": end, "labels": ["Speech"]} for start, end in SPEECH])
    quoted = regions.replace('"', '""')
    path.write_text(f'audio,id,label\n/data/upload/1/9f8e7d6c-clip.wav,7,"{quoted}"\n')


def whisper(path: Path) -> None:
    path.write_text(json.dumps({"text": "…", "segments": [{"start": start, "end": end} for start, end in SPEECH]}))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("clip.rttm", rttm), ("clip.TextGrid", text_grid), ("clip.textgrid", text_grid), ("clip.txt", audacity),
        ("clip.scv", scv), ("clip.mat", mat), ("clip.csv", csv_in_s), ("clip.csv", csv_of_many),
        ("clip.csv", bare_table),
        ("clip.json", label_studio), ("clip.json", label_studio_min), ("clip.csv", label_studio_csv),
        ("clip.wav.json", whisper),
    ],
)  # fmt: skip
def test_every_form_says_the_same(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    assert labels_of(tmp_path) == Recording(tmp_path / "clip.wav", tmp_path / name, own=True)
    assert np.array(read_labels(tmp_path / name, SOUND)) == pytest.approx(np.array(SPEECH))


def labels_of(folder: Path, stem: str = "clip") -> Recording:
    """What is found for a recording in a folder."""
    soundfile.write(folder / f"{stem}.wav", np.zeros(RATE), RATE)
    (recording,) = find_recordings(folder).recordings
    return recording


_FOR_RECOGNISERS = ("clips", "whisperx", "kaldi", "lhotse")


@pytest.mark.parametrize("form", [each for each in FORMATS if not each.needs_audio], ids=lambda form: form.name)
@pytest.mark.parametrize("label", [None, "speech", "anna"])
def test_what_the_page_exports_is_read_back(form: Format, label: str | None, tmp_path: Path) -> None:
    """Corrected segments in any form, under the name that the page saves them by."""
    spans: list[dict[str, Any]] = [
        {"start_ms": round(1000 * start), "end_ms": round(1000 * end), "label": label} for start, end in SPEECH
    ]
    spans += [{"start_ms": 5_000, "end_ms": 5_500, "label": "music"}] if label else []
    audio = {
        "duration_ms": 8_000,
        "sample_rate": RATE,
        "channels": 1,
        "format": "WAV",
        "subtype": "PCM_16",
        "truncated": False,
    }
    given = GivenSegments.model_validate({"name": "My talk.wav", "audio": audio, "segments": spans})
    path = tmp_path / f"My talk.{form.extension}"
    path.write_bytes(b"".join(form.new(RenderContext("en")).finish(given.report("id"))))
    found = labels_of(tmp_path, "My talk")
    assert (found.labels, found.own) == (path, True)
    heard = found.spans(SOUND.samples, RATE)
    if label == "anna" and form.name in _FOR_RECOGNISERS:
        assert heard == [], "they hold speech alone, and this is somebody's name"
    else:
        assert heard == SPEECH


def test_one_file_may_serve_a_folder(tmp_path: Path) -> None:
    for stem in ("clip", "other", "a third"):
        soundfile.write(tmp_path / f"{stem}.wav", np.zeros(8 * RATE), RATE)
    (tmp_path / "transcripts.json").write_text('{"clip": "a text, and no times"}')
    for name, write in (("all.rttm", rttm), ("project.json", label_studio), ("all.csv", csv_of_many)):
        write(tmp_path / name)
        folder = find_recordings(tmp_path)
        assert [each.path.stem for each in folder.recordings] == ["clip", "other"]
        assert [each.spans(8 * RATE, RATE) for each in folder.recordings] == [SPEECH, [(0.0, 8.0)]]
        assert folder.note == "skipped, because without labels: a third.wav"
        (tmp_path / name).unlink()


def test_labels_may_lie_apart(tmp_path: Path) -> None:
    """As AMI's: audio of a meeting in its own folder, with a word more in its name than the labels'."""
    for folder in ("amicorpus/ES2002a/audio", "rttms/train", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    soundfile.write(tmp_path / "amicorpus/ES2002a/audio/ES2002a.Mix-Headset.wav", np.zeros(8 * RATE), RATE)
    (tmp_path / "rttms/train/ES2002a.rttm").write_text("SPEAKER ES2002a 1 1.5 2.0 <NA> <NA> FEE005 <NA> <NA>\n")
    # What lies beside another recording of the same name is that one's.
    soundfile.write(tmp_path / "elsewhere/clip.wav", np.zeros(RATE), RATE)
    (tmp_path / "elsewhere/clip.txt").write_text("0\t0.5\ta\n")
    soundfile.write(tmp_path / "clip.wav", np.zeros(RATE), RATE)
    folder = find_recordings(tmp_path)
    assert [(each.path.name, each.labels.name) for each in folder.recordings] == [
        ("ES2002a.Mix-Headset.wav", "ES2002a.rttm"), ("clip.wav", "clip.txt"),
    ]  # fmt: skip
    assert folder.recordings[0].spans(8 * RATE, RATE) == [(1.5, 3.5)]
    assert folder.unlabelled == [tmp_path / "clip.wav"]


def test_nobody_speaks_says_a_person_and_not_the_model(tmp_path: Path) -> None:
    task = {"data": {"audio": "clip.wav"}, "annotations": [{"result": []}], "predictions": [{"result": [region(0, 8)]}]}
    (tmp_path / "clip.json").write_text(json.dumps([task]))
    assert labels_of(tmp_path).spans(SOUND.samples, RATE) == []


def test_labels_of_another_recording_are_refused(tmp_path: Path) -> None:
    csv_of_many(tmp_path / "clip.csv")
    with pytest.raises(InvalidLabels, match=r"^clip\.csv: it names several recordings, and third is not among them"):
        read_labels(tmp_path / "clip.csv", Sound("third", SOUND.samples, RATE))
    (tmp_path / "clip.txt").write_text("1000\t2000\ta\n3000\t4500\tb\n")
    with pytest.raises(InvalidLabels, match=r"past the end of the audio, at 8\.0 s"):
        read_labels(tmp_path / "clip.txt", SOUND)


def test_a_folder_without_labels_says_where_they_are_looked_for(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    with pytest.raises(
        NoLabelledAudio, match=r"it has 1 audio files. A file of labels needs the name of its audio file \(\.rttm"
    ):
        find_recordings(tmp_path)
    with pytest.raises(NoLabelledAudio, match="there is no folder"):
        find_recordings(tmp_path / "nowhere")


def test_labels_end_where_the_audio_does(tmp_path: Path) -> None:
    (tmp_path / "clip.txt").write_text("-0.5\t1.0\ta\n7.0\t9.0\tb\n9.5\t9.6\tc\n")
    assert read_labels(tmp_path / "clip.txt", SOUND) == [(0.0, 1.0), (7.0, 8.0)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clip.rttm", "SPEAKER clip 1 here 1.0 <NA> <NA> a <NA> <NA>\n"),
        ("clip.rttm", "SPEAKER\n"),
        ("clip.txt", "1.0\n"),
        ("clip.scv", "clip,0,1.0\n"),
        ("clip.mat", "nothing that MATLAB wrote"),
        ("clip.TextGrid", "nothing that Praat wrote"),
        ("clip.txt", "2.0\t1.0\ta\n"),
        ("clip.txt", "nan\t1.0\ta\n"),
        ("clip.csv", "text,speaker\nhello,ann\n"),
        ("clip.json", '{"text": "hello"}'),
        ("clip.json", '["a", "b"]'),
        ("clip.json", "{"),
        ("clip.eaf", "<x"),
        ("clip.segments", "clip 1.0 2.0\n"),
        ("clip.TextGrid", 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 8\n'),
        ("clip.mat", "MATLAB 5.0 MAT-file".ljust(124) + "\x00\x01IM\x0e\x00\x00"),
        ("clip.json", "[" * 100_000),
        ("clip.json", '{"segments":[{"start_ms":0,"end_ms":1%s}]}' % ("0" * 400)),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidLabels, match=f"^{name}: "):
        read_labels(tmp_path / name, SOUND)


def test_sample_wise_labels_of_another_recording(tmp_path: Path) -> None:
    savemat(tmp_path / "clip.mat", {"y_label": np.zeros(SOUND.samples // 2)})
    with pytest.raises(InvalidLabels, match="no single vector"):
        read_labels(tmp_path / "clip.mat", SOUND)
