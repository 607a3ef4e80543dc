"""A small ModelScope hub on the loopback interface: the file API that the real client uses, with faults to order."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Fault = Literal[
    "none", "truncated", "wrong-hash", "not-found", "no-file", "stalled", "silent", "error", "file-error", "slow", "damaged"
]
_SHUTDOWN_POLL_S = 0.02
"""How often the server looks whether it shall end: by default twice a second, which every test would wait for."""


@dataclass
class Hub:
    """The hub under test."""

    url: str
    files: dict[str, bytes]
    fault: Fault = "none"
    ranges: bool = True
    """Whether a part of a file can be asked for; otherwise the whole is sent."""
    pause_s: float = 0.3
    """Between the nine pieces that a slow hub sends."""
    requests: list[str] = field(default_factory=list)
    """Paths and queries asked for."""

    @property
    def downloaded(self) -> set[str]:
        """Files asked for."""
        queries = (parse_qs(urlsplit(request).query) for request in self.requests)
        return {query["FilePath"][0] for query in queries if "FilePath" in query}


@contextmanager
def running_hub(directory: Path) -> Iterator[Hub]:
    """Serve a model directory under any model id, plus files that nobody needs."""
    paths = [path for path in directory.rglob("*") if path.is_file()]
    files = {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
    files |= {"README.md": b"# model\n", "example/vad_example.wav": b"RIFF" * 1000, "configuration.json": b"{}"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = Hub(f"http://127.0.0.1:{server.server_address[1]}", files)
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=[_SHUTDOWN_POLL_S], daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        return hub

    def do_GET(self) -> None:
        self.hub.requests.append(self.path)
        parts = urlsplit(self.path)
        if self.hub.fault == "silent":
            time.sleep(60)
        elif self.hub.fault == "error":
            self._json(500, {"Code": 500, "Message": "broken"})
        elif self.hub.fault == "not-found":
            self._json(404, {"Code": 10010205001, "Message": "model not found", "Success": False})
        elif parts.path.endswith("/repo/files"):
            root = parse_qs(parts.query).get("Root", [""])[0]
            self._json(200, {"Code": 200, "Success": True, "Data": {"Files": self._listing(root)}})
        elif parts.path.endswith("/revisions"):
            revisions = {"Branches": [{"Revision": "master"}], "Tags": [{"Revision": "v2.0.4"}]}
            self._json(200, {"Code": 200, "Success": True, "Data": {"RevisionMap": revisions}})
        elif parts.path.endswith("/repo"):
            self._file(parse_qs(parts.query)["FilePath"][0])
        else:
            self._json(200, {"Code": 200, "Success": True, "Data": {}})

    do_HEAD = do_GET  # noqa: N815

    def _listing(self, root: str) -> list[dict[str, object]]:
        wrong = self.hub.fault == "wrong-hash"
        return [
            {
                "Name": Path(name).name,
                "Path": name,
                "Type": "blob",
                "Size": len(content),
                "Sha256": hashlib.sha256(content + (b"x" if wrong else b"")).hexdigest(),
                "Revision": "v2.0.4",
            }
            for name, content in self.hub.files.items()
            if not root or name.startswith(f"{root}/")
        ]

    def _file(self, name: str) -> None:
        content = self.hub.files[name]
        if self.hub.fault == "no-file" and name == "model.pt":
            self._json(404, {"Code": 404, "Message": "no such file"})
            return
        if self.hub.fault == "file-error" and name == "model.pt":
            self._json(500, {"Code": 500, "Message": "broken"})
            return
        partial = self.hub.ranges and "range" in self.headers
        start, stop = self._range(len(content)) if partial else (0, len(content))
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(stop - start))
        if self.hub.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        if self.command != "HEAD":
            self._body(name, content, start, stop)

    def _body(self, name: str, whole: bytes, start: int, stop: int) -> None:
        faulty = name == "model.pt"
        content, half = whole[start:stop], len(whole) // 2
        if faulty and self.hub.fault == "truncated":
            # Never a byte past the middle, however often the client comes back for the rest.
            self.wfile.write(whole[start : min(stop, half)])
            self.close_connection = True
        elif faulty and self.hub.fault == "stalled":
            self.wfile.write(whole[start : min(stop, half)])
            self.wfile.flush()
            time.sleep(60)
        elif faulty and self.hub.fault == "slow":
            for first in range(0, len(content), 1 + len(content) // 8):
                self.wfile.write(content[first : first + 1 + len(content) // 8])
                self.wfile.flush()
                time.sleep(self.hub.pause_s)
        else:
            self.wfile.write(content)

    def _range(self, size: int) -> tuple[int, int]:
        asked = self.headers.get("range", "")
        if not asked.startswith("bytes="):
            return 0, size
        first, _, last = asked[6:].partition("-")
        return int(first or 0), min(size, int(last) + 1 if last else size)

    def _json(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""
