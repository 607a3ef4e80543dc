"""Every option can be said at every door. The options come from the classes that know them, so a new one is held to
this by itself."""

from typing import Any

import pytest

from app.config import Settings
from app.main import create_app
from app.request import STREAM_ONLY
from tests.doors.doors import parameters
from tests.doors.options import file_options, segmenter_options, stream_options

NOT_FLAGS = {"detect": {"keep"}, "batch": {"keep"}}
"""What a command cannot be told: posteriors are kept by a running service; a batch has `--per-file`."""


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return create_app(Settings(model="unused")).openapi()


@pytest.mark.parametrize("command", NOT_FLAGS)
def test_every_option_of_files_is_a_flag(command: str) -> None:
    missing = [name for name in file_options() if name not in parameters(command)]
    assert set(missing) <= NOT_FLAGS[command], missing


@pytest.mark.parametrize("command", NOT_FLAGS)
def test_a_flag_says_what_the_option_is(command: str) -> None:
    for name in segmenter_options():
        flag = parameters(command)[name]
        assert flag.opts[0] == f"--{name.replace('_', '-')}"
        assert "Default: " in flag.help, name


@pytest.mark.parametrize("path", ["/vad", "/analyses/{identifier}/segments"])
def test_every_option_of_files_is_documented(openapi: dict[str, Any], path: str) -> None:
    (operation,) = openapi["paths"][path].values()
    documented = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
    assert set(documented) == set(file_options())
    for name, parameter in documented.items():
        assert parameter["description"], name
        assert {"type", "anyOf", "enum"} & set(parameter["schema"]), name


def test_no_option_is_documented_that_files_do_not_have(openapi: dict[str, Any]) -> None:
    (operation,) = openapi["paths"]["/vad"].values()
    assert not {each["name"] for each in operation["parameters"]} & STREAM_ONLY


def test_live_options_are_those_of_streams() -> None:
    names = stream_options()
    assert set(names) >= STREAM_ONLY
    assert len(names) == len(set(names))
    assert set(names) - STREAM_ONLY <= set(file_options())


def test_a_form_may_have_a_field_for_every_option() -> None:
    """Pages send all fields of a form, the blank ones too."""
    assert len(file_options()) <= 128, "see the greatest number of fields in app/api/uploads.py"
