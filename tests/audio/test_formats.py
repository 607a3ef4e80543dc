"""Files of every format, made here, decode to what went into them, at full length, with each ffmpeg at hand."""

from pathlib import Path

import numpy as np
import pytest

from app.audio.decode import AudioLimits
from app.audio.options import AudioInput
from app.audio.source import open_decoder
from tests.audio.ffmpegs import AVAILABLE, EACH
from tests.audio.recordings import RECIPES, Recipe, Samples, alike, decoded, voice, write

SECONDS = 1.7


def written(recipe: Recipe, folder: Path) -> tuple[Path, Samples]:
    samples = voice(SECONDS, recipe.rate, recipe.channels)
    try:
        return write(recipe, samples, folder), samples
    except LookupError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("binary", EACH)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_what_went_in_comes_out(recipe: Recipe, binary: str, tmp_path: Path, limits: AudioLimits) -> None:
    if binary not in AVAILABLE:
        pytest.skip(f"the {binary} ffmpeg is not installed")
    path, original = written(recipe, tmp_path)
    path = path.rename(tmp_path / "a.upload")  # as uploads are called: no decoder is helped by a name
    decoder = open_decoder(AudioInput(path), limits, AVAILABLE[binary])
    try:
        info = decoder.info
        assert (info.format, info.sample_rate, info.channels) == (recipe.container, recipe.rate, recipe.channels)
        samples = decoded(decoder)
    finally:
        decoder.close()
    assert -recipe.shorter <= len(samples) - len(original) <= recipe.longer
    assert decoder.decoded_frames == len(samples)
    assert {warning.code for warning in decoder.warnings()}.isdisjoint({"truncated", "damaged", "joined"})
    for channel in range(recipe.channels):
        if recipe.options and recipe.channels == 6 and channel == 3:
            continue  # low frequencies only, in codings that know of loudspeakers
        likeness, lag = alike(samples[:, channel], original[:, channel], recipe.late)
        assert likeness >= recipe.likeness, (channel, likeness, lag)
        assert -recipe.shorter <= lag <= recipe.late
        gain = float(np.abs(samples[:, channel]).mean() / np.abs(original[:, channel]).mean())
        assert 0.55 < gain < 1.15
