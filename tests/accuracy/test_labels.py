"""The same speech in every form of label is the same speech."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.accuracy.made import DURATION_S, RATE, SPEECH

pytest.importorskip("scipy", reason="the extra `accuracy` is not installed")
pytest.importorskip("praatio", reason="the extra `accuracy` is not installed")
from praatio import textgrid
from scipy.io import savemat

from benchmarks.accuracy.labels import InvalidLabels, Sound, find_labels, read_labels

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


@pytest.mark.parametrize(
    ("name", "write"),
    [("clip.rttm", rttm), ("clip.TextGrid", text_grid), ("clip.txt", audacity), ("clip.scv", scv), ("clip.mat", mat)],
)
def test_every_form_says_the_same(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    assert find_labels(tmp_path / "clip.wav") == tmp_path / name
    assert np.array(read_labels(tmp_path / name, SOUND)) == pytest.approx(np.array(SPEECH))


def test_one_rttm_may_serve_a_folder(tmp_path: Path) -> None:
    rttm(tmp_path / "everything.rttm")
    assert find_labels(tmp_path / "clip.wav") == tmp_path / "everything.rttm"
    assert read_labels(tmp_path / "everything.rttm", SOUND) == SPEECH
    assert read_labels(tmp_path / "everything.rttm", Sound("other", SOUND.samples, RATE)) == [(0.0, 8.0)]
    assert read_labels(tmp_path / "everything.rttm", Sound("a third", SOUND.samples, RATE)) == []


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
