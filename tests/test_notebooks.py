"""Notebooks as they are committed: short, executed in order, clean, and linked from README.

That they run is the matter of `python -m pytest -o addopts= --nbmake notebooks`.
"""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_there_are_notebooks_one_for_each_number():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{n:02}" for n in range(1, 8)]


@each
def test_a_notebook_is_short_and_linked(path):
    assert 8 <= len(cells(path, "code")) + len(cells(path, "markdown")) <= 14
    assert path.stat().st_size < 300_000
    assert f"(notebooks/{path.name})" in README


@each
def test_a_notebook_was_executed_in_order_and_is_clean(path):
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert not cell["metadata"]
        for output in cell["outputs"]:
            assert output["output_type"] != "error" and output.get("name") != "stderr"
            assert "image/svg+xml" not in output.get("data", {})
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|tmp|root|work|usr)/", text)


@each
def test_a_notebook_shows_a_picture(path):
    outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
