"""The house: short files and functions, one name for one thing, public modules that only tell."""

import ast
import collections
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "xent_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
PUBLIC = [p for p in PACKAGE.glob("*.py") if not p.name.startswith("_")]

each = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))


def functions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def lines_of_code(function):
    """Those that its statements take, without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return sum(statement.end_lineno - statement.lineno + 1 for statement in body)


@each
def test_a_file_has_300_lines_at_most(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@each
def test_a_function_fits_on_a_screen(path):
    for f in functions(path):
        assert lines_of_code(f) <= 45, f.name  # 40 and the blank lines and comments between them
        assert len(f.args.posonlyargs) + len(f.args.args) <= 6, f.name


@pytest.mark.parametrize("path", PUBLIC, ids=lambda p: p.name)
def test_a_public_function_has_a_few_lines(path):
    for f in functions(path):
        if not f.name.startswith("_"):
            assert lines_of_code(f) <= 9, f.name


def test_one_name_for_one_thing():
    places = collections.defaultdict(list)
    for path in FILES:
        if "demo" in path.parts:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                places[node.name].append(path.name)
    assert not {name: found for name, found in places.items() if len(found) > 1}


@each
def test_private_names_stay_in_their_file(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            private = [a.name for a in node.names if a.name.startswith("_")]
            assert all(name == "_checks" for name in private)
