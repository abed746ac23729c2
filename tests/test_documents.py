"""The code in the README runs as it stands: python blocks in order, pycon blocks as doctests."""

import doctest
import re
from pathlib import Path

import jax
import pytest

README = Path(__file__).parent.parent / "README.md"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def blocks(text):
    """(language, code, line) of every fenced block with a language."""
    for block in FENCED.finditer(text):
        yield block[1], block[2], text.count("\n", 0, block.start(2))


def run(text, name):
    """Runs the blocks in one namespace, as a reader would paste them one after another."""
    namespace = {"__name__": "__main__"}
    ran = 0
    for language, code, line in blocks(text):
        if language == "python":
            # Blank lines in front: a traceback then names the line of the document.
            exec(compile("\n" * line + code, name, "exec"), namespace)
        elif language == "pycon":
            test = doctest.DocTestParser().get_doctest(code, namespace, name, name, line)
            report = []
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            runner.run(test, out=report.append, clear_globs=False)
            namespace = test.globs
            assert not report, "".join(report)
        ran += language in ("python", "pycon")
    return ran


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert run(README.read_text(encoding="utf-8"), "README.md") > 0


def fence(language, code):
    return f"```{language}\n{code}\n```\n"


def test_a_wrong_document_is_noticed():
    assert run(fence("python", "x = 1") + fence("pycon", ">>> x\n1") + fence("sh", "no"), "d") == 2
    with pytest.raises(ZeroDivisionError):
        run(fence("python", "1 / 0"), "document")
    with pytest.raises(UserWarning):
        run(fence("python", "import warnings\nwarnings.warn('so')"), "document")
    with pytest.raises(AssertionError, match="Expected"):
        run(fence("python", "x = 1") + fence("pycon", ">>> x + 1\n3"), "document")
