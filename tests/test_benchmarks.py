"""The benchmark command at a tiny size, and the tables that are made of its results."""

import json
from pathlib import Path

import jax
import pytest

from .benchmarks import aot, cli, tables

_ROOT = Path(__file__).parent.parent
_TINY = ("--shape", "4x5", "--repeats", "1", "--peers", "optax", "jax")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with the results of every suite on one function."""
    folder = tmp_path_factory.mktemp("results")
    for suite, function in (
        ("dense", "softmax_cross_entropy/ids"),
        ("dispatch", "softmax_cross_entropy/soft"),
        ("compile", "kl_divergence"),
        ("accuracy", "softmax_kl_divergence"),
    ):
        where = "--json", str(folder / f"{suite}.json")
        assert cli.main(["--suite", suite, "--function", function, *_TINY, *where]) == 0
    return folder


def _rows(results, suite):
    kept = json.loads((results / f"{suite}.json").read_text())
    assert {"device", "cores", "jax", "python", "commit", "peers"} == kept["environment"].keys()
    return kept["suites"][suite]


@pytest.mark.parametrize("suite", ["dense", "dispatch", "compile"])
def test_every_variant_is_timed_once_per_repeat(results, suite):
    for row in _rows(results, suite):
        assert {"xent_jax", "optax", "jax"} <= row["seconds"].keys()
        assert all(len(s) == 1 and s[0] > 0 for s in row["seconds"].values())


def test_dense_measures_limit_and_temporaries_of_both_passes(results):
    rows = _rows(results, "dense")
    assert [row["pass"] for row in rows] == ["forward", "value and gradient"]
    for row in rows:
        assert {"limit:read", "limit:read+exp", "limit:copy"} <= row["seconds"].keys()
        assert {"xent_jax", "optax", "jax"} == row["temporary_bytes"].keys()
        assert row["input_bytes"] == 4 * 5 * 4 + 4 * 4


def test_accuracy_tells_a_small_error_from_a_wrong_kind_of_answer(results):
    close, masked = (row["errors"] for row in _rows(results, "accuracy"))
    assert close["xent_jax"]["value"] < 1e-6 and close["optax"]["value"] > 1
    assert masked["xent_jax"]["value"] < 1e-6 and masked["optax"]["value"] == "NaN"


@pytest.fixture
def page(tmp_path):
    page = tmp_path / "page.md"
    names = ("dense-4x5", "dispatch", "compile", "accuracy")
    blocks = (f"<!-- table: {name} -->\n<!-- end -->\n" for name in names)
    page.write_text("before\n" + "between\n".join(blocks) + "after\n")
    return page


def test_tables_are_written_and_checked(results, page, capsys):
    arguments = [str(page), "--results", str(results)]
    assert tables.main([*arguments, "--check"]) == 1
    assert "not up to date" in capsys.readouterr().err
    assert tables.main(arguments) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert text.count("between\n") == 3 and text.count("| :-- |") == 4
    assert tables.main([*arguments, "--check"]) == 0
    assert tables.main(arguments) == 0 and page.read_text() == text


@pytest.mark.parametrize(
    "text, problem",
    [
        ("<!-- table: unheard-of -->\n<!-- end -->\n", "no results for table 'unheard-of'"),
        ("<!-- table: compile -->\n", "has no '<!-- end -->'"),
    ],
)
def test_tables_say_what_is_wrong_and_leave_the_file(results, page, capsys, text, problem):
    page.write_text(text)
    assert tables.main([str(page), "--results", str(results)]) == 2
    assert problem in capsys.readouterr().err and page.read_text() == text


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--repeats", "0"], "whole number of at least 1"),
        (["--shape", "12"], "ROWSxCLASSES such as 2048x32768, got '12'"),
        (["--shape", "0x3"], "got '0x3'"),
        (["--suite", "spped"], "invalid choice: 'spped'"),
        (["--dtype", "int8"], "invalid choice: 'int8'"),
        (["--json", "no/such/folder/x.json"], "cannot write a file"),
        (["--faster"], "unrecognized arguments: --faster"),
        (["--target", "h100"], "expected h200 or a TPU as v5p:2x2x1, got 'h100'"),
        (["--target", "h200"], "only for --suite accelerators"),
        (["--suite", "accelerators", "--suite", "dense"], "accelerators runs alone"),
    ],
)
def test_bad_option_is_one_clear_line(capsys, arguments, said):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1


def test_a_shape_that_does_not_fit_is_skipped(capsys, monkeypatch):
    monkeypatch.setattr("tests.benchmarks.suites.dense.free_bytes", lambda: 100)
    assert cli.main(["--suite", "dense", *_TINY]) == 0
    assert "skipped 4x5" in capsys.readouterr().err


@pytest.fixture
def no_plugin(monkeypatch):
    monkeypatch.setattr(aot, "available", lambda target: False)


@pytest.mark.parametrize(
    "target, said",
    [
        (["--target", "h200"], ["h200 has", "jax-cuda13-plugin=="]),
        (["--target", "v9:2x2"], ["v9:2x2 has", '"jax[tpu]==']),
        ([], ["jax-cuda13-pjrt==", " or ", '"jax[tpu]==']),
    ],
)
def test_a_missing_compiler_is_named_with_its_installation(no_plugin, capsys, target, said):
    aot.devices.cache_clear()
    with pytest.raises(SystemExit) as stop:
        cli.main(["--suite", "accelerators", *target])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert all(part in error for part in [*said, jax.__version__])


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """A folder with results of the suite accelerators, where the CPU plays both targets."""
    monkeypatch.setattr(aot, "devices", lambda target: jax.devices("cpu"))
    monkeypatch.setattr(aot, "available", lambda target: True)
    monkeypatch.setattr(jax, "clear_caches", lambda: None)  # other tests profit from them
    where = "--json", str(tmp_path / "accelerators.json")
    functions = "--function", "softmax_entropy", "--function", "softmax_cross_entropy/smoothed"
    assert cli.main(["--suite", "accelerators", *functions, *_TINY, *where]) == 0
    return tmp_path


def test_programs_are_read_for_each_target_pass_and_dtype(compiled):
    rows = _rows(compiled, "accelerators")
    assert len(rows) == len({str([*row.values()][:5]) for row in rows}) == 2 * 2 * 2 * 2
    for row in rows:
        assert row["programs"].keys() in ({"xent_jax", "optax"}, {"xent_jax", "jax"})
        assert all(p["traffic_bytes"] >= row["least_bytes"] for p in row["programs"].values())
    entropy = {(row["pass"], row["dtype"]): row for row in rows if "entropy" in row["function"]}
    wide, narrow = (entropy["value and gradient", d] for d in ("float32", "bfloat16"))
    assert (wide["input_bytes"], narrow["input_bytes"]) == (80, 40)


def test_tables_of_programs(compiled):
    found = tables.known_tables(compiled)
    sides = "value", "value-and-gradient"
    names = [f"accelerators-{t}-4x5-{s}" for t in ("h200", "v5p-2x2x1") for s in sides]
    assert sorted(found) == sorted(names)
    header, _, *lines = found[names[0]].splitlines()
    assert header.startswith("| float32 / bfloat16 | peer | traffic | peer's |")
    assert [line.split(" | ")[:2] for line in lines[:2]] == [
        ["| `softmax_cross_entropy`, integer labels, smoothed", "optax"],
        ["| `softmax_entropy`", "jax"],
    ]


@pytest.mark.parametrize("page", ["README.md", "tests/benchmarks/README.md"])
def test_pages_show_the_results_that_are_kept(page):
    assert tables.main([str(_ROOT / page), "--check"]) == 0
