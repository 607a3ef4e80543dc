"""The OpenAPI document: complete, and true."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from app.config import Settings
from app.main import create_app
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.registry import SEGMENTERS
from tests.server import RunningServer

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


def test_the_paths() -> None:
    assert set(DOCUMENT["paths"]) == PATHS


@pytest.mark.parametrize(("mode", "name"), [(kind.mode, name) for kind in SEGMENTERS for name in kind.options.names()])
def test_every_option_is_documented_with_mode_default_range_unit_and_meaning(mode: str, name: str) -> None:
    (parameter,) = [entry for entry in DOCUMENT["paths"]["/vad"]["post"]["parameters"] if entry["name"] == name]
    schema = parameter["schema"]
    if name not in SegmenterOptions.model_fields:
        assert parameter["description"].startswith(f"`mode={mode}`. ")
    assert "default" in schema
    assert len(parameter["description"]) > 20
    if schema.get("type") in ("integer", "number") and name != "detect_mode":
        assert {"minimum", "exclusiveMinimum"} & schema.keys()
        assert {"maximum", "exclusiveMaximum"} & schema.keys()
    if name.endswith(("_ms", "_time", "_s")) or "_time_" in name:
        assert schema["unit"] == ("s" if name.endswith("_s") else "ms")
    form = DOCUMENT["paths"]["/vad"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"][name] == schema


def test_every_error_of_the_table_is_documented() -> None:
    responses = DOCUMENT["paths"]["/vad"]["post"]["responses"]
    assert {"400", "401", "408", "413", "415", "422", "429", "500", "503", "504"} <= responses.keys()
    assert "Problem" in str(responses["422"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_no_500_and_no_undocumented_status(server: RunningServer) -> None:
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
