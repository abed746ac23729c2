"""`python -m tests.benchmarks.tables README.md`: writes the kept results into a Markdown file.

Between `<!-- table: NAME -->` and `<!-- end -->` goes the table of that name. NAME is the name of a
file in results/ (with the suite, where that is not how it begins), then what the suite adds: a
shape, for instance, as in `dense-2048x32768`.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import suites

_RESULTS = Path(__file__).parent / "results"
_BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_OPENING = "<!-- table:"


class Problem(Exception):
    """Something about the files that the user has to put right."""


def known_tables(results: Path) -> dict[str, str]:
    """Every table that the kept results give, by name."""
    found = {}
    for path in sorted(results.glob("*.json")):
        kept = json.loads(path.read_text())
        for suite, rows in kept["suites"].items():
            prefix = path.stem if path.stem.startswith(suite) else f"{path.stem}-{suite}"
            for suffix, table in suites.load(suite).tables(rows).items():
                name = f"{prefix}-{suffix}" if suffix else prefix
                found[name] = f"{table}\n\n{_caption(kept['environment'], rows)}"
    return found


def _caption(environment: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    dtypes = dict.fromkeys(row["dtype"] for row in rows if "dtype" in row)
    peers = re.sub(r"\bjax [^,]*(, )?", "", environment["peers"])
    return "<sub>" + ", ".join(
        [
            *dtypes,
            environment["device"],
            f"{environment['cores']} cores",
            f"JAX {environment['jax']}",
            f"Python {environment['python']}",
            *([peers.removesuffix(", ")] if peers else []),
            f"commit {environment['commit']}</sub>",
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
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="exit 1 if it is not up to date")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder of *.json")
    options = parser.parse_args(argv)
    try:
        text = options.file.read_text(encoding="utf-8")
        filled = fill(text, known_tables(options.results))
    except (OSError, Problem) as problem:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 2
    if options.check:
        if filled != text:
            print(f"{options.file} is not up to date: run {parser.prog} on it", file=sys.stderr)
        return int(filled != text)
    if filled != text:
        options.file.write_text(filled, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
