"""What README.md shows runs and gives the numbers it shows; what pages name exists."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

import xent_jax

from .benchmarks import page, tables
from .documents import RUNNING, cells, run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [".github/CHANGELOG.md", ".github/CONTRIBUTING.md", "README.md", "notebooks/recipes.md"]

pytestmark = pytest.mark.usefixtures("as_by_default")


@pytest.mark.slow
def test_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(README, "README.md") > 7


def test_readme_is_short():
    assert README.count("\n") <= 200


def fence(language, code):
    return f"```{language}\n{code}\n```\n"


def table(header, *rows):
    return "".join(f"| {row} |\n" for row in (header, *rows)).replace("\n", "\n|---|\n", 1)


def test_a_wrong_document_is_noticed():
    assert run(fence("python", "x = 1") + fence("pycon", ">>> x\n1") + fence("sh", "no"), "d") == 2
    with pytest.raises(ZeroDivisionError):
        run(fence("python", "1 / 0"), "document")
    with pytest.raises(UserWarning):
        run(fence("python", "import warnings\nwarnings.warn('so')"), "document")
    with pytest.raises(AssertionError, match="Expected"):
        run(fence("python", "x = 1") + fence("pycon", ">>> x + 1\n3"), "document")


@pytest.mark.parametrize(
    "wrong",
    [
        table("you have | call", "x | `x + 1`, `x / 0`"),
        table("there | here | gives", "`optax.l2_loss(x)` | `x` | 2"),
        table("there | here | gives", "`optax.l2_loss(x)` | `x` | 1"),
    ],
)
def test_a_wrong_table_is_noticed(wrong):
    start = fence("python", "x = 1.0")
    run(start + table("there | here | gives", "`optax.l2_loss(x)` | `x / 2` | 0.5"), "document")
    with pytest.raises((AssertionError, ZeroDivisionError)):
        run(start + wrong, "document")


@pytest.mark.slow
def test_what_peers_give_is_what_the_readme_says():
    """Rounding differs from machine to machine: of a figure that is wrong no digit is held."""
    (rows,) = (t[4] for t in RUNNING.finditer(README) if "in float32" in (t[3] or ""))
    confident, close, excluded, wrapped = (cells(row[1:-1])[1:] for row in rows.splitlines())

    z = jnp.array([20.0, 0.0, 0.0, -1.0])
    assert confident[0] == f"{xent_jax.softmax_cross_entropy(z, 0):.4g}"
    assert float(confident[1]) == optax.softmax_cross_entropy_with_integer_labels(z, 0) == 0

    def kl_in_optax(zp, zq):
        return optax.losses.kl_divergence(jax.nn.log_softmax(zq), jax.nn.softmax(zp))

    zp, zq = jnp.array([0.0, 2.0, 1.0]), jnp.array([1e-4, 2.0, 1.0])
    assert close[0] == f"{xent_jax.softmax_kl_divergence(zp, zq):.4g}"
    assert float(close[1]) < 0 and kl_in_optax(zp, zq) < 0

    zp, zq = jnp.array([0.0, -jnp.inf, 1.0]), jnp.array([1.0, -jnp.inf, 0.0])
    assert excluded[0] == f"{xent_jax.softmax_kl_divergence(zp, zq):.4g}"
    assert excluded[1] == excluded[2] == "NaN" and jnp.isnan(kl_in_optax(zp, zq))

    z = jnp.array([1.0, 2.0, 3.0])
    assert wrapped[0] == "NaN" and jnp.isnan(xent_jax.softmax_cross_entropy(z, -1))
    wrong = optax.softmax_cross_entropy_with_integer_labels(z, jnp.array(-1))
    assert wrapped[1] == f"{wrong:.4g}"


def test_what_pytorch_gives_is_what_the_readme_says():
    torch = pytest.importorskip("torch")
    F, tensor = torch.nn.functional, torch.tensor
    assert F.cross_entropy(tensor([20.0, 0.0, 0.0, -1.0]), tensor(0)) == 0

    def kl(zp, zq):
        p, log_q = F.softmax(tensor(zp), -1), F.log_softmax(tensor(zq), -1)
        return F.kl_div(log_q, p, reduction="sum")

    assert kl([0.0, 2.0, 1.0], [1e-4, 2.0, 1.0]) < 0
    assert kl([0.0, -torch.inf, 1.0], [1.0, -torch.inf, 0.0]).isnan()
    with pytest.raises(IndexError):
        F.cross_entropy(tensor([[1.0, 2.0, 3.0]]), tensor([-1]))


def test_pages_are_made_of_the_results_that_are_kept():
    assert tables.main(["--check"]) == 0


def test_every_result_is_shown_and_has_its_command():
    kept = {path.stem for path in (ROOT / "tests/benchmarks/results").glob("*.json")}
    assert kept == page.COMMANDS.keys()
    shown = re.findall(r"<!-- table: (\S+) -->", page.PAGE)
    assert all(any(name.startswith(stem) for name in shown) for stem in kept)


@pytest.mark.parametrize("name", PAGES)
def test_files_that_a_page_names_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [(ROOT / name).parent / x for x in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)]
    paths = re.findall(r"`((?:xent_jax|tests|notebooks|\.ci|\.github)/[\w./]*)`", text)
    missing = [str(path) for path in (*links, *(ROOT / x for x in paths)) if not path.exists()]
    assert not missing
