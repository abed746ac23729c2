"""Runs what a document shows, as a reader would: blocks of code and tables in one namespace."""

import doctest
import importlib
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# A fenced block with a language, or a table.
RUNNING = re.compile(
    r"^```(\w+)\n(.*?)^```$|^\|([^\n]+)\|\n\|[ :|-]+\|\n((?:\|[^\n]*\n)+)", re.M | re.S
)
CODE = re.compile(r"`([^`]+)`")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# What other libraries are called in tables; those that are not installed are not asked.
PEERS = {
    "F": "torch.nn.functional",
    "optax": "optax",
    "scipy": "scipy",
    "tfd": "tensorflow_probability.substrates.jax.distributions",
    "tokamax": "tokamax",
    "torch": "torch",
}


def run(text, name, namespace=None):
    """Runs blocks and tables in one namespace, as a reader would paste them one after another."""
    namespace = {} if namespace is None else namespace
    namespace["__name__"] = "__main__"
    ran = 0
    for found in RUNNING.finditer(text):
        language, code, header, rows = found.groups()
        line = text.count("\n", 0, found.start()) + 1
        if language == "python":
            # Blank lines in front: a traceback then names the line of the document.
            exec(compile("\n" * line + code, name, "exec"), namespace)
        elif language == "pycon":
            test = doctest.DocTestParser().get_doctest(code, namespace, name, name, line)
            report = []
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            runner.run(test, out=report.append, clear_globs=False)
            namespace.update(test.globs)
            assert not report, "".join(report)
        elif header:
            run_table(cells(header), [cells(row[1:-1]) for row in rows.splitlines()], namespace)
        ran += language in ("python", "pycon")
    return ran


def cells(line):
    return [cell.strip() for cell in line.split("|")]


def run_table(header, rows, namespace):
    """Code under "call" traces; code under "here" and "there" gives what stands under "gives"."""
    for row in (dict(zip(header, row, strict=True)) for row in rows):
        for code in CODE.findall(row.get("call", "")):
            jax.eval_shape(partial(eval, code, namespace))
        if "gives" in row:
            (code,) = CODE.findall(row["here"])
            assert f"{float(eval(code, namespace)):.4g}" == row["gives"], code
            for code in CODE.findall(row["there"]):
                value = peer_value(code, namespace)
                assert value is None or value == pytest.approx(float(row["gives"]), 1e-3), code


def peer_value(code, namespace):
    """What the expression of a peer gives; None for one that is not installed."""
    names = [name for name in PEERS if re.search(rf"\b{name}\.", code)]
    assert names, f"no known library in {code}"
    try:
        peers = {name: importlib.import_module(PEERS[name]) for name in names}
    except ImportError:
        return None
    in_torch = not {"F", "torch"}.isdisjoint(names)
    return float(eval(code, peers | (as_torch(namespace) if in_torch else namespace)))


def as_torch(namespace):
    tensor = importlib.import_module("torch").tensor
    floating = {k: x for k, x in namespace.items() if getattr(x, "dtype", None) == jnp.float32}
    return namespace | {k: tensor(np.array(x)) for k, x in floating.items()}
