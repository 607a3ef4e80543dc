"""An hour of audio, part by part, above the matrix products that no implementation can do without."""

from functools import partial

from benchmarks.audio import clip, minutes_of
from benchmarks.contenders import parts_of, products
from benchmarks.plan import Plan
from benchmarks.process import Measured
from benchmarks.table import Result
from benchmarks.turns import Turns, take_turns

_PARTS, _PRODUCTS = "parts", "the products, in order"
_COLUMNS = {"name": "part", "hour_s": "CPU s per hour", "share": "of the whole", "times_products": "x the products"}


def parts(plan: Plan) -> Result:
    """FSMN-VAD on one core, float32."""
    result = Result("parts", "FSMN-VAD on one core: where an hour's processor time goes", _COLUMNS)
    # Ten minutes are enough: every part is linear in the length, and the rounds take turns.
    audio = minutes_of(plan, 2 if plan.quick else 10)
    calls = {_PARTS: partial(parts_of, plan, audio, clip(plan)), _PRODUCTS: products(plan, 1)}
    turns = take_turns(calls, plan.repeat, "parts")
    result.missing = turns.missing
    if turns.missing:
        return result
    floor = turns.median(_PRODUCTS, lambda run: float(run.answer["in_order_s"])) or 0.0
    whole = turns.median(_PARTS, lambda run: float(run.answer["whole"])) or 0.0
    named = {name: _median_of(turns, name) for name in turns.taken[_PARTS][0].answer["parts"]}
    for name, seconds in {**named, "the whole": whole, _PRODUCTS: floor}.items():
        result.rows.append(
            {"name": name, "hour_s": seconds, "share": seconds / whole, "times_products": seconds / floor}
        )
    result.notes.append("network: frontend and network, less the frontend by itself; the products are a part of it.")
    return result


def _median_of(turns: Turns[Measured], part: str) -> float:
    return turns.median(_PARTS, lambda run: float(run.answer["parts"][part])) or 0.0
