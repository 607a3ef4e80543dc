"""What a storm left behind, in figures."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Account:
    """What happened."""

    accepted: int = 0
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken_connections: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)
    """(requests answered, resident bytes) of the server that runs."""
    at_rest: list[int] = field(default_factory=list)
    """Bytes that the server has in use in each lull after the restart."""
    restarts: int = 0
    children_killed: int = 0
    faults: int = 0
    """Exceptions that were put into the workers."""
    disk_is_small: bool = False
    full_disk: int = 0
    """Uploads refused because their disk was full."""
    left_files: int = 0
    left_children: int = 0
    descriptors: tuple[int, int] = (0, 0)

    def percentile(self, share: float) -> float:
        """Of the accepted requests' latency, ms."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    @property
    def memory_slope(self) -> float:
        """Bytes of resident memory that each request adds, by least squares over the second half; 0 for few samples."""
        half = self.memory[len(self.memory) // 2 :]
        if len(half) < 5:
            return 0.0
        mean_x = sum(x for x, _ in half) / len(half)
        mean_y = sum(y for _, y in half) / len(half)
        spread = sum((x - mean_x) ** 2 for x, _ in half)
        return sum((x - mean_x) * (y - mean_y) for x, y in half) / spread if spread else 0.0

    @property
    def memory_growth_mb(self) -> float:
        """By how much more is in use at the last rest than at the second: until then each thread meets its first long
        block, for which it keeps room, some 10 MB in all."""
        return (self.at_rest[-1] - self.at_rest[1]) / 2**20 if len(self.at_rest) > 1 else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """For the table of docs/reliability.md."""
        latency = " / ".join(f"{self.percentile(share / 100):,.0f}" for share in (50, 95, 99))
        told = {
            "accepted, compared with the right answer": self.accepted,
            "wrong": len(self.wrong),
            "refused with 503": self.statuses[503],
            "of them because the disk was full": self.full_disk if self.disk_is_small else None,
            "decoders killed": self.children_killed,
            "exceptions put into scoring": self.faults,
            "restarts": self.restarts,
            "connections broken, most by the restart": self.broken_connections,
            "accepted: median / 95th / 99th percentile ms": latency,
            "memory in use: more at the end, MB": self.memory_growth_mb,
            "descriptors before / after": " / ".join(map(str, self.descriptors)),
            "temporary files left": self.left_files,
            "processes left": self.left_children,
        }
        return [{"name": name, "value": value} for name, value in told.items()]

    def told(self) -> str:
        """For people."""
        refused = {status: count for status, count in sorted(self.statuses.items()) if status != 200}
        disk = f"{self.full_disk}" if self.disk_is_small else "not tried (mounting a small disk takes root)"
        latency = " ".join(f"p{share} {self.percentile(share / 100):.0f}" for share in (50, 95, 99))
        return "\n".join([
            f"accepted {self.accepted}, wrong {len(self.wrong)}, other answers {refused}",
            f"faults: decoders killed {self.children_killed}, exceptions in workers {self.faults}, "
            f"disk full: {disk}, restarts {self.restarts} (connections broken {self.broken_connections})",
            f"latency of accepted, ms: {latency}",
            f"memory: {self.memory_slope:.0f} resident bytes more a request; in use at the last rest "
            f"{self.memory_growth_mb:.1f} MB more than at the second; descriptors {self.descriptors[0]} -> "
            f"{self.descriptors[1]}; files left {self.left_files}; children left {self.left_children}",
            *self.wrong[:10],
        ])  # fmt: skip
