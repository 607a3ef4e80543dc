"""`/client/microphone.js` as it is served; what it does is tried in a browser."""

from pathlib import Path

from tests.server import RunningServer, local_server


def test_it_is_a_module_for_everybody(server: RunningServer) -> None:
    answer = server.get("/client/microphone.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "export async function listen" in answer.text
    again = server.get("/client/microphone.js", headers={"If-None-Match": answer.headers["etag"]})
    assert again.headers["etag"] == answer.headers["etag"]


def test_other_origins_may_load_it_where_they_are_let_in(small_model: Path, tmp_path: Path) -> None:
    settings = {"VAD_CORS_ORIGINS": "https://page.example", "VAD_API_KEYS": "sesame"}
    with local_server(small_model, tmp_path, settings) as server:
        known = server.get("/client/microphone.js", headers={"Origin": "https://page.example"})
        foreign = server.get("/client/microphone.js", headers={"Origin": "https://elsewhere.example"})
    assert known.headers["access-control-allow-origin"] == "https://page.example"
    assert "access-control-allow-origin" not in foreign.headers
