"""Answers that the service itself does not give at will: a program that says what a test wants, over a real socket."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Said = tuple[int, dict[str, str], bytes]
"""Status, headers, body. A Content-Length of its own is kept, right or wrong."""


class Foreign:
    """A program at a port; `bodies` are those that were sent to it."""

    def __init__(self, answers: Sequence[Said]) -> None:
        self.bodies: list[bytes] = []
        self._answers = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                outer.bodies.append(self._body())
                status, headers, body = outer._answers.pop(0) if len(outer._answers) > 1 else outer._answers[0]
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                return body

            do_GET = do_POST = _answer  # noqa: N815 - names of the standard library

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def foreign(*answers: Said) -> Iterator[Foreign]:
    """Give these answers in turn, the last one for ever."""
    program = Foreign(answers)
    thread = threading.Thread(target=program.serve)
    thread.start()
    try:
        yield program
    finally:
        program.close()
        thread.join()
