"""How numbers look: on the terminal, and in the Markdown tables."""

from collections.abc import Iterable, Sequence


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with every column but the first aligned to the right."""
    ruler = [":--"] + ["--:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ruler, *rows))


def ratio(x: float | None) -> str:
    if x is None:
        return "—"
    return f"{x:.2f}" if x < 10 else f"{x:.0f}"


def versus(best: Sequence | None) -> str:
    """Ours ÷ the best peer, and which one that is."""
    return "—" if best is None else f"{ratio(best[1])} ({best[0]})"


def percent(x: float | None) -> str:
    if x is None:
        return "—"
    return f"{x:.0f} %" if x >= 10 or x == 0 else f"{x:.1f} %"


def gib(nbytes: float) -> str:
    """The number of GiB, without the unit."""
    return f"{nbytes / 2**30:.3g}"


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def durations(seconds: dict[str, float]) -> str:
    return " · ".join(f"{name} {duration(s)}" for name, s in seconds.items())


def significant(samples: dict[str, list[float]]) -> dict[str, list[float]]:
    """Four digits: more would be noise in a file that is kept."""
    return {name: [float(f"{s:.4g}") for s in seconds] for name, seconds in samples.items()}
