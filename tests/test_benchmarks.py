"""The benchmark command at a tiny size, and the tables that are made of its results."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from .benchmarks import aot, cli, exhaustive, heads, tables
from .benchmarks.suites import heads as suite_of_heads

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


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["dense", "dispatch", "compile"])
def test_every_variant_is_timed_once_per_repeat(results, suite):
    for row in _rows(results, suite):
        assert {"xent_jax", "optax", "jax"} <= row["seconds"].keys()
        assert all(len(s) == 1 and s[0] > 0 for s in row["seconds"].values())


@pytest.mark.slow
def test_dense_measures_limit_and_temporaries_of_both_passes(results):
    rows = _rows(results, "dense")
    assert [row["pass"] for row in rows] == ["forward", "value and gradient"]
    for row in rows:
        assert {"limit:read", "limit:read+exp", "limit:copy"} <= row["seconds"].keys()
        assert {"xent_jax", "optax", "jax"} == row["temporary_bytes"].keys()
        assert row["input_bytes"] == 4 * 5 * 4 + 4 * 4


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        (["--target", "h200"], "only for --suite accelerators or heads"),
        (["--suite", "accelerators", "--suite", "dense"], "accelerators runs alone"),
        (["--suite", "dense", "--suite", "heads"], "heads runs alone"),
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
def cpu_plays(monkeypatch):
    """The CPU plays every target."""
    monkeypatch.setattr(aot, "devices", lambda target: jax.devices("cpu"))
    monkeypatch.setattr(aot, "available", lambda target: True)
    monkeypatch.setattr(jax, "clear_caches", lambda: None)  # other tests profit from them


@pytest.fixture
def compiled(tmp_path, cpu_plays):
    """A folder with results of the suite accelerators."""
    where = "--json", str(tmp_path / "accelerators.json")
    functions = "--function", "softmax_entropy", "--function", "softmax_cross_entropy/smoothed"
    assert cli.main(["--suite", "accelerators", *functions, *_TINY, *where]) == 0
    return tmp_path


@pytest.mark.slow
def test_programs_are_read_and_shown_for_each_target_pass_and_dtype(compiled):
    rows = _rows(compiled, "accelerators")
    assert len(rows) == len({str([*row.values()][:5]) for row in rows}) == 2 * 2 * 2 * 2
    for row in rows:
        assert row["programs"].keys() in ({"xent_jax", "optax"}, {"xent_jax", "jax"})
        assert all(p["traffic_bytes"] >= row["least_bytes"] for p in row["programs"].values())
    entropy = {(row["pass"], row["dtype"]): row for row in rows if "entropy" in row["function"]}
    wide, narrow = (entropy["value and gradient", d] for d in ("float32", "bfloat16"))
    assert (wide["input_bytes"], narrow["input_bytes"]) == (80, 40)
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


@pytest.fixture
def heads_of(tmp_path, cpu_plays, monkeypatch):
    """A folder with results of the suite heads, for tiny heads and one target."""
    tiny = (heads.Head("odd", 8, 33), heads.Head("even", 8, 64))
    monkeypatch.setattr(suite_of_heads, "HEADS", tiny)
    monkeypatch.setattr(
        suite_of_heads, "SPLITS", heads.SPLITS[2:3] + heads.SPLITS[5:6] + heads.SPLITS[-1:]
    )
    monkeypatch.setattr(suite_of_heads, "ONE_DEVICE", ((32, 8, 33),))
    where = "--json", str(tmp_path / "heads.json")
    options = "--suite", "heads", "--target", "h200", "--peers", "optax"
    assert cli.main([*options, *where]) == 0
    return tmp_path


@pytest.mark.slow
def test_heads_are_read_and_shown_on_one_device_and_on_meshes(heads_of):
    first, *rows = _rows(heads_of, "heads")
    assert first["mesh"] is None and first["programs"].keys() == {"xent_jax", "optax"}
    assert all(p["flops"] == first["share"] == 6 * 32 * 8 * 33 for p in first["programs"].values())
    assert [row["head"] for row in rows] == ["odd"] + ["even"] * 3  # 33 classes are not split
    for row in rows:
        program = row["programs"]["xent_jax"]
        assert row["dtype"] == "bfloat16" and row["mesh"] == [2, 4]
        assert program["flops"] >= row["share"]
        assert {t["kind"] for t in program["transfers"]} & {"all-reduce", "reduce-scatter"}
    found = tables.known_tables(heads_of)
    assert sorted(found) == ["heads-meshes", "heads-one-device"]
    assert "| 32 × 8 × 33 |" in found["heads-one-device"]
    line = found["heads-meshes"].splitlines()[-3]
    assert line.startswith('| even | by hand | `P("data")` | `P("data", "model")` | ')


def test_sizes_of_a_head_leave_out_the_meshes(cpu_plays, capsys):
    assert cli.main(["--suite", "heads", "--target", "h200", *_TINY]) == 0
    said = capsys.readouterr()
    assert "h200 4 × 4096 × 5  xent_jax: FLOPs ÷ share " in said.out and "P(" not in said.out


def test_a_target_of_few_devices_has_no_meshes(cpu_plays, capsys, monkeypatch):
    monkeypatch.setattr(aot, "devices", lambda target: jax.devices("cpu")[:4])
    monkeypatch.setattr(suite_of_heads, "_ONE_TPU", ())
    assert cli.main(["--suite", "heads", "--target", "v5p:2x2x1", "--peers", "optax"]) == 0
    assert "v5p:2x2x1 has no 2 × 4 devices for a mesh" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["README.md", "tests/benchmarks/README.md"])
def test_pages_show_the_results_that_are_kept(page):
    assert tables.main([str(_ROOT / page), "--check"]) == 0


def test_every_narrow_logit_is_near_the_truth_and_a_wrong_one_is_found():
    first, *_ = exhaustive.ONE_LOGIT
    found = exhaustive.exhaust(first, "float16")
    assert found["value"]["ulps"] < 4 and found["gradient"]["ulps"] < 1
    wrong = dataclasses.replace(first, ours=lambda z: first.ours(jnp.where(z == 2.5, 2.0, z)))
    found = exhaustive.exhaust(wrong, "float16")
    assert found["value"]["ulps"] > 1e5 and found["value"]["logits"] == [2.5]
