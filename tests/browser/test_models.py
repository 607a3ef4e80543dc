"""Several models and a plug-in's mode: what is offered, what is sent, what is shown."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, expect

from app.registry import Registry
from tests.browser.card import CardView, upload
from tests.browser.conftest import OpenPage
from tests.browser.offered import expect_service_s_options, offered
from tests.conftest import ROOT
from tests.server import RunningServer, local_server
from tests.waiting import eventually

PLUGIN = ROOT / "tests" / "toy" / "package"
needs_silero = pytest.mark.skipif(find_spec("silero_vad") is None, reason="the package silero-vad is not installed")


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """With a plug-in's model `toy` and mode `runs`, whose option is `level`."""
    sys.path.insert(0, str(PLUGIN))
    try:
        import toy_vad

        yield Registry.of([toy_vad.PLUGIN])
    finally:
        sys.path.remove(str(PLUGIN))


@pytest.fixture(scope="module")
def several(registry: Registry, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The small model, and everything that is at hand."""
    model, folder = f"small={small_model}", tmp_path_factory.mktemp("several")
    with local_server(model, folder, {"VAD_MODELS": "auto"}, registry=registry) as server:
        yield server


@pytest.fixture
def card(several: RunningServer, open_page: OpenPage, speech_like: Path) -> CardView:
    """Two segments, of the small model."""
    shown = upload(open_page(several.url), speech_like)
    shown.await_segments(2)
    return shown


def _asked(page: Page) -> list[tuple[str, dict[str, str]]]:
    """(method, query) of what is asked of the service from now on, but for curves."""
    asked: list[tuple[str, dict[str, str]]] = []

    def note(request: Request) -> None:
        url = urlsplit(request.url)
        if url.path == "/vad" or url.path.endswith("/segments"):
            asked.append((request.method, dict(parse_qsl(url.query))))

    page.on("request", note)
    return asked


@pytest.mark.parametrize("model", ["small", "toy", pytest.param("silero", marks=needs_silero)])
def test_options_are_what_the_service_says(several: RunningServer, card: CardView, model: str) -> None:
    card.models.select_option(model)
    told = offered(several)["models"][model]
    card.expect_made_by(model, told["default_mode"])
    for mode in told["defaults"]:
        card.choose_mode(mode)
        card.expect_made_by(model, mode)
        expect_service_s_options(several, card, model, mode)


def test_a_mode_shows_its_options_and_sends_no_others(card: CardView) -> None:
    asked = _asked(card.page)
    card.set_option("max_end_silence_time", 3000)
    card.await_segments(1)
    card.choose_mode("tight")
    card.await_segments(2)
    expect(card.option("max_end_silence_time")).to_have_count(0)
    card.set_option("min_silence_duration_ms", 2500)
    card.await_segments(1)
    # What was set in a mode is there again.
    card.choose_mode("endpoint")
    card.expect_made_by("small", "endpoint")
    expect(card.option("max_end_silence_time")).to_have_value("3000")
    form = {"format": "json"}
    assert asked == [
        ("GET", {"max_end_silence_time": "3000", **form}),
        ("GET", {"mode": "tight", **form}),
        ("GET", {"mode": "tight", "min_silence_duration_ms": "2500", **form}),
        ("GET", {"max_end_silence_time": "3000", **form}),
    ]


def test_another_model_hears_the_file_itself(card: CardView) -> None:
    asked = _asked(card.page)
    card.models.select_option("toy")
    card.expect_made_by("toy", "runs")
    assert card.table_ms() == [(2000, 4000), (6000, 8000)]
    assert asked == [("POST", {"model": "toy", "format": "ndjson", "keep": "true"})]
    expect(card.root.locator(".command code")).to_contain_text("/vad?model=toy'")
    # From then on its options are instant, and so is the way back: the service keeps both.
    asked.clear()
    card.choose_mode("tight")
    card.expect_made_by("toy", "tight")
    expect(card.option("threshold")).to_have_value("0.3")
    card.models.select_option("small")
    card.expect_made_by("small", "tight")
    expect(card.option("threshold")).to_have_value("0.45")
    assert [method for method, _ in asked] == ["GET", "GET"]
    assert all("model" not in query for _, query in asked)


def test_what_needs_the_audio_names_the_model(card: CardView) -> None:
    card.models.select_option("toy")
    card.expect_made_by("toy", "runs")
    asked = _asked(card.page)
    card.set_option("level", 0.4)
    assert card.export("zip")[0] == "bursts.zip"
    assert asked[-1] == ("POST", {"model": "toy", "level": "0.4", "format": "zip"})


def test_a_model_that_is_chosen_meanwhile(card: CardView) -> None:
    card.page.route("**/vad?model=toy*", lambda route: None)
    card.models.select_option("toy")
    expect(card.root.locator("progress")).to_be_visible()
    card.models.select_option("small")
    card.set_option("max_end_silence_time", 3000)
    card.await_segments(1)
    expect(card.root.locator("progress")).to_be_hidden()
    expect(card.root.get_by_role("alert").first).to_be_hidden()
    card.page.unroute("**/vad?model=toy*")


def test_giving_up_another_model(card: CardView) -> None:
    card.page.route("**/vad?model=toy*", lambda route: None)
    card.models.select_option("toy")
    card.root.get_by_role("button", name="Cancel", exact=True).click()
    alert = card.root.get_by_role("alert").first
    expect(alert).to_contain_text("Cancelled")
    card.page.unroute("**/vad?model=toy*")
    alert.get_by_role("button", name="Try again").click()
    card.expect_made_by("toy", "runs")
    expect(alert).to_be_hidden()


def test_no_room_for_what_another_model_made(card: CardView) -> None:
    def keep_nothing(route: Route) -> None:
        route.continue_(url=route.request.url.replace("keep=true", "keep=false"))

    card.page.route("**/vad?model=toy*", keep_nothing)
    card.models.select_option("toy")
    card.expect_made_by("toy", "runs")
    notice = card.root.get_by_text("The service had no room")
    expect(notice).to_be_visible()
    card.expect_regions(2)
    card.page.unroute("**/vad?model=toy*")
    card.set_option("level", 0.4)
    expect(notice).to_be_hidden()


@needs_silero
def test_a_model_is_loaded_at_its_first_use(
    registry: Registry, small_model: Path, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    with local_server(small_model, tmp_path, {"VAD_MODELS": "auto"}, registry=registry) as server:
        card = upload(open_page(server.url), speech_like)
        card.await_segments(2)
        card.models.select_option("silero-8k")
        expect(card.root.get_by_text("Loaded at its first use")).to_be_visible()
        card.expect_made_by("silero-8k", "tight")
        expect(card.root.get_by_text("Loaded at its first use")).to_be_hidden()
        expect_service_s_options(server, card, "silero-8k", "tight")


@needs_silero
def test_a_sum_of_models_by_default(registry: Registry, open_page: OpenPage, speech_like: Path, tmp_path: Path) -> None:
    with local_server("silero+toy", tmp_path, registry=registry) as server:
        card = upload(open_page(server.url), speech_like)
        card.expect_made_by("silero+toy", "tight")
        expect(card.models).to_have_value("silero+toy")
        expect(card.option("threshold")).to_have_value("0.4")
        card.set_option("threshold", 0.3)
        expect(card.option("neg_threshold")).to_have_value("0.3")
        expect(card.root.locator(".command code")).to_contain_text("/vad?threshold=0.3'")


def test_one_model_is_no_choice(server: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    card = upload(open_page(server.url), speech_like)
    card.await_segments(2)
    expect(card.models).to_be_hidden()


def test_an_option_that_only_the_service_knows(card: CardView) -> None:
    card.choose_mode("runs")
    row = card.root.locator('[data-row="level"]')
    expect(row).to_contain_text("Frames of at least this probability are speech.")
    expect(card.root.locator('label:has(input[value="runs"])')).to_have_attribute("title", "Runs of loud frames.")
    asked = _asked(card.page)
    card.set_option("level", 0.9)
    card.await_segments(2)
    assert asked == [("GET", {"mode": "runs", "level": "0.9", "format": "json"})]
    card.page.get_by_role("button", name="中文").click()
    expect(row).to_contain_text("Frames of at least this probability are speech.")


def test_options_speak_chinese(several: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    card = upload(open_page(several.url, locale="zh-CN"), speech_like)
    card.await_segments(2)
    row = card.root.locator('[data-row="max_end_silence_time"]')
    expect(row.locator("label span")).to_have_text("句尾静音")
    expect(row.locator(".hint")).to_have_text("静音达到此长度就断开；越小断得越早、越多")
    card.page.get_by_role("button", name="English").click()
    expect(row.locator(".hint")).to_have_text(
        "This much silence ends a segment. A lower value cuts earlier and more often."
    )


def test_what_the_service_refuses_is_said_beside_the_option(card: CardView) -> None:
    card.choose_mode("tight")
    card.expect_made_by("small", "tight")
    card.set_option("neg_threshold", 0.9)
    row = card.root.locator('[data-row="neg_threshold"]')
    expect(row.get_by_role("alert")).to_have_text("must be at most threshold (0.45)")
    expect(card.option("neg_threshold")).to_have_attribute("aria-invalid", "true")
    expect(card.root.locator(".problem").first).to_be_hidden()
    card.set_option("threshold", 0.95)
    expect(row.get_by_role("alert")).to_be_hidden()
    # One that is folded away is unfolded.
    card.choose_mode("endpoint")
    more = card.root.locator(".settings > .options summary")
    more.click()
    card.set_option("speech_to_sil_time_thres", 200)
    expect(card.root.locator(".command code")).to_contain_text("speech_to_sil_time_thres=200")
    more.click()
    expect(card.option("speech_to_sil_time_thres")).to_be_hidden()
    card.set_option("max_end_silence_time", 200)
    expect(card.root.get_by_text("must be below max_end_silence_time (200)")).to_be_visible()


def test_sliders_are_moved_by_keys(card: CardView) -> None:
    keyboard = card.page.keyboard
    # On a wide range small values have more room; every key counts all the same.
    slider, field = card.root.get_by_role("slider", name="End silence"), card.option("max_end_silence_time")
    slider.focus()
    keyboard.press("ArrowRight")
    expect(field).to_have_value("830")
    expect(slider).to_have_attribute("aria-valuetext", "830 ms")
    keyboard.press("End")
    expect(field).to_have_value("10000")
    keyboard.press("Home")
    expect(field).to_have_value("200")
    for _ in range(20):
        keyboard.press("ArrowRight")
    expect(field).to_have_value("210")
    margin = card.root.get_by_role("slider", name="Speech margin")
    margin.focus()
    keyboard.press("ArrowLeft")
    expect(card.option("speech_noise_thres")).to_have_value("0.59")


def test_fields_of_other_kinds(card: CardView) -> None:
    asked = _asked(card.page)
    card.root.locator(".settings > .options summary").click()
    card.option("do_extend").uncheck()
    expect(card.root.locator(".command code")).to_contain_text("do_extend=false")
    card.choose_mode("tight")
    longest = card.option("max_speech_duration_s")
    expect(longest).to_have_value("")
    card.set_option("max_speech_duration_s", 1.5)
    card.await_segments(4)
    # An empty field is no limit again.
    longest.fill("")
    longest.press("Enter")
    card.await_segments(2)
    assert [query.get("max_speech_duration_s") for _, query in asked] == [None, None, "1.5", None]


def test_an_answer_takes_nothing_from_who_is_typing(card: CardView) -> None:
    held: list[Route] = []
    card.page.route("**/segments?*", lambda route: held.append(route))  # noqa: PLW0108  # it cannot take a builtin
    card.set_option("max_end_silence_time", 3000)
    field = card.option("speech_noise_thres")
    field.fill("0.5")
    held[0].continue_()
    card.page.unroute("**/segments?*")
    card.await_segments(1)
    expect(field).to_have_value("0.5")
    field.press("Enter")
    expect(card.root.locator(".command code")).to_contain_text("speech_noise_thres=0.5")


def test_segments_of_several_kinds(card: CardView) -> None:
    def tell_kinds(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        for segment, label in zip(answer["segments"], ["speech", "music"], strict=True):
            segment["label"] = label
        route.fulfill(response=response, json=answer)

    card.page.route("**/segments?*", tell_kinds)
    card.choose_mode("tight")
    expect(card.root.locator("th").last).to_have_text("Kind")
    expect(card.rows.nth(1).locator("td").last).to_have_text("music")
    card.page.get_by_role("button", name="中文").click()
    expect(card.rows.nth(1).locator("td").last).to_have_text("音乐")
    card.page.unroute("**/segments?*")
    card.choose_mode("endpoint")
    expect(card.root.locator("th")).to_have_count(5)
    card.await_segments(2)


def test_the_service_is_still_loading_when_the_page_is_there(several: RunningServer, open_page: OpenPage) -> None:
    page = open_page(several.url)
    refusals = 0

    def refuse(route: Route) -> None:
        nonlocal refusals
        refusals += 1
        if refusals > 1:
            route.continue_()
        else:
            route.fulfill(status=503, json={"title": "Not ready", "status": 503, "detail": "", "code": "not_ready"})

    page.route("**/options", refuse)
    page.reload()
    page.get_by_role("button", name="Live").click()
    panel = page.locator(".listen")
    expect(panel.get_by_role("button", name="Start")).to_be_visible()
    panel.get_by_text("Settings", exact=True).click(timeout=10_000)
    expect(panel.get_by_label("Model", exact=True)).to_be_visible()
    assert refusals == 2


def test_options_that_needed_a_key(several: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    page = open_page(several.url)
    problem = {"title": "Unauthorized", "status": 401, "detail": "send a key", "code": "unauthorized"}
    page.route("**/options", lambda route: route.fulfill(status=401, json=problem))
    page.reload()
    card = upload(page, speech_like)
    field = card.root.get_by_label("API key")
    expect(field).to_be_visible()
    page.unroute("**/options")
    field.fill("open-sesame")
    field.press("Enter")
    card.await_segments(2)


def test_the_curve_is_that_of_the_segments_beside_it(several: RunningServer, card: CardView) -> None:
    """Also on the way back, for which the service is not sent the file."""
    first = _painted_curve(card)
    card.models.select_option("toy")
    card.expect_made_by("toy", "runs")
    eventually(lambda: _painted_curve(card) != first)
    card.models.select_option("small")
    card.expect_made_by("small", "endpoint")
    eventually(lambda: _painted_curve(card) == first)


def _painted_curve(card: CardView) -> str:
    """The pixels of the lowest strip, without what lies over it."""
    cut = """canvas => {
        const height = Math.round(70 * canvas.width / canvas.clientWidth);
        const copy = new OffscreenCanvas(canvas.width, height).getContext('2d', {willReadFrequently: true});
        copy.drawImage(canvas, 0, height - canvas.height);
        const {data} = copy.getImageData(0, 0, canvas.width, height);
        return data.reduce((sum, value) => (sum * 31 + value) % 1000003, 7);
    }"""
    return str(card.root.locator("canvas.ground").evaluate(cut))


@needs_silero
def test_each_model_is_told_of_in_a_line(several: RunningServer, card: CardView) -> None:
    with several.client() as client:
        told = {model["name"]: model for model in client.get("/models").json()["models"]}
    card.root.get_by_text("What each model is good for").click()
    lines = card.root.locator(".about-models li")
    expect(lines).to_have_count(card.models.locator("option").count())
    for text in lines.all_inner_texts():
        name, *rest = text.splitlines()
        accuracy, cost = told[name]["accuracy"], told[name].get("cost")
        assert (f"F1 {accuracy['frame_f1']:.2f}" in text) if accuracy else "F1" not in text, text
        assert (f"{cost:g}× the time" in text) if cost else "×" not in text, text
        assert rest, f"{name} is not said to be good for anything"
    usable = {name: model["accuracy"]["frame_f1"] for name, model in told.items()
              if model["accuracy"] and model["state"] != "absent"}  # fmt: skip
    best = max(usable, key=lambda name: usable[name])
    expect(lines.filter(has_text="the best here").locator("strong")).to_have_text([best])
    lines.filter(has_text="silero").first.click()
    expect(card.models).to_have_value("silero")


def test_all_models_at_once(several: RunningServer, card: CardView) -> None:
    names = card.models.locator("option").evaluate_all("options => options.map(one => one.value)")
    card.root.get_by_role("button", name=f"Compare all {len(names)} models").click()
    rows = card.root.locator(".models tbody tr")
    expect(rows).to_have_count(len(names))
    expect(rows.locator("td:nth-of-type(4)").filter(has_text="%")).to_have_count(len(names) - 1, timeout=60_000)
    lanes = (card.root.locator("canvas.over").get_attribute("data-lanes") or "").split()
    assert lanes == [f"model/{name}" for name in names]
    card.root.get_by_role("button", name="Start correcting").click()
    expect(rows.first.locator("td").nth(4)).to_have_text("1.000")
    rows.nth(1).get_by_role("button").click()
    expect(card.models).to_have_value(names[1])
    card.root.get_by_role("button", name="Hide the other models").click()
    expect(rows).to_have_count(0)
