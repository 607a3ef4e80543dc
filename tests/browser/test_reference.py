"""The reference at `/docs`, tried as a person tries it: choose a file, press Execute."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.server import RunningServer, running_server

LONG_MS = 30_000


@pytest.fixture
def operation(open_page: OpenPage, server: RunningServer) -> Callable[[str], Locator]:
    """`operation(id)`: that part of the page, opened, to be tried out."""
    page: Page = open_page(server.url)
    page.goto(f"{server.url}/docs")
    return partial(tried_out, page)


def tried_out(page: Page, identifier: str) -> Locator:
    block = page.locator(f".opblock[id$='-{identifier}']")
    expect(block).to_be_visible(timeout=LONG_MS)
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    return block


def execute(block: Locator) -> tuple[str, Any]:
    """Press Execute; status and document of the answer."""
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table .response")
    expect(answer.first).to_be_visible(timeout=LONG_MS)
    status = answer.locator(".response-col_status").first.inner_text().split()[0]
    return status, json.loads(answer.locator("pre").first.inner_text() or "null")


def test_a_file_is_chosen_and_sent(operation: Callable[[str], Locator], speech_like: Path) -> None:
    block = operation("detect_speech")
    block.locator("input[type=file]").set_input_files(speech_like)
    status, document = execute(block)
    assert status == "200", document
    assert (document["name"], len(document["segments"])) == ("bursts", 2)


def test_a_key_is_given_where_one_is_needed(
    small_model: Path, tmp_path: Path, open_page: OpenPage, speech_like: Path
) -> None:
    with running_server(small_model, tmp_path, {"VAD_API_KEYS": "open-sesame"}) as guarded:
        page: Page = open_page(guarded.url)
        page.goto(f"{guarded.url}/docs")
        page.get_by_role("button", name="Authorize").click(timeout=LONG_MS)
        form = page.locator(".auth-container", has_text="bearer")
        form.get_by_role("textbox").fill("open-sesame")
        form.get_by_role("button", name="Apply credentials").click()
        page.locator(".modal-ux").get_by_role("button", name="Close", exact=True).last.click()
        block = tried_out(page, "detect_speech")
        block.locator("input[type=file]").set_input_files(speech_like)
        status, document = execute(block)
        assert (status, len(document["segments"])) == ("200", 2), document


def test_an_option_is_set(operation: Callable[[str], Locator], speech_like: Path) -> None:
    block = operation("detect_speech")
    block.locator("input[type=file]").set_input_files(speech_like)
    block.locator("tr[data-param-name=mode] select").select_option("tight")
    block.locator("tr[data-param-name=threshold] input").fill("0.9")
    status, document = execute(block)
    assert status == "200", document
    assert (document["options"]["mode"], document["options"]["threshold"]) == ("tight", 0.9)


def test_timestamps(operation: Callable[[str], Locator], speech_like: Path) -> None:
    block = operation("detect_speech_timestamps")
    block.locator("input[type=file]").set_input_files(speech_like)
    status, document = execute(block)
    assert (status, len(document)) == ("200", 2)


@pytest.mark.parametrize("identifier", ["list_models", "list_options", "get_health", "get_liveness", "get_readiness"])
def test_what_needs_no_file(operation: Callable[[str], Locator], identifier: str) -> None:
    status, document = execute(operation(identifier))
    assert status == "200"
    assert document
