"""Debian's Firefox, driven as it is: by WebDriver BiDi (W3C), which it speaks itself, over a WebSocket.

Playwright drives a Firefox of its own build alone; geckodriver is not packaged. What is needed of the protocol is
little: evaluate, choose files, move the mouse.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.waiting import eventually

_PREFERENCES = {
    # A microphone that hums, and nobody who has to allow it.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.autoplay.block-webaudio": False,
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.always_ask_before_handling_new_types": False,
    "browser.download.manager.showAlertOnComplete": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "remote.active-protocols": 1,
    "intl.locale.requested": "en-US",
    "intl.accept_languages": "en-US",
}
_ANSWER_LIMIT_S = 60


class FirefoxPage:
    """One tab."""

    def __init__(self, socket: ClientConnection, downloads: Path) -> None:
        self.downloads = downloads
        self.has_sound = False
        """Whether it was started with a sound card."""
        self.complaints: list[str] = []
        """Errors of the page."""
        self._socket, self._last = socket, 0
        self._command("session.new", {"capabilities": {}})
        self._command("session.subscribe", {"events": ["log.entryAdded"]})
        self._tab = self._command("browsingContext.getTree", {})["contexts"][0]["context"]

    def _command(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=_ANSWER_LIMIT_S))
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.complaints.append(str(message["params"]["text"]))
            if message.get("id") == self._last:
                assert message["type"] == "success", message
                return dict(message["result"])

    def go(self, url: str) -> None:
        """Open an address; return when it has been loaded."""
        self._command("browsingContext.navigate", {"context": self._tab, "url": url, "wait": "complete"})

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, through JSON."""
        params = {
            "target": {"context": self._tab},
            "awaitPromise": True,
            "expression": f"Promise.resolve({expression}).then(value => JSON.stringify(value))",
        }
        result = self._command("script.evaluate", {**params, "userActivation": True})
        assert result["type"] == "success", result
        text = result["result"].get("value")
        return None if text is None else json.loads(text)

    def wait_for(self, expression: str) -> None:
        """Return when it is true."""
        eventually(lambda: self.evaluate(f"Boolean({expression})"), limit_s=_ANSWER_LIMIT_S)

    def click(self, selector: str, text: str = "") -> None:
        """Press the first element of this selector that holds the text."""
        all_of = f"[...document.querySelectorAll({json.dumps(selector)})]"
        found = f"{all_of}.find(one => one.innerText.includes({json.dumps(text)}))"
        self.wait_for(found)
        self.evaluate(f"{found}.click()")

    def choose_files(self, selector: str, paths: Sequence[Path]) -> None:
        """As a person does in the dialog."""
        found = {"context": self._tab, "locator": {"type": "css", "value": selector}}
        [node] = self._command("browsingContext.locateNodes", found)["nodes"]
        element = {"sharedId": node["sharedId"]}
        files = [str(path) for path in paths]
        self._command("input.setFiles", {"context": self._tab, "element": element, "files": files})

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse, from one place of the viewport to another."""
        (x1, y1), (x2, y2) = start, end
        actions = [
            {"type": "pointerMove", "x": round(x1), "y": round(y1)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": round((x1 + x2) / 2), "y": round(y2), "duration": 100},
            {"type": "pointerMove", "x": round(x2), "y": round(y2), "duration": 100},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self._command("input.performActions", {"context": self._tab, "actions": [mouse]})


@contextmanager
def sound_server() -> Iterator[dict[str, str] | None]:
    """Environment of a program that is to have a sound card, though the machine has none: PulseAudio with a sink that
    goes nowhere. Without one Firefox's audio contexts never begin. None where there is no PulseAudio."""
    program = shutil.which("pulseaudio")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="sound-", ignore_cleanup_errors=True) as folder:
        socket = Path(folder) / "native"
        modules = ["-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1", "-L", "module-null-sink"]
        own = {**os.environ, "HOME": folder, "PULSE_RUNTIME_PATH": folder, "XDG_RUNTIME_DIR": folder}
        command = [program, "-n", "--daemonize=no", "--exit-idle-time=-1", *modules]
        child = subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually(socket.exists)
            yield {**os.environ, "PULSE_SERVER": f"unix:{socket}"}
        finally:
            child.terminate()
            child.wait()


@contextmanager
def firefox_page(environment: dict[str, str] | None = None) -> Iterator[FirefoxPage]:
    """A fresh Firefox with an empty profile; the test skips where there is none. `environment`: its own."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("there is no Firefox here")
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as folder:
        downloads = Path(folder) / "downloads"
        downloads.mkdir()
        preferences = {**_PREFERENCES, "browser.download.dir": str(downloads)}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
        (Path(folder) / "user.js").write_text("\n".join(lines))
        command = [
            program,
            "--headless",
            "--no-remote",
            "--profile",
            folder,
            "--remote-debugging-port",
            "0",
            "about:blank",
        ]
        log = (Path(folder) / "log").open("w+")
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            with connect(f"{_address(Path(folder) / 'log')}/session", max_size=None, open_timeout=30) as socket:
                yield FirefoxPage(socket, downloads)
        finally:
            child.kill()
            child.wait()
            log.close()


def _address(log: Path) -> str:
    """Where it listens, as it says itself."""
    mark = "WebDriver BiDi listening on "
    eventually(lambda: mark in log.read_text(errors="replace"), limit_s=_ANSWER_LIMIT_S)
    return log.read_text(errors="replace").partition(mark)[2].split()[0]
