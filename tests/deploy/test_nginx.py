"""The nginx example: nginx takes it as it is, whatever its version, and tells its own refusals as the service does."""

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.deploy.manifests import ROOT
from tests.server import RunningServer

pytestmark = [pytest.mark.full, pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")]
EXAMPLE = ROOT / "deploy/nginx/fsmn-vad.conf"
_LISTENS_S = 10


@dataclass
class Site:
    """The example, with other ports and paths."""

    folder: Path
    port: int
    text: str

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def nginx(self, *flags: str) -> "subprocess.CompletedProcess[str]":
        command = ["nginx", "-e", self.folder / "error", "-c", self.configuration, *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    @property
    def configuration(self) -> Path:
        path = self.folder / "nginx.conf"
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        main = f"pid {self.folder}/pid; daemon on; events {{}}"
        path.write_text(f"{main} http {{ {folders} access_log off; {self.text} }}", "utf-8")
        return path

    def change(self, old: str, new: str) -> None:
        """Put another figure in the place of one that the example has."""
        assert self.text.count(old) >= 1, old
        self.text = self.text.replace(old, new)

    @contextlib.contextmanager
    def running(self) -> Iterator[httpx.Client]:
        started = self.nginx()
        assert started.returncode == 0, started.stderr
        try:
            until = time.monotonic() + _LISTENS_S
            while time.monotonic() < until:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                    break
            with httpx.Client(base_url=self.url, verify=False, timeout=60) as client:
                yield client
        finally:
            self.nginx("-s", "stop")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Nobody is behind it."""
    tmp_path.chmod(0o755)
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=vad"]
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run([*openssl, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    text = EXAMPLE.read_text("utf-8")
    text = re.sub(r"ssl_certificate_key .*;", f"ssl_certificate_key {key};", text)
    text = re.sub(r"ssl_certificate  .*;", f"ssl_certificate {certificate};", text)
    site = Site(tmp_path, free_port(), text)
    site.change("listen 443 ", f"listen 127.0.0.1:{site.port} ")
    site.change("listen 80;", f"listen 127.0.0.1:{free_port()};")
    site.change("127.0.0.1:8000", f"127.0.0.1:{free_port()}")
    return site


def behind(site: Site, server: RunningServer) -> None:
    site.text = re.sub(r"server 127\.0\.0\.1:\d+ max", f"server 127.0.0.1:{server.port} max", site.text)


def assert_problem(answer: httpx.Response, status: int, code: str, *, retry: bool = False) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document.keys() == {"type", "title", "status", "detail", "code", "request_id"}
    assert (document["status"], document["code"]) == (status, code)
    assert answer.headers["x-request-id"] == document["request_id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert ("retry-after" in answer.headers) == retry


def test_nginx_accepts_the_example_as_it_is(site: Site) -> None:
    told = site.nginx("-t")
    assert told.returncode == 0, told.stderr


def test_nobody_behind_it(site: Site) -> None:
    with site.running() as client:
        assert_problem(client.get("/health"), 502, "bad_gateway", retry=True)
        assert_problem(client.get("/vad/stream"), 502, "bad_gateway", retry=True)


def test_an_upload_that_is_too_large(site: Site) -> None:
    site.change("client_max_body_size        2048m", "client_max_body_size 1k")
    with site.running() as client:
        assert_problem(client.post("/vad", content=bytes(2_000)), 413, "upload_too_large")


def test_somebody_who_never_answers_and_too_many_at_a_time(site: Site) -> None:
    site.change("proxy_read_timeout 620s", "proxy_read_timeout 2s")
    site.change("limit_conn vad_clients      128", "limit_conn vad_clients 1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site.text = re.sub(r"server 127\.0\.0\.1:\d+ max", f"server 127.0.0.1:{silent.getsockname()[1]} max", site.text)
        answers: list[httpx.Response] = []
        with site.running() as client:
            waiting = threading.Thread(target=lambda: answers.append(client.get("/health")))
            waiting.start()
            time.sleep(0.7)
            assert_problem(client.get("/health"), 429, "too_many_requests", retry=True)
            waiting.join()
    assert_problem(answers[0], 504, "deadline_exceeded")


def test_what_is_no_request(site: Site) -> None:
    with site.running() as client:
        assert_problem(client.get("/health", headers={"X-Big": "a" * 20_000}), 400, "bad_request")
        assert_problem(client.get("/" + "a" * 20_000), 414, "uri_too_long")


def test_the_service_behind_it_tells_its_own_refusals(site: Site, server: RunningServer, speech_like: Path) -> None:
    behind(site, server)
    with site.running() as client:
        assert client.post("/vad", content=speech_like.read_bytes()).json()["segments"]
        refused = client.post("/vad", content=b"no audio")
        assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_audio")
        assert client.get("/health").status_code == 200


def test_a_page_of_that_name_opens_a_stream(site: Site, server: RunningServer) -> None:
    """The service hears under which name it was called, so its own pages are not foreign ones."""
    behind(site, server)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with site.running():
        headers = {"X-Forwarded-For": "203.0.113.9"}
        url = f"wss://127.0.0.1:{site.port}/vad/stream"
        with connect(url, ssl=trusting, origin="https://127.0.0.1", additional_headers=headers) as socket:  # type: ignore[arg-type]
            assert json.loads(socket.recv())["type"] == "ready"
