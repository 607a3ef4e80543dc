"""The OpenAPI document: complete, true, and of use to programs that make clients of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from app.config import Settings
from app.main import create_app
from app.vad.models.accuracy import MEASURED
from app.vad.models.family import KnownModel, ModelSpec, Weights
from app.vad.models.fsmn.family import FsmnFamily
from app.vad.models.hub import ModelHub, ModelPlace
from app.vad.models.pyannote.family import PyannoteFamily
from app.vad.models.silero.family import SileroFamily
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.registry import SEGMENTERS, Segmenters
from tests.server import RunningServer
from tests.small_pyannote import write_small_pyannote

DOCUMENT = create_app(Settings(model="unused")).openapi()
PATHS = {
    "/vad",
    "/render",
    "/sample.wav",
    "/v1/audio/speech/timestamps",
    "/analyses/{identifier}/segments",
    "/analyses/{identifier}/curve",
    "/models",
    "/options",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
}


@pytest.mark.parametrize("guarded", [False, True])
def test_where_keys_are_set_the_document_says_what_needs_one(guarded: bool) -> None:
    document = create_app(Settings(model="unused", api_keys=["k"], guard_metrics=guarded)).openapi()
    schemes = document["components"]["securitySchemes"]
    assert {(each["type"], each.get("scheme"), each.get("name")) for each in schemes.values()} == {
        ("http", "bearer", None), ("apiKey", None, "X-API-Key"),
    }  # fmt: skip
    asks = {path for path, found in document["paths"].items() for each in found.values() if each.get("security")}
    opened = {"/models", "/options", "/health", "/health/live", "/health/ready", "/metrics"}
    assert asks == PATHS - opened | ({"/metrics"} if guarded else set())
    assert "security" not in json.dumps(DOCUMENT), "where there are none, clients are asked for none"


def test_the_paths() -> None:
    assert set(DOCUMENT["paths"]) == PATHS


@pytest.mark.parametrize(("mode", "name"), [(kind.mode, name) for kind in SEGMENTERS for name in kind.options.names()])
def test_every_option_is_documented_with_mode_range_unit_and_meaning(mode: str, name: str) -> None:
    (parameter,) = [entry for entry in DOCUMENT["paths"]["/vad"]["post"]["parameters"] if entry["name"] == name]
    schema = parameter["schema"]
    if name not in SegmenterOptions.model_fields:
        assert parameter["description"].startswith(f"`mode={mode}`. ")
    assert re.search(r"Default: |Not set: ", parameter["description"])
    assert len(parameter["description"]) > 20
    if schema.get("type") in ("integer", "number") and name != "detect_mode":
        assert {"minimum", "exclusiveMinimum"} & schema.keys()
        assert {"maximum", "exclusiveMaximum"} & schema.keys() or name == "max_speech_duration_s"
    if name.endswith(("_ms", "_time", "_s")) or "_time_" in name:
        assert schema["unit"] == ("s" if name.endswith("_s") else "ms")


def test_what_holds_without_an_option_is_told_for_each_model() -> None:
    told = {entry["name"]: entry["description"] for entry in DOCUMENT["paths"]["/vad"]["post"]["parameters"]}
    fsmn, firered, stream, pyannote = (
        MEASURED[name,].threshold for name in ("fsmn", "firered", "firered-stream", "pyannote")
    )
    assert told["threshold"].endswith(
        f"Default: `0.5`; `{fsmn}` with `fsmn`, `fsmn-8k`; `{firered}` with `firered`; `{stream}` with "
        f"`firered-stream`; `0.4` with `firered-aed`; `{pyannote}` with `pyannote`."
    )
    assert told["max_speech_duration_s"].endswith("Default: no limit.")
    assert told["lang"].endswith("Default: `zh`.")
    assert told["keep"].endswith("Default: `false`.")


def set_and_told(weights: Weights, known: KnownModel) -> tuple[object, object]:
    """For each mode what differs from its usual defaults: in the weights, and in the documents."""
    segmenters = Segmenters(SEGMENTERS)
    differing = []
    for options in (weights.option_defaults, known.option_defaults):
        usual = {mode: segmenters.kind(mode).options.model_fields for mode in options}
        differing.append({
            (mode, name): value
            for mode, values in options.items()
            for name, value in values.items()
            if name in usual[mode] and value != usual[mode][name].default
        })  # fmt: skip
    return differing[0], differing[1]


def test_what_is_told_of_pyannote_is_what_it_sets(tmp_path: Path) -> None:
    family = PyannoteFamily()
    place = ModelPlace(write_small_pyannote(tmp_path / "small"), "", None, "directory")
    set_by_it, told = set_and_told(family.read(place), family.known[0])
    assert set_by_it == told != {}


@pytest.mark.reference
def test_what_is_told_of_fsmn_is_what_it_sets(published_model: Path) -> None:
    family = FsmnFamily()
    set_by_it, told = set_and_told(family.read(ModelPlace(published_model, "", None, "directory")), family.known[0])
    assert set_by_it == told != {}


def test_what_is_told_of_silero_is_what_it_sets() -> None:
    pytest.importorskip("silero_vad", reason="the silero extra is not installed")
    family = SileroFamily()
    (known, _) = family.known
    place = family.find(ModelSpec(family.name, known.source, known=known), cast("ModelHub", None))
    set_by_it, told = set_and_told(family.read(place), known)
    assert set_by_it == told != {}


# ---- for programs that make clients of it


def operations() -> Iterator[dict[str, Any]]:
    for path in DOCUMENT["paths"].values():
        yield from path.values()


def every(node: Any, name: str) -> Iterator[Any]:
    """The values of all members of this name, wherever they are."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from every(child, name)
    if isinstance(node, dict) and name in node:
        yield node[name]


def test_nothing_is_sent_that_nobody_has_set() -> None:
    """Some clients send every default, whichever mode is in force; and every part of a form."""
    for operation in operations():
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query" and operation["operationId"] not in ("render_segments", "get_analysis_curve"):
                assert not set(parameter["schema"]) & {"default", "example", "const"}, parameter["name"]
                assert not parameter.get("required")
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            assert all(list(body["schema"]["properties"]) == ["file"] for body in content.values())


def test_there_is_one_way_to_send_a_body_and_one_to_read_an_answer() -> None:
    """Of several content types some clients take one for all, and read JSON as bytes or write a form as JSON."""
    for operation in operations():
        assert len(operation.get("requestBody", {}).get("content", {"": None})) == 1
        answers = list(operation["responses"]["200"]["content"])
        assert len(answers) == 1 or answers[0] == "application/json" or operation["operationId"] == "get_sample"
        assert not {"application/x-ndjson", "audio/wav", "application/zip"} & set(answers[1:])
        for kind, answer in operation["responses"]["200"]["content"].items():
            assert answer["schema"], kind
    assert list(DOCUMENT["paths"]["/vad"]["post"]["requestBody"]["content"]) == ["multipart/form-data"]


def test_numbers_are_numbers() -> None:
    for infinite in ("Infinity", "NaN", '"inf"'):
        assert infinite not in json.dumps(DOCUMENT)
    for parameter in DOCUMENT["paths"]["/vad"]["post"]["parameters"]:
        assert isinstance(parameter["schema"]["type"], str), parameter["name"]
        assert "anyOf" not in parameter["schema"]


def test_operations_have_names_for_programs_and_for_people() -> None:
    names = [operation["operationId"] for operation in operations()]
    assert {"detect_speech", "list_models", "get_health"} < set(names)
    assert len(set(names)) == len(names) == len(PATHS)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", name) for name in names)
    assert DOCUMENT["paths"]["/vad"]["post"]["summary"] == "Detect speech in a file"
    assert all(len(operation["summary"].split()) >= 4 for operation in operations())


def test_every_error_of_the_table_is_documented_as_it_is_sent(server: RunningServer) -> None:
    responses = DOCUMENT["paths"]["/vad"]["post"]["responses"]
    assert {"400", "401", "408", "413", "415", "422", "429", "500", "503", "504"} <= responses.keys()
    for operation in operations():
        for status, response in operation["responses"].items():
            if status >= "400" and not operation["operationId"].startswith(("get_health", "get_readiness")):
                assert response["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
    assert server.post("/vad").headers["content-type"] in responses["400"]["content"]
    for reference in every(DOCUMENT, "$ref"):
        assert reference.rpartition("/")[2] in DOCUMENT["components"]["schemas"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_no_500_and_no_undocumented_status(server: RunningServer) -> None:
    # Here, for the import takes a second of each process that collects tests.
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import status_code_conformance

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            response = case.call(base_url=server.url)
            case.validate_response(response, checks=[not_a_server_error, status_code_conformance])

        check()
        tried.append(operation.label)
    assert len(tried) == len(PATHS)
