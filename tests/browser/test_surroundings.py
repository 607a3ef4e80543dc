"""The page in places that are not the usual ones: under a policy that bites, behind a prefix, in a strict browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.browser.card import upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer

_NOTE_REFUSALS = """() => {
    window.refused = [];
    document.addEventListener('securitypolicyviolation', event => window.refused.push(event.effectiveDirective));
}"""
_TRESPASS = """() => {
    const script = document.createElement('script');
    script.textContent = 'window.inline = true';
    document.body.append(script);
    fetch('http://127.0.0.1:9/').catch(() => undefined);
    try { new WebSocket('ws://127.0.0.1:9/'); } catch { }
}"""


def test_the_policy_refuses_inline_scripts_and_other_hosts(server: RunningServer, browser: Browser) -> None:
    page = browser.new_page()
    try:
        page.goto(f"{server.url}/ui/")
        page.evaluate(_NOTE_REFUSALS)
        page.evaluate(_TRESPASS)
        page.wait_for_function("() => window.refused.length >= 3")
        refused = page.evaluate("() => window.refused")
        assert sorted(refused) == ["connect-src", "connect-src", "script-src-elem"]
        assert page.evaluate("() => window.inline") is None
    finally:
        page.close()


def test_behind_a_prefix(server: RunningServer, browser: Browser) -> None:
    def without_prefix(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace("/speech/detect/", "/")))

    page = browser.new_page(locale="en-US")
    outside: list[str] = []
    page.on("request", lambda made: None if "/speech/detect/" in made.url else outside.append(made.url))
    try:
        page.route("**/speech/detect/**", without_prefix)
        page.goto(f"{server.url}/speech/detect/ui/")
        expect(page.locator("footer")).to_contain_text("Version")
        reference = page.get_by_role("link", name="API reference")
        expect(reference).to_have_attribute("href", f"{server.url}/speech/detect/docs")
        assert outside == []
    finally:
        # The icon may still be on its way; what is in hand is finished before the page goes.
        page.unroute_all(behavior="wait")
        page.close()


_FORBIDDEN = """for (const name of ['localStorage', 'sessionStorage']) {
    Object.defineProperty(window, name, {get() { throw new DOMException('no', 'SecurityError'); }});
}"""
_FULL = "Storage.prototype.setItem = () => { throw new DOMException('no', 'QuotaExceededError'); };"


@pytest.mark.parametrize("script", [_FORBIDDEN, _FULL], ids=["forbidden", "full"])
def test_a_browser_that_keeps_nothing(
    server: RunningServer, open_page: OpenPage, speech_like: Path, script: str
) -> None:
    page = open_page(server.url)
    page.add_init_script(script)
    page.reload()
    card = upload(page, speech_like)
    card.await_segments(2)
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("button", name="选择文件")).to_be_visible()
    # For as long as the page is open, it remembers.
    for look in ("外观：跟随系统", "外观：浅色", "外观：深色", "外观：跟随系统"):
        page.get_by_role("button", name=look).click()
