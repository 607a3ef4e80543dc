"""The models of a process: which one a request gets, what is loaded for it, what follows live streams in its place."""

import asyncio
import hashlib
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.registry import Plugin, Registry
from app.runtime import Runtime, start_runtime
from app.vad.blocks import Block, Scored
from app.vad.errors import InvalidModel, InvalidOption, ModelNotFound
from app.vad.grid import Grid
from app.vad.models.family import KnownModel, ModelSpec, Weights
from app.vad.models.hub import ModelHub, ModelPlace
from app.vad.posteriors import Posteriors
from tests.api.test_models import wav
from tests.live.client import converse
from tests.server import given_settings, local_server

SECOND = wav(np.zeros(16_000, np.float32))


class QuietScorer:
    """Hears no speech."""

    grid = Grid(sample_rate=16_000, frame_samples=160, shift_samples=160)
    tile_frames = 1_000

    def score(self, blocks: Sequence[Block[int]]) -> list[Scored[int]]:
        return [Scored(_silence(self.grid.whole_frames(len(block.samples))), 0) for block in blocks]

    def new_pool(self, capacity: int) -> None:
        return None


def _silence(frames: int) -> Posteriors:
    return Posteriors(np.zeros(frames, np.float32), np.full(frames, -60, np.float32))


def known(name: str, **fields: Any) -> KnownModel:
    return KnownModel(name, f"somewhere/{name}", name, "none", 16_000, **fields)


class QuietFamily:
    """Models that come from nowhere; under the name of one of the project's families, in place of it."""

    default_mode = "tight"

    def __init__(self, name: str, models: Sequence[KnownModel], here: Sequence[str]) -> None:
        """`here`: sources that need no download."""
        self.name, self.known, self.here = name, models, set(here)
        self.downloaded: list[str] = []

    def recognises(self, directory: Path) -> bool:
        return False

    def find(self, spec: ModelSpec, hub: ModelHub) -> ModelPlace:
        if spec.source not in self.here:
            if not hub.allow_download:
                raise ModelNotFound(f"{spec.source} is not here")
            self.downloaded.append(spec.source)
            self.here.add(spec.source)
        return ModelPlace(Path(spec.source), spec.source, None, "cache")

    def read(self, place: ModelPlace, *, fingerprint: str | None = None) -> Weights:
        return Weights(place, hashlib.sha256(place.model_id.encode()).hexdigest(), None)

    def place(self, weights: Weights, *, device: str, dtype: str) -> QuietScorer:
        return QuietScorer()

    def files(self, place: ModelPlace) -> Sequence[Path]:
        return ()


def registry_of(*families: QuietFamily) -> Registry:
    return Registry.of([Plugin(families)])


@asynccontextmanager
async def started(registry: Registry, *, on_demand: bool = False, **settings: str) -> AsyncIterator[Runtime]:
    """What a server starts with, or a command (`on_demand`)."""
    runtime = await start_runtime(given_settings(settings), registry, on_demand=on_demand)
    try:
        yield runtime
    finally:
        await asyncio.to_thread(runtime.close)


async def name_of_chosen(runtime: Runtime, asked: str | None, *, live: bool = False) -> str:
    return (await runtime.models.choose(asked, live=live)).model.info.name


def loaded(runtime: Runtime) -> list[str]:
    return [model.info.name for model in runtime.models]


# ---- listing


@pytest.mark.slow
def test_models_are_listed_while_others_are_being_loaded(small_model: Path, tmp_path: Path) -> None:
    """The more models there are, the likelier it is that the list changes while it is walked through."""
    names = [f"m{number}" for number in range(100)]
    family = QuietFamily("quiet", [known(name) for name in names], [f"somewhere/{name}" for name in names])
    failures: list[str] = []
    interval = sys.getswitchinterval()
    with local_server(
        small_model, tmp_path, {"VAD_MODELS": "auto"}, registry=Registry.of([Plugin([family])])
    ) as server:
        over = threading.Event()

        def look() -> None:
            with server.client() as client:
                while not over.is_set():
                    answer = client.get("/models")
                    if answer.status_code != 200:
                        failures.append(answer.text)

        watching = threading.Thread(target=look)
        sys.setswitchinterval(1e-6)
        try:
            watching.start()
            with server.client() as client:
                for name in names:
                    assert client.post("/vad", params={"model": name}, content=SECOND).status_code == 200
        finally:
            sys.setswitchinterval(interval)
            over.set()
            watching.join()
    assert failures == []


# ---- what takes a model's place on live streams

AHEAD = known("ahead", live=False, live_as="stream")
THREE = (AHEAD, known("stream"), known("other"))
ALL_HERE = [each.source for each in THREE]


@pytest.mark.parametrize("settings", [{"VAD_MODEL": "other", "VAD_MODELS": "ahead"}, {"VAD_MODEL": "ahead"}])
async def test_a_model_that_is_named_brings_what_takes_its_place_live(settings: dict[str, str]) -> None:
    registry = registry_of(QuietFamily("quiet", (*THREE, known("more")), [*ALL_HERE, "somewhere/more"]))
    async with started(registry, **{"VAD_MODELS": "other", **settings}) as runtime:
        assert "stream" not in loaded(runtime), "it is loaded at its first use"
        assert await runtime.models.available() == ["stream"]
        assert await name_of_chosen(runtime, "ahead", live=True) == "stream"
        assert await name_of_chosen(runtime, "ahead+other", live=True) == "stream+other"
        assert await name_of_chosen(runtime, "ahead") == "ahead"
        if settings["VAD_MODEL"] == "ahead":
            assert await name_of_chosen(runtime, None, live=True) == "stream"
        with pytest.raises(InvalidOption, match="more is not in VAD_MODELS of this service"):
            await runtime.models.choose("more", live=True)


async def test_what_takes_its_place_is_not_downloaded_during_a_request() -> None:
    family = QuietFamily("quiet", THREE, [AHEAD.source])
    async with started(registry_of(family), VAD_MODEL="ahead", VAD_MODELS="") as runtime:
        with pytest.raises(InvalidOption, match="not on this machine; get it with: fsmn-vad model download stream"):
            await runtime.models.choose(None, live=True)
    assert family.downloaded == []


@pytest.mark.reference
def test_firered_on_a_live_stream_of_a_service_with_a_list(reference: Path, small_model: Path, tmp_path: Path) -> None:
    settings = {"VAD_MODELS": "firered", "MODELSCOPE_CACHE": str(reference / "modelscope")}
    with local_server(small_model, tmp_path, settings) as server:
        heard = converse(server, [bytes(32_000)], model="firered")
        assert heard.messages[0]["model"]["name"] == "firered-stream"


# ---- commands

PAIR = "silero+firered-stream"
"""The model of `preset=asr`."""


def pair_families(here: Sequence[str]) -> tuple[QuietFamily, ...]:
    """Stand-ins for the models of the presets, and a default one."""
    firered = (known("firered", live=False, live_as="firered-stream"), known("firered-stream"))
    sources = [f"somewhere/{name}" for name in here]
    return (
        QuietFamily("fsmn", [known("fsmn")], sources),
        QuietFamily("silero", [known("silero")], sources),
        QuietFamily("firered", firered, sources),
    )


@pytest.mark.parametrize("live", [False, True], ids=["file", "live"])
@pytest.mark.parametrize(
    ("models", "here", "expected"),
    [
        ("auto", ["fsmn", "silero", "firered", "firered-stream"], PAIR),
        ("auto", ["fsmn", "silero", "firered"], "fsmn"),
        ("", ["fsmn", "silero", "firered", "firered-stream"], "fsmn"),
        ("silero", ["fsmn", "silero", "firered", "firered-stream"], "fsmn"),
        ("silero,firered", ["fsmn", "silero", "firered", "firered-stream"], PAIR),
        ("silero,firered-stream", ["fsmn"], PAIR),
    ],
)
async def test_a_command_takes_the_model_that_a_service_takes(
    models: str, here: list[str], expected: str, live: bool
) -> None:
    """Of these settings, for a preset; and loads no other."""
    found = {}
    for on_demand in (False, True):
        async with started(registry_of(*pair_families(here)), on_demand=on_demand, VAD_MODELS=models) as runtime:
            assert not (on_demand and loaded(runtime))
            chosen = await runtime.models.choose(None, "asr", live=live)
            found[on_demand] = (chosen.model.info, chosen.warnings, chosen.defaults)
            names = {member.info.name for member in chosen.model.members}
            assert not on_demand or set(loaded(runtime)) <= {*names, "silero"}
    assert found[True] == found[False]
    info, warnings, _ = found[True]
    assert info.name == expected
    assert [each.code for each in warnings] == ([] if expected == PAIR else ["preset_model"])


async def test_a_command_may_name_any_model(small_model: Path) -> None:
    firered = pair_families(["fsmn"])
    async with started(registry_of(*firered), on_demand=True, VAD_MODELS=f"mine={small_model}") as runtime:
        assert await name_of_chosen(runtime, "firered", live=True) == "firered-stream"
        assert await name_of_chosen(runtime, "firered+silero") == "silero+firered"
        assert await name_of_chosen(runtime, f"other={small_model}") == "other"
        assert await name_of_chosen(runtime, "mine") == "mine"
        assert "fsmn" not in loaded(runtime), "the default model was not asked for"
        assert await name_of_chosen(runtime, None) == "fsmn"


async def test_what_is_pinned_holds_for_a_command_that_names_it(small_model: Path) -> None:
    settings = {"VAD_MODEL": f"mine={small_model}", "VAD_MODEL_FINGERPRINT": "0" * 64}
    for asked in (None, "mine", str(small_model)):
        async with started(Registry(), on_demand=True, **settings) as runtime:
            with pytest.raises(InvalidModel, match="fingerprint"):
                await runtime.models.choose(asked)


# ---- names


@pytest.mark.parametrize("on_demand", [False, True], ids=["service", "command"])
async def test_a_name_wins_over_the_directory_of_another_model(
    small_model: Path, tmp_path: Path, on_demand: bool
) -> None:
    """A model answers to its directory's name, too, where no other has that name."""
    first, second = (Path(shutil.copytree(small_model, tmp_path / name)) for name in ("b", "c"))
    models = f"a={first},b={second}"
    async with started(Registry(), on_demand=on_demand, VAD_MODEL=f"mine={small_model}", VAD_MODELS=models) as runtime:
        for name in ("a", "b"):
            assert await name_of_chosen(runtime, name) == name
        assert await name_of_chosen(runtime, "a+b") == "a+b"
