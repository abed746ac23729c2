"""What importing the package costs and brings in, and what it shows to its users."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xent_jax

PACKAGE = Path(xent_jax.__file__).parent
PUBLIC = sorted(n for n in vars(xent_jax) if not n.startswith("_") and callable(vars(xent_jax)[n]))
CODE = """
import sys
import jax
before = set(sys.modules)
import xent_jax
print(*(set(sys.modules) - before))
"""


@pytest.fixture(scope="module")
def imports(tmp_path_factory):
    """Three times: the modules that `import xent_jax` adds to `import jax`, and both their seconds.

    With bytecode, as an installed package has it: the first run writes it, the others read it.
    """
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    runs = []
    for _ in range(3):
        command = [sys.executable, "-X", "importtime", "-c", CODE]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        told = re.findall(r"\| +(\d+) \| (xent_jax|jax)$", done.stderr, re.MULTILINE)
        seconds = {module: int(cumulative) / 1e6 for cumulative, module in told}
        runs.append((set(done.stdout.split()), seconds["xent_jax"], seconds["jax"]))
    return runs


@pytest.mark.slow
def test_import_adds_little_time(imports):
    """At most 50 ms, or on a slow machine a tenth of what JAX takes by itself."""
    ours, whole = (min(seconds) for seconds in list(zip(*imports, strict=True))[1:])
    assert ours < max(0.05, 0.1 * whole)


def test_import_brings_in_nothing_heavy(imports):
    modules = {name.partition(".")[0] for added, *_ in imports for name in added}
    assert "xent_jax" in modules
    assert not modules & {"optax", "chex", "scipy", "matplotlib", "sklearn", "tqdm", "numpy"}
    assert not any(name.startswith("xent_jax.demo") for added, *_ in imports for name in added)


def test_version_is_that_of_the_distribution():
    assert xent_jax.__version__ == importlib.metadata.version("xent-jax")


def sources():
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_private_of_jax_is_imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        assert not [n for n in names if n.startswith(("jax._src", "jaxlib"))]


def test_public_names_are_imported_one_by_one_under_their_own_name():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    listed = [alias for node in imports for alias in node.names]
    assert all(alias.name == alias.asname for alias in listed)
    assert sorted(alias.name for alias in listed) == PUBLIC
    # A public function is defined in a module of the package under the same name.
    for name in PUBLIC:
        assert getattr(xent_jax, name).__module__.startswith("xent_jax.")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_function_documents_itself_with_an_example(name):
    doc = getattr(xent_jax, name).__doc__ or ""
    assert re.match(r"\S.*[.]\n", doc), "one sentence first"
    assert re.search(r"^ *Examples?:?$", doc, re.MULTILINE)
    assert f"{name}(" in doc.partition("Example")[2] and ">>> " in doc
