"""Keys, rate limits, CORS, headers, metrics."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server import RunningServer, local_server
from tests.waiting import eventually


@pytest.fixture(scope="module")
def locked(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "VAD_API_KEYS": "first-key, second-key",
        "VAD_CORS_ORIGINS": "https://page.example", "VAD_GUARD_METRICS": "true",
    }  # fmt: skip
    with local_server(small_model, tmp_path_factory.mktemp("locked"), settings) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer none"}, {"Authorization": "Basic first-key"},
     {"X-API-Key": "first-key, second-key"}, {"X-API-Key": ""}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/vad", "/v1/audio/speech/timestamps", "/analyses/x/segments", "/metrics"])
def test_without_a_valid_key(locked: RunningServer, path: str, headers: dict[str, str]) -> None:
    answer = locked.request("GET" if "analyses" in path or "metrics" in path else "POST", path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("headers", [{"X-API-Key": "second-key"}, {"Authorization": "Bearer first-key"}])
def test_with_a_valid_key(locked: RunningServer, speech_like: Path, headers: dict[str, str]) -> None:
    answer = locked.post("/vad", content=speech_like.read_bytes(), headers=headers)
    assert answer.status_code == 200
    assert "second-key" not in locked.log
    assert "first-key" not in locked.log


def test_health_and_page_are_open(locked: RunningServer) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/openapi.json", "/ui/", "/"):
        assert locked.get(path).status_code == 200


def test_an_analysis_is_its_owners_alone(locked: RunningServer, speech_like: Path) -> None:
    mine, theirs = {"X-API-Key": "first-key"}, {"X-API-Key": "second-key"}
    kept = locked.post("/vad?keep=true", content=speech_like.read_bytes(), headers=mine).json()
    path = f"/analyses/{kept['analysis_id']}/segments"
    assert locked.get(path, headers=mine).json()["segments"] == kept["segments"]
    refused = locked.get(path, headers=theirs)
    assert (refused.status_code, refused.json()["code"]) == (404, "no_such_analysis")


def test_cors_names_the_origin_that_is_allowed_alone(locked: RunningServer, server: RunningServer) -> None:
    ask = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    allowed = locked.request("OPTIONS", "/vad", headers=ask)
    assert allowed.headers["access-control-allow-origin"] == "https://page.example"
    other = locked.request("OPTIONS", "/vad", headers={**ask, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in server.request("OPTIONS", "/vad", headers=ask).headers


def test_the_page_carries_its_policy(server: RunningServer) -> None:
    answer = server.get("/ui/")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_rate_limit(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_RATE_LIMIT": "3/minute"}) as server:
        answers = [server.post("/vad", content=speech_like.read_bytes()) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].json()["code"] == "too_many_requests"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert server.get("/health").status_code == 200


def test_wrong_keys_slow_down_wrong_keys_alone(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    settings = {"VAD_API_KEYS": "right-key", "VAD_RATE_LIMIT": "5/minute"}
    with local_server(small_model, tmp_path, settings) as server:

        def status(key: str) -> int:
            return server.post("/vad", content=speech_like.read_bytes(), headers={"X-API-Key": key}).status_code

        assert [status(f"wrong-{number}") for number in range(40)] == [401] * 5 + [429] * 35
        assert [status("right-key") for _ in range(6)] == [200] * 5 + [429]
        assert server.post("/vad", content=b"").status_code == 401, "no key is no guess"
        refused = server.get("/analyses/x/segments", headers={"Authorization": "Bearer guess"})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert int(refused.headers["retry-after"]) >= 1


def test_a_key_has_one_rate_from_wherever_it_is_used(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    settings = {"VAD_API_KEYS": "one,two", "VAD_RATE_LIMIT": "3/minute"}
    with local_server(small_model, tmp_path, settings) as server:

        def status(key: str, address: str) -> int:
            headers = {"X-API-Key": key, "X-Forwarded-For": address}
            return server.post("/vad", content=speech_like.read_bytes(), headers=headers).status_code

        assert [status("one", f"192.0.2.{number}") for number in range(5)] == [200] * 3 + [429] * 2
        assert status("two", "192.0.2.0") == 200


@pytest.mark.parametrize(
    ("addresses", "statuses"),
    [
        ([f"2001:db8:0:1::{number:x}" for number in range(1, 6)], [404] * 3 + [429] * 2),
        ([f"[2001:db8:0:1:{number}::1]:4711" for number in range(1, 6)], [404] * 3 + [429] * 2),
        ([f"2001:db8:0:{number}::1" for number in range(1, 6)], [404] * 5),
        ([f"192.0.2.{number}" for number in range(1, 6)], [404] * 5),
        (["::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1:80", "[::ffff:c000:201]", "192.0.2.1"], [404] * 3 + [429] * 2),
        (["6.6.6.1, 192.0.2.1", "6.6.6.2, 192.0.2.1", "6.6.6.3, 192.0.2.1", "6.6.6.4, 192.0.2.1"], [404] * 3 + [429]),
    ],
    ids=["suffixes", "suffixes with ports", "networks", "IPv4", "one in five forms", "made up before the proxy"],
)
def test_whom_a_trusted_proxy_forwards(
    small_model: Path, tmp_path: Path, addresses: list[str], statuses: list[int]
) -> None:
    with local_server(small_model, tmp_path, {"VAD_RATE_LIMIT": "3/minute"}) as server:
        paths = [server.get("/analyses/x/segments", headers={"X-Forwarded-For": each}) for each in addresses]
        assert [answer.status_code for answer in paths] == statuses


def test_nobody_else_says_who_asks(small_model: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_RATE_LIMIT": "3/minute"}) as server:
        transport = httpx.HTTPTransport(local_address="127.0.0.9")  # uvicorn trusts 127.0.0.1
        with httpx.Client(base_url=server.url, transport=transport) as client:
            answers = [
                client.get("/analyses/x/segments", headers={"X-Forwarded-For": f"192.0.2.{number}"})
                for number in range(5)
            ]
        assert [answer.status_code for answer in answers] == [404] * 3 + [429] * 2


def test_metrics_count_what_happens(server: RunningServer, speech_like: Path) -> None:
    def sample(name: str, /, **labels: str) -> float:
        families = text_string_to_metric_families(server.get("/metrics").text)
        found = [s for family in families for s in family.samples if s.name == name]
        return sum(s.value for s in found if labels.items() <= s.labels.items())

    before = sample("http_requests_total", path="/vad", status="200"), sample("vad_audio_seconds_total")
    server.post("/vad", content=speech_like.read_bytes())
    server.get(f"/no/such/path/{'x' * 50}")
    after = sample("http_requests_total", path="/vad", status="200"), sample("vad_audio_seconds_total")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 10)
    (model,) = [each for each in server.get("/models").json()["models"] if each["default"]]
    told = {name: model[name] or "" for name in ("name", "id", "revision", "fingerprint", "device")}
    assert sample("vad_model_info") == sample("vad_model_info", **told) == 1
    assert sample("vad_inference_seconds_count", model=model["name"]) >= 1
    assert sample("vad_audio_seconds_total", model=model["name"]) == after[1]
    assert sample("vad_decode_seconds_count", decoder="raw") >= 1, "plain PCM in WAV"
    assert sample("http_request_duration_seconds_count", path="/vad") >= 1
    assert "x" * 50 not in server.get("/metrics").text, "clients make no labels"


def test_logs_are_one_json_line_a_request(server: RunningServer, speech_like: Path) -> None:
    import json

    server.post("/vad", content=speech_like.read_bytes(), headers={"X-Request-ID": "find-me-1"})
    server.get("/a%0Ab%1b[31m", headers={"X-Request-ID": "find-me-2"})
    # A line is written when its answer has gone out, so the client may be here first.
    eventually(lambda: server.log.count("find-me-2") > 0 and server.log.count("find-me-1") > 0)
    lines = [json.loads(line) for line in server.log.splitlines() if "find-me" in line]
    assert [line["status"] for line in lines if line["request_id"] == "find-me-1"] == [200]
    (odd,) = [line for line in lines if line["request_id"] == "find-me-2"]
    assert odd["path"] == "/a\\x0ab\\x1b[31m"
    assert "\x1b" not in server.log
