"""Worst errors over all inputs there are: 2³² logits in float32, 2¹⁶ or their pairs in narrow."""

from collections.abc import Iterator

from ..exhaustive import cases, exhaust
from ..report import markdown
from ..settings import Row, Settings

DEFAULT = False
_DTYPES = ("float32", "bfloat16", "float16")


def run(settings: Settings) -> Iterator[Row]:
    for dtype in settings.dtypes or _DTYPES:
        for case in cases(dtype):
            settings.progress(f"exhaustive {dtype} {case.function}")
            yield {"function": case.function, "dtype": dtype, "pairs": case.pairs} | exhaust(
                case, dtype
            )


def describe(row: Row) -> str:
    inputs = "pairs of logits" if row["pairs"] else "logits"
    errors = (f"{name} {_error(row[name])}" for name in ("value", "gradient"))
    return f"all {row['dtype']} {inputs}: {row['function']:<32} {', '.join(errors)}"


def _error(worst: Row) -> str:
    where = ", ".join(f"{z:.9g}" for z in worst["logits"])
    return f"{worst['ulps']:.3g} ulp at {where}"


def tables(rows: list[Row]) -> dict[str, str]:
    """The worst error in units in the last place of each result's dtype, and where it occurs."""
    header = ["all inputs", "function", "value: worst error at", "gradient: worst error at"]
    return {"": markdown(header, map(_line, rows))}


def _line(row: Row) -> list[str]:
    inputs = f"{row['dtype']}, {'pairs' if row['pairs'] else 'one logit'}"
    function, _, label = row["function"].partition(", ")
    name = f"`{function}`" + (f", {label}" if label else "")
    return [inputs, name, _error(row["value"]), _error(row["gradient"])]
