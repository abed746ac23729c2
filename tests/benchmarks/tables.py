"""`python -m tests.benchmarks.tables`: writes the kept results into README.md and the page here.

In README.md, between `<!-- table: NAME -->` and `<!-- end -->`, goes the table of that name; of the
page of all tables, tests/benchmarks/README.md, everything is written. NAME is the name of a file in
results/ (with the suite, where that is not how it begins), then what the suite adds: a shape, for
instance, as in `dense-2048x32768`. `summary-accuracy` and `summary-speed` have five rows each.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import suites
from .page import PAGE
from .summary import summaries

_HERE = Path(__file__).parent
_RESULTS, _PAGE, _README = _HERE / "results", _HERE / "README.md", _HERE.parents[1] / "README.md"
_BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_OPENING = "<!-- table:"


class Problem(Exception):
    """Something about the files that the user has to put right."""


def known_tables(results: Path) -> dict[str, str]:
    """Every table that the kept results give, by name, with what it was measured on."""
    kept = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    found = {}
    for stem, result in kept.items():
        for suite, rows in result["suites"].items():
            prefix = stem if stem.startswith(suite) else f"{stem}-{suite}"
            for suffix, table in suites.load(suite).tables(rows).items():
                name = f"{prefix}-{suffix}" if suffix else prefix
                found[name] = f"{table}\n\n{_caption([(result['environment'], rows)])}"
    for name, (table, sources) in summaries(kept).items():
        parts = [(s["environment"], r) for s in sources for r in s["suites"].values()]
        found[name] = f"{table}\n\n{_caption(parts)}"
    return found


def _caption(parts: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]]) -> str:
    """The dtypes of the rows, and on what they were measured: once, where that is the same."""
    dtypes: dict[str, list[str]] = {}
    for environment, rows in parts:
        found = dtypes.setdefault(_environment(environment), [])
        found += [row["dtype"] for row in rows if "dtype" in row]
    lines = (", ".join([*dict.fromkeys(of), where]) for where, of in dtypes.items())
    return f"<sub>{'; '.join(lines)}</sub>"


def _environment(environment: dict[str, Any]) -> str:
    peers = re.sub(r"\bjax [^,]*(, )?", "", environment["peers"]).removesuffix(", ")
    return ", ".join(
        [
            environment["device"],
            f"{environment['cores']} cores",
            f"JAX {environment['jax']}",
            f"Python {environment['python']}",
            *([peers] if peers else []),
            f"commit {environment['commit']}",
        ]
    )


def fill(text: str, tables: dict[str, str]) -> str:
    """The text with every block rewritten."""
    if text.count(_OPENING) != sum(_OPENING not in m[3] for m in _BLOCK.finditer(text)):
        raise Problem(f"a '{_OPENING} NAME -->' line has no '<!-- end -->' after it")

    def rewrite(block: re.Match[str]) -> str:
        if block[2] not in tables:
            have = ", ".join(tables) or "none"
            raise Problem(f"no results for table {block[2]!r}; there are: {have}")
        return f"{block[1]}{tables[block[2]]}\n{block[4]}"

    return _BLOCK.sub(rewrite, text)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.tables", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="fill in the tables of this one alone")
    parser.add_argument("--check", action="store_true", help="exit 1 if it is not up to date")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder of *.json")
    options = parser.parse_args(argv)
    try:
        tables = known_tables(options.results)
        found = {path: _read(path) for path in ([options.file] if options.file else [_README])}
        wanted = {path: fill(text, tables) for path, text in found.items()}
        if options.file is None:
            found[_PAGE], wanted[_PAGE] = _read(_PAGE), fill(PAGE, tables)
    except (OSError, Problem) as problem:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 2
    stale = [path for path in found if found[path] != wanted[path]]
    for path in stale:
        if options.check:
            print(f"{path} is not up to date: run {parser.prog}", file=sys.stderr)
        else:
            path.write_text(wanted[path], encoding="utf-8")
    return int(options.check and bool(stale))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
