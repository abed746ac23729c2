"""The house: short files and functions, one name for one thing, public modules that only tell."""

import ast
import collections
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "xent_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
PUBLIC = [p for p in PACKAGE.glob("*.py") if not p.name.startswith("_")]


def functions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def lines_of_code(function):
    """Those that its statements take, without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return sum(statement.end_lineno - statement.lineno + 1 for statement in body)


def test_a_file_has_300_lines_at_most():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {path: n for path, n in lines.items() if n > 300}


def test_a_function_fits_on_a_screen():
    for path in FILES:
        for f in functions(path):
            where = f"{path}: {f.name}"
            assert lines_of_code(f) <= 45, where  # 40, and blank lines and comments between them
            assert len(f.args.posonlyargs) + len(f.args.args) <= 6, where


def test_a_public_function_has_a_few_lines():
    for f in (f for path in PUBLIC for f in functions(path)):
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


def test_private_names_stay_in_their_file():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                private = [a.name for a in node.names if a.name.startswith("_")]
                assert all(name == "_checks" for name in private), path
