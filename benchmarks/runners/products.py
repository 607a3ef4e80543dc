"""The floor: nothing but the network's matrix products, as many as an hour of audio needs, at this machine's best.

Two figures. *In order*: the products as the network has them, each reading what the one before it wrote, every core on
tiles of its own, the median of several rounds. *Alone*: each layer's product over and over on operands that never leave
the cache, by the quicker of torch's plain product and oneDNN's with weights laid out beforehand, its best round; no
implementation gets below that. The depthwise convolutions, the frontend, biases, activations, decoding and segmenting
are left out of both.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from measured import stay_on

cores = int(sys.argv[sys.argv.index("--cores") + 1])
stay_on(cores)

import torch  # noqa: E402 - after the threads are set

WIDTHS = [400, 140, 250, *[128, 250] * 4, 140, 248]
"""Values a frame before the first product, and after each."""
HEIGHTS = (1024, 2048)
"""Frames multiplied at a time."""
FRAMES_PER_HOUR = 360_000
"""One every 10 ms."""
ROUNDS, TAKE_S = 7, 0.1
"""The fastest of so many takes counts, each long enough for the clock."""
Product = Callable[[torch.Tensor], torch.Tensor]


def plain(weight: torch.Tensor, height: int) -> Product:
    """torch's product, into the same memory each time."""
    out = torch.empty(height, weight.shape[0])
    turned = weight.t()
    return lambda rows: torch.mm(rows, turned, out=out)


def packed(weight: torch.Tensor, height: int) -> Product:
    """oneDNN's; torch's where torch does not carry it."""
    try:
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, height)
        product: Product = partial(_pointwise, laid_out)
        product(torch.zeros(height, weight.shape[1]))
    except (AttributeError, RuntimeError, TypeError):
        return plain(weight, height)
    return product


def _pointwise(laid_out: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, laid_out, None, "none", [], "")
    return product


def alone_s() -> float:
    """Seconds an hour of audio on one core, each product at its best."""
    times: dict[tuple[int, int], float] = {}
    for shape in _shapes():
        if shape not in times:
            times[shape] = min(_alone(make, height, shape) for make in (plain, packed) for height in HEIGHTS)
    return sum(times[shape] for shape in _shapes()) * FRAMES_PER_HOUR


def _alone(make: Callable[[torch.Tensor, int], Product], height: int, shape: tuple[int, int]) -> float:
    product, rows = make(torch.rand(shape[1], shape[0]), height), torch.rand(height, shape[0])
    return min(round_times(lambda: product(rows))) / height


def in_order_s() -> float:
    """Seconds an hour of audio, all cores at work."""
    with ThreadPoolExecutor(cores) as pool:
        return min(_in_order(pool, make, height) for make in (plain, packed) for height in HEIGHTS)


def _in_order(pool: ThreadPoolExecutor, make: Callable[[torch.Tensor, int], Product], height: int) -> float:
    chains = [[make(torch.rand(out, into) / into, height) for into, out in _shapes()] for _ in range(cores)]
    tiles = 32

    def walk(chain: list[Product]) -> None:
        with torch.inference_mode():
            for _ in range(tiles):
                rows = torch.ones(height, WIDTHS[0])
                for product in chain:
                    rows = product(rows)

    return median(round_times(lambda: list(pool.map(walk, chains)))) / (tiles * height * cores) * FRAMES_PER_HOUR


def round_times(call: Callable[[], object]) -> list[float]:
    """Seconds of one call, in several rounds of many."""
    call()
    started = time.perf_counter()
    call()
    count = max(1, round(TAKE_S / max(time.perf_counter() - started, 1e-6)))
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(count):
            call()
        times.append((time.perf_counter() - started) / count)
    return times


def _shapes() -> list[tuple[int, int]]:
    return list(itertools.pairwise(WIDTHS))


def main() -> None:
    """One JSON line: seconds for an hour of audio, both ways, and the arithmetic in it."""
    torch.set_num_threads(1)  # cores work on tiles of their own, as the service's do
    gflop = sum(2 * into * out for into, out in _shapes()) * FRAMES_PER_HOUR / 1e9
    with torch.inference_mode():
        answer = {"in_order_s": in_order_s(), "alone_s": alone_s() / cores, "gflop": gflop}
    print(json.dumps(answer))


main()
