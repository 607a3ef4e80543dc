"""The cases: each a function from a plan to a result."""

from collections.abc import Callable

from benchmarks.cases.clips import clips
from benchmarks.cases.editions import editions
from benchmarks.cases.fairness import fairness
from benchmarks.cases.floor import floor
from benchmarks.cases.growth import growth, growth_files, growth_models
from benchmarks.cases.http import http
from benchmarks.cases.install import install
from benchmarks.cases.latency import latency
from benchmarks.cases.live import live, live_models
from benchmarks.cases.memory import memory
from benchmarks.cases.offline import costs, flac, models, mp3, wav
from benchmarks.cases.overload import overload
from benchmarks.cases.parts import parts
from benchmarks.cases.realtime import realtime
from benchmarks.cases.replicas import replicas
from benchmarks.cases.request import request
from benchmarks.cases.siege import siege
from benchmarks.cases.startup import startup
from benchmarks.cases.steps import steps
from benchmarks.plan import Plan
from benchmarks.table import Result

CASES: dict[str, Callable[[Plan], Result]] = {
    "wav": wav,
    "models": models,
    "costs": costs,
    "flac": flac,
    "mp3": mp3,
    "floor": floor,
    "parts": parts,
    "request": request,
    "steps": steps,
    "editions": editions,
    "growth": growth,
    "growth_models": growth_models,
    "growth_files": growth_files,
    "memory": memory,
    "http": http,
    "clips": clips,
    "replicas": replicas,
    "fairness": fairness,
    "overload": overload,
    "siege": siege,
    "live": live,
    "live_models": live_models,
    "latency": latency,
    "realtime": realtime,
    "startup": startup,
    "install": install,
}
