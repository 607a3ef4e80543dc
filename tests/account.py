"""What the tests cost, by file: `make test ARGS=--cpu`.

Processor time of the processes that run tests, and of children that have ended, counted from one report of a test to
the next, so that what lies between belongs to the test behind it. Commands that are forked (`tests/forked.py`) count
when the process has ended that they are forked from, at the end.
"""

import os
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

_MOST_FILES = 40
_MOST_TESTS = 20


def _spent() -> tuple[float, float]:
    """Processor time of this process and of its children, s."""
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system


class Account:
    """A plugin: in processes that run tests it counts, in the one that is told of all it sums up."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._before = (0.0, 0.0)
        self._tests: Counter[str] = Counter()
        self._children: Counter[str] = Counter()
        """Of what a file's tests have cost."""
        self._processes: list[dict[str, float]] = []
        """What each process spent until it had collected its tests, and in all."""
        self._mine: dict[str, float] = {}

    def pytest_collection(self) -> None:
        self._mine["started"] = sum(_spent())

    def pytest_collection_finish(self) -> None:
        self._before = _spent()
        self._mine["collected"] = sum(self._before)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        now = _spent()
        report.cpu_s = [later - earlier for later, earlier in zip(now, self._before, strict=True)]
        self._before = now
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._mine["ended"] = sum(_spent())
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["cpu_s"] = self._mine
        elif len(self._mine) == 3:
            self._processes.append(self._mine)

    # ---- in the process that is told

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        if spent := getattr(node, "workeroutput", {}).get("cpu_s"):
            self._processes.append(spent)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        own, children = getattr(report, "cpu_s", (0.0, 0.0))
        self._tests[report.nodeid] += own + children
        self._children[report.nodeid.partition("::")[0]] += children

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tables, the dearest first."""
        files, counts = Counter[str](), Counter[str]()
        for test, seconds in self._tests.items():
            files[test.partition("::")[0]] += seconds
            counts[test.partition("::")[0]] += 1
        write = terminalreporter.write_line
        for each in self._processes:
            collecting, testing = each["collected"] - each["started"], each["ended"] - each["collected"]
            write(
                f"a process: {each['started']:.1f} s to start, {collecting:.1f} to collect, {testing:.1f} for its tests"
            )
        write(f"{sum(files.values()):8.1f} s  {len(self._tests):5} tests")
        write("       s  of children  tests")
        for name, seconds in files.most_common(_MOST_FILES):
            write(f"{seconds:8.2f}  {self._children[name]:11.2f}  {counts[name]:5}  {name}")
        for name, seconds in self._tests.most_common(_MOST_TESTS):
            write(f"{seconds:8.2f}  {name}")
