"""What the page should show of what the service offers."""

from typing import Any

from playwright.sync_api import expect

from tests.browser.card import CardView
from tests.server import RunningServer

_FIELDS = """fields => fields.map(field => ({
    name: field.dataset.option,
    value: field.type === 'checkbox' ? field.checked
      : field.type !== 'number' || field.value === '' ? field.value : Number(field.value),
    min: field.min ?? '',
    max: field.max ?? '',
    unit: field.parentElement.querySelector('.unit')?.textContent ?? '',
    help: field.closest('.option').querySelector('.hint').textContent,
    slides: field.closest('.option').querySelector('input[type=range]') !== null,
}))"""


def offered(server: RunningServer) -> dict[str, Any]:
    """`GET /options`."""
    with server.client() as client:
        answer: dict[str, Any] = client.get("/options").raise_for_status().json()
    return answer


def expect_service_s_options(server: RunningServer, card: CardView, model: str, mode: str) -> None:
    """The card shows the options of this mode and those of chunks, in the service's order and as it describes them."""
    told = offered(server)
    [entry] = [one for one in told["modes"] if (one["mode"], one["use"]) == (mode, "file")]
    defaults = told["models"][model]["defaults"][mode]
    schemas = {**entry["options"], **told["chunks"]}
    expected = [_shown(name, schema, defaults.get(name, schema.get("default", ""))) for name, schema in schemas.items()]
    fields = card.root.locator(".settings > .options [data-option]")
    expect(fields).to_have_count(len(expected))
    assert fields.evaluate_all(_FIELDS) == expected


def _shown(name: str, schema: dict[str, Any], default: Any) -> dict[str, Any]:
    number = {**schema, **next((one for one in schema.get("anyOf", []) if one.get("type") == "number"), {})}
    least, most = (number.get(f"{key}", number.get(f"exclusive{key.title()}")) for key in ("minimum", "maximum"))
    switch = schema.get("type") == "integer" and (least, most) == (0, 1)
    return {
        "name": name,
        "value": bool(default) if switch else "" if default == "inf" else default,
        "min": "" if switch or least is None else f"{least:g}".replace("e+06", "000000"),
        "max": "" if switch or most is None else f"{most:.0f}",
        "unit": schema.get("unit", ""),
        "help": schema["description"].replace("`", ""),
        "slides": not switch and least is not None and most is not None,
    }
