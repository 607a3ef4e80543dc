"""Clips against one service on all cores, and against several services of one worker each behind nginx."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.audio import clip
from benchmarks.clients import Load, seen_by
from benchmarks.plan import Plan, cores
from benchmarks.process import Missing
from benchmarks.servers import OURS, free_port, running, start_ours
from benchmarks.table import Result
from benchmarks.turns import take_turns

_CLIENTS = 16
"""As in the case of short clips over HTTP, so that the figures can be compared."""
_COLUMNS = {"name": "", "per_s": "answers/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "refused": "refused"}
_BEHIND = "one a core, behind nginx"
_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 64m;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  upstream fsmn_vad {{ least_conn; keepalive 32; {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://fsmn_vad; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_buffering off;
    }}
  }}
}}
"""


def replicas(plan: Plan) -> Result:
    """Where Python's lock is the limit, processes may do better: how much better here."""
    result = Result("replicas", f"{_CLIENTS} clients with clips of 5.5 s, {cores()} cores for everything", _COLUMNS)
    with ExitStack() as stack:
        one = stack.enter_context(running(start_ours(plan, {"VAD_MAX_QUEUE": "128"})))
        ports = {OURS: one.port}
        try:
            ports[_BEHIND] = stack.enter_context(_behind_nginx(plan))
        except Missing as missing:
            result.missing[_BEHIND] = str(missing)
        seconds = 3.0 if plan.quick else 10.0
        for port in ports.values():
            seen_by(Load(port, clip(plan), _CLIENTS, 1.0))
        calls = {name: partial(seen_by, Load(port, clip(plan), _CLIENTS, seconds)) for name, port in ports.items()}
        turns = take_turns(calls, plan.repeat, "replicas")
    result.missing |= turns.missing
    result.rows = [_row(name, turns.median, taken) for name, taken in turns.taken.items()]
    return result


def _row(name: str, median: Any, taken: list[Mapping[str, Any]]) -> dict[str, Any]:
    figures = {key: median(name, lambda seen, key=key: seen[key] or 0.0) for key in ("per_s", "p50_ms", "p99_ms")}
    refused = sum(count for seen in taken for status, count in seen["statuses"].items() if status != "200")
    return {"name": name, **figures, "refused": refused}


@contextmanager
def _behind_nginx(plan: Plan) -> Iterator[int]:
    """The port of a proxy before services of one worker each. Raises `Missing`."""
    nginx = shutil.which("nginx")
    if nginx is None:
        raise Missing("nginx is not on PATH")
    with ExitStack() as stack:
        one_worker = {"VAD_WORKERS": "1", "VAD_MAX_QUEUE": "128"}
        services = [stack.enter_context(running(start_ours(plan, one_worker))) for _ in range(cores())]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        servers = " ".join(f"server 127.0.0.1:{service.port};" for service in services)
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, servers=servers, port=port))
        proxy = subprocess.Popen([nginx, "-p", folder, "-c", folder / "nginx.conf"], stdin=subprocess.DEVNULL)
        stack.callback(proxy.wait)
        stack.callback(proxy.terminate)
        time.sleep(0.5)
        if proxy.poll() is not None:
            raise Missing("nginx does not start")
        yield port
