"""Reading a model directory: what is right loads, what is wrong is told by name, and nothing in it runs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import yaml

from app.runtime import start_runtime
from app.vad.errors import InvalidModel
from app.vad.models.family import Weights
from app.vad.models.fsmn.checkpoint import EncoderConfig, read_checkpoint
from app.vad.models.fsmn.family import FsmnFamily
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.models.hub import ModelPlace
from app.vad.models.weights import fingerprint
from app.vad.segment import segments_of
from app.vad.stream import VadStream
from tests.segmentations import endpoint
from tests.server import given_settings
from tests.signals import bursts
from tests.small_checkpoint import write_small_checkpoint

PUBLISHED = "9965901c9bfde4dc9facb1e916fb359ab953c9f7d619c95497ca04847193529f"


@pytest.fixture
def model(small_model: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(small_model, tmp_path / "model"))


def change_config(model: Path, section: str, **values: Any) -> None:
    document = yaml.safe_load((model / "config.yaml").read_text())
    document[section].update(values)
    (model / "config.yaml").write_text(yaml.safe_dump(document))


def change_weights(model: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    torch.save(change(torch.load(model / "model.pt", weights_only=True)), model / "model.pt")


def read_weights(directory: Path, fingerprint: str | None = None) -> Weights:
    place = ModelPlace(directory, directory.name, None, "directory")
    return FsmnFamily().read(place, fingerprint=fingerprint)


@pytest.mark.reference
def test_the_published_fingerprint(published_model: Path) -> None:
    assert read_weights(published_model, PUBLISHED.upper()).fingerprint == PUBLISHED
    assert FsmnFamily.known[0].fingerprint == PUBLISHED


@pytest.mark.parametrize(("rate", "layers", "mels"), [(8_000, 3, 20), (8_000, 1, 40), (16_000, 4, 80)])
def test_other_shapes_load_and_detect(tmp_path: Path, rate: int, layers: int, mels: int) -> None:
    directory = write_small_checkpoint(tmp_path, sample_rate=rate, layers=layers, n_mels=mels)
    scorer = FsmnScorer(read_checkpoint(directory), torch.device("cpu"))
    assert scorer.grid.sample_rate == rate
    stream = VadStream(scorer, endpoint().new_segmenter)
    found = segments_of(stream.accept_waveform(bursts(8, [(2, 4)], rate)) + stream.flush())
    assert len(found) == 1
    assert abs(found[0].start_ms - 1_800) <= 150
    assert abs(found[0].end_ms - 4_150) <= 250


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrapped_state_dicts_are_the_same_weights(model: Path, wrapper: str) -> None:
    before = read_checkpoint(model).fingerprint
    change_weights(model, lambda weights: {wrapper: weights, "epoch": 3})
    assert read_checkpoint(model).fingerprint == before


def test_the_fingerprint_follows_every_value_and_name(model: Path) -> None:
    weights = dict(read_checkpoint(model).weights)
    before = fingerprint(weights)
    name = "encoder.out_linear2.linear.bias"
    assert fingerprint({**weights, name: weights[name] + 1e-3}) != before
    assert fingerprint({(f"{key}x" if key == name else key): value for key, value in weights.items()}) != before
    assert fingerprint(dict(reversed(weights.items()))) == before


def test_a_wrong_fingerprint_shows_both(model: Path) -> None:
    found = read_checkpoint(model).fingerprint
    with pytest.raises(InvalidModel, match=found) as failure:
        read_weights(model, PUBLISHED)
    assert PUBLISHED in str(failure.value)


@pytest.mark.parametrize("name", ["config.yaml", "am.mvn", "model.pt"])
def test_missing_empty_and_binary_files(model: Path, name: str) -> None:
    for content in (b"", b"\xff\xfe\x00garbage" * 50):
        (model / name).write_bytes(content)
        with pytest.raises(InvalidModel, match=name):
            read_checkpoint(model)
    (model / name).unlink()
    with pytest.raises(InvalidModel, match=name):
        read_checkpoint(model)


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("frontend_conf", {"fs": 1_000_000}, "fs"),
        ("frontend_conf", {"fs": "16k"}, "fs"),
        ("frontend_conf", {"frame_shift": 20}, "frame_shift"),
        ("frontend_conf", {"window": "povey"}, "window"),
        ("frontend_conf", {"lfr_m": 4}, "lfr"),
        ("frontend_conf", {"lfr_n": 6}, "lfr"),
        ("frontend_conf", {"n_mels": 21}, "input_dim"),
        ("encoder_conf", {"fsmn_layers": 3}, r"fsmn\.2"),
        ("encoder_conf", {"fsmn_layers": -1}, "fsmn_layers"),
        ("encoder_conf", {"rorder": 2}, "rorder"),
        ("encoder_conf", {"lstride": 2}, "lstride"),
        ("encoder_conf", {"proj_dim": 9}, "shape"),
        ("model_conf", {"sil_pdf_ids": []}, "sil_pdf_ids"),
        ("model_conf", {"sil_pdf_ids": [99]}, "sil_pdf_ids"),
    ],
)
def test_unusable_configurations_are_told(model: Path, section: str, values: dict[str, Any], told: str) -> None:
    change_config(model, section, **values)
    with pytest.raises(InvalidModel, match=told):
        read_checkpoint(model)


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "a: 2020-99-99", "a: !!int x", 'a: !!float ""', "a: !!timestamp x", "!!python/name:os.mkdir"]
)
def test_what_is_not_yaml_is_told(model: Path, text: str) -> None:
    (model / "config.yaml").write_text(text)
    with pytest.raises(InvalidModel, match=r"config\.yaml is not YAML"):
        read_checkpoint(model)


def test_a_missing_section_is_told(model: Path) -> None:
    (model / "config.yaml").write_text("model: x\n")
    with pytest.raises(InvalidModel, match="frontend_conf"):
        read_checkpoint(model)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        *(("frontend_conf", key) for key in ("fs", "n_mels", "frame_length", "frame_shift", "lfr_m", "lfr_n")),
        *(("encoder_conf", key) for key in EncoderConfig.__dataclass_fields__),
    ],
)
def test_a_missing_key_is_told(model: Path, section: str, key: str) -> None:
    document = yaml.safe_load((model / "config.yaml").read_text())
    del document[section][key]
    (model / "config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(InvalidModel, match=rf"config\.yaml: {key} "):
        read_checkpoint(model)


async def test_the_models_own_defaults_reach_the_options(model: Path) -> None:
    change_config(model, "model_conf", max_end_silence_time=640)
    assert (await options_in_force(model))["max_end_silence_time"] == 640
    change_config(model, "model_conf", max_end_silence_time=-3)
    with pytest.raises(InvalidModel, match=rf"{model.name}: the defaults .* max_end_silence_time"):
        await options_in_force(model)


async def options_in_force(directory: Path) -> dict[str, Any]:
    runtime = await start_runtime(given_settings({"VAD_MODEL": str(directory), "VAD_MODELS": ""}))
    try:
        return runtime.models.default.segmentation({}).document()
    finally:
        runtime.close()


NAME = "encoder.fsmn.0.linear.linear.weight"
WRONG_WEIGHTS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda weights: {name: value for name, value in weights.items() if name != NAME}, NAME),
    (lambda weights: {**weights, "extra.weight": torch.zeros(3)}, "extra.weight"),
    (lambda weights: {**weights, NAME: torch.zeros(3, 3)}, r"\(3, 3\)"),
    (lambda weights: {**weights, NAME: weights[NAME].long()}, "int64"),
    (lambda weights: {**weights, NAME: weights[NAME].to_sparse()}, "plain tensor"),
    (lambda weights: {**weights, NAME: weights[NAME].to("meta")}, "plain tensor"),
    (lambda weights: {**weights, NAME: torch.zeros(1, dtype=torch.half).expand(10**12)}, "1000000000000"),
    (lambda weights: {**weights, NAME: weights[NAME].double() * 1e300}, "finite"),
    (lambda weights: {**weights, NAME: torch.full_like(weights[NAME], float("nan"))}, "finite"),
    (lambda weights: [1, 2, 3], "state dict"),
    (lambda weights: {"a": 1}, "state dict"),
]


@pytest.mark.parametrize(("change", "told"), WRONG_WEIGHTS)
def test_wrong_weights_are_told(model: Path, change: Callable[[dict[str, Any]], Any], told: str) -> None:
    change_weights(model, change)
    with pytest.raises(InvalidModel, match=told) as failure:
        read_checkpoint(model)
    assert str(model / "model.pt") in str(failure.value)


@pytest.mark.parametrize("newest_format", [True, False])
def test_whatever_is_damaged_nothing_but_invalid_model_comes_of_it(model: Path, newest_format: bool) -> None:
    weights = torch.load(model / "model.pt", weights_only=True)
    torch.save(weights, model / "model.pt", _use_new_zipfile_serialization=newest_format)
    good, random, refused = (model / "model.pt").read_bytes(), Random(0), 0
    for _ in range(150):
        damaged = bytearray(good)
        for _ in range(3):
            damaged[random.randrange(3_000)] = random.randrange(256)
        (model / "model.pt").write_bytes(damaged)
        try:
            read_checkpoint(model)
        except InvalidModel:
            refused += 1
    assert refused > 50


def test_a_truncated_checkpoint_is_told(model: Path) -> None:
    content = (model / "model.pt").read_bytes()
    (model / "model.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidModel, match=r"model\.pt"):
        read_checkpoint(model)


class Canary:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_in_the_checkpoint_does_not_run(model: Path, tmp_path: Path) -> None:
    sung = tmp_path / "canary-sang"
    torch.save({"encoder": Canary(sung)}, model / "model.pt")
    with pytest.raises(InvalidModel, match="nothing of it was run"):
        read_checkpoint(model)
    assert not sung.exists()


@pytest.mark.parametrize(
    "content",
    [
        "<Nnet>\n</Nnet>\n",
        "<AddShift> 100 100\n<LearnRateCoef> 0 [ 1 2 3 ]\n<Rescale> 100 100\n<LearnRateCoef> 0 [ 1 2 3 ]\n",
        "<AddShift> 100 100\n<LearnRateCoef> 0 [ one two ]\n",
        f"<AddShift> 100 100\n<LearnRateCoef> 0 [ {'nan ' * 100}]\n",
        f"<AddShift> 100 100\n<LearnRateCoef> 0 [ {'1e50 ' * 100}]\n",
        f"<AddShift> 99 99\n<LearnRateCoef> 0 [ {'1 ' * 100}]\n",
    ],
)
def test_damaged_normalisation_is_told(model: Path, content: str) -> None:
    (model / "am.mvn").write_text(content)
    with pytest.raises(InvalidModel, match=r"am\.mvn.*AddShift"):
        read_checkpoint(model)
