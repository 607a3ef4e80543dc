"""Noise has the level that is asked for, and a telephone its band."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.accuracy.made import SPEECH, write_clip

pytest.importorskip("scipy", reason="the extra `accuracy` is not installed")

from app.accuracy.conditions import UnknownCondition, parse
from app.accuracy.corpus import RATE, Clip, NoLabelledAudio, read_corpus


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    write_clip(tmp_path, "clip")
    (found,) = read_corpus(tmp_path)
    return found


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("name", ["white:5", "pink:0", "music:-3.5"])
def test_noise_lies_so_far_under_the_speech(clip: Clip, tmp_path: Path, name: str) -> None:
    condition = parse(name)
    noisy, rate = soundfile.read(condition.write(clip, 4, tmp_path), dtype="float64")
    noise = noisy - clip.samples
    spoken = np.concatenate([clip.samples[round(start * RATE) : round(end * RATE)] for start, end in SPEECH])
    assert rate == RATE
    assert level_db(spoken) - level_db(noise) == pytest.approx(condition.decibel, abs=0.05)


def test_noises_are_what_they_are_called(clip: Clip, tmp_path: Path) -> None:
    """White: as much power in each Hz. Pink: half as much in each at twice the frequency, 3 dB."""

    def slope_db(name: str) -> float:
        noise = soundfile.read(parse(name).write(clip, 0, tmp_path))[0] - clip.samples
        power = np.abs(np.fft.rfft(noise)) ** 2
        hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
        low, high = (float(power[(hertz > at) & (hertz < 1.5 * at)].mean()) for at in (500, 4000))
        return 10 * np.log10(low / high) / 3  # three octaves apart

    assert slope_db("white:0") == pytest.approx(0, abs=0.3)
    assert slope_db("pink:0") == pytest.approx(3, abs=0.3)


def test_each_clip_has_a_noise_of_its_own_and_every_run_the_same(clip: Clip, tmp_path: Path) -> None:
    heard = [soundfile.read(parse("white:5").write(clip, seed, tmp_path))[0] for seed in (0, 1, 0)]
    assert np.array_equal(heard[0], heard[2])
    assert not np.array_equal(heard[0], heard[1])


def test_a_telephone(clip: Clip, tmp_path: Path) -> None:
    path = parse("telephone").write(clip, 0, tmp_path)
    info = soundfile.info(path)
    assert (info.samplerate, info.subtype, info.frames) == (8_000, "ULAW", len(clip.samples) // 2)
    samples = soundfile.read(path)[0]
    power, hertz = np.abs(np.fft.rfft(samples)) ** 2, np.fft.rfftfreq(len(samples), 1 / 8_000)
    inside = power[(hertz > 400) & (hertz < 3300)].mean()
    for outside in (hertz < 250, hertz > 3500):
        # 8 bits of mu-law leave their own noise some 38 dB below.
        assert 10 * np.log10(inside / power[outside].mean()) > 30


def test_clean_is_the_file_itself(clip: Clip, tmp_path: Path) -> None:
    assert parse("clean").write(clip, 0, tmp_path) == clip.path


def test_a_recording_of_noise(clip: Clip, tmp_path: Path) -> None:
    """It is shorter than the clip and of another rate: it goes round, and has its level."""
    path = tmp_path / "kitchen.flac"
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, 24_000), 8_000)
    condition = parse(f"{path}:3")
    assert condition.title == "kitchen 3 dB"
    noise = soundfile.read(condition.write(clip, 1, tmp_path), dtype="float64")[0] - clip.samples
    assert np.allclose(noise[:4000], noise[48_000:52_000], atol=1e-6)
    spoken = np.concatenate([clip.samples[round(start * RATE) : round(end * RATE)] for start, end in SPEECH])
    assert level_db(spoken) - level_db(noise) == pytest.approx(3, abs=0.05)


def test_a_level(clip: Clip, tmp_path: Path) -> None:
    quiet = soundfile.read(parse("level:-40").write(clip, 0, tmp_path), dtype="float64")[0]
    assert level_db(quiet) == pytest.approx(level_db(clip.samples) - 40, abs=0.01)
    assert (parse("level:-40").title, parse("level:6").title) == ("level -40 dB", "level +6 dB")


@pytest.mark.parametrize("name", ["brown:5", "white", "white:loud", "clean:3", "telephone:8", "level", "none.wav:3"])
def test_what_is_no_condition(name: str) -> None:
    with pytest.raises(UnknownCondition, match="there are: clean, telephone"):
        parse(name)


def test_a_folder_without_labels(tmp_path: Path) -> None:
    write_clip(tmp_path, "clip").with_suffix(".txt").unlink()
    with pytest.raises(NoLabelledAudio):
        read_corpus(tmp_path)
