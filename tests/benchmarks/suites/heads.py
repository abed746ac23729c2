"""Linear heads compiled but not run: products, memory, and what the devices of a mesh exchange."""

import math
from collections.abc import Iterator

import jax

from .. import aot
from ..heads import (
    HEADS,
    MESH,
    ONE_DEVICE,
    SPLITS,
    TOKENS,
    Head,
    Split,
    dense,
    ours,
    split_step,
    times,
)
from ..peers.ours import OURS
from ..report import duration, gib, markdown, ratio
from ..settings import Row, Settings

DEFAULT = False
# A program for a TPU takes tens of seconds to compile: fewer sizes, and the largest of the heads.
_ONE_TPU, _HEADS_ON_TPUS = (ONE_DEVICE[0], ONE_DEVICE[-1]), HEADS[-1:]
_FEATURES = 4096  # where the command line gives tokens and classes
_SHOWN = 2**20  # bytes of the smallest collective that is shown
_OPTAX = "optax"


def run(settings: Settings) -> Iterator[Row]:
    """Sizes from the command line are those of one device, and leave out the meshes."""
    dtype = settings.dtypes[0] if settings.dtypes else "bfloat16"
    given = [(tokens, _FEATURES, classes) for tokens, classes in settings.shapes or ()]
    for target in settings.targets or ():
        aot.report(jax.numpy.exp, aot.array(target, (8, 128)))  # the first one loads a compiler
        for sizes in given or (_ONE_TPU if _is_tpu(target) else ONE_DEVICE):
            settings.progress(f"heads {target} {times(sizes)}")
            yield _on_one_device(target, sizes, dtype, settings)
        if not given:
            yield from _on_meshes(target, dtype, settings)


def _is_tpu(target: str) -> bool:
    return ":" in target


def _on_meshes(target: str, dtype: str, settings: Settings) -> Iterator[Row]:
    if len(aot.devices(target)) < math.prod(MESH):
        settings.progress(f"skipped: {target} has no {times(MESH)} devices for a mesh")
        return
    for head in _HEADS_ON_TPUS if _is_tpu(target) else HEADS:
        for split in SPLITS:
            if split.fits(head):
                settings.progress(f"heads {target} {head.name} {_where(split)}")
                yield _on_a_mesh(target, head, split, dtype)


def _on_one_device(target: str, sizes: tuple[int, ...], dtype: str, settings: Settings) -> Row:
    tokens, features, classes = sizes
    arrays = (
        aot.array(target, (tokens, features), dtype),
        aot.array(target, (features, classes), dtype),
        aot.array(target, (tokens,), "int32"),
    )
    losses = {OURS.name: ours}
    if any(peer.name == _OPTAX for peer in settings.peers):
        losses[_OPTAX] = dense
    steps = {name: jax.value_and_grad(loss, (0, 1)) for name, loss in losses.items()}
    return {
        "target": target,
        "mesh": None,
        "sizes": sizes,
        "dtype": dtype,
        "share": 6 * math.prod(sizes),
        "programs": {name: aot.program(step, *arrays) for name, step in steps.items()},
    }


def _on_a_mesh(target: str, head: Head, split: Split, dtype: str) -> Row:
    step, arrays, results = split_step(target, head, split, dtype)
    sizes = (*TOKENS, head.features, head.classes)
    return {
        "target": target,
        "mesh": MESH,
        "head": head.name,
        "sizes": sizes,
        "dtype": dtype,
        "axes": split.axes,
        "x": _spec(split.tokens),
        "w": _spec(split.w),
        "share": 6 * math.prod(sizes) // split.devices,
        "programs": {OURS.name: aot.program(step, *arrays, out_shardings=results)},
    }


def _where(split: Split) -> str:
    return f"{split.axes}, x {_spec(split.tokens)}, w {_spec(split.w)}"


def _spec(spec: jax.sharding.PartitionSpec) -> str:
    return "P({})".format(", ".join("None" if axis is None else f'"{axis}"' for axis in spec))


def describe(row: Row) -> str:
    where = [row["target"], times(row["sizes"])]
    if row["mesh"]:
        where += [row["head"], f"{row['axes']}, x {row['x']}, w {row['w']}"]
    programs = (f"{name}: {_show(row, program)}" for name, program in row["programs"].items())
    return f"{' '.join(where)}  {'  '.join(programs)}"


def _show(row: Row, program: Row) -> str:
    cells = [
        f"FLOPs ÷ share {_flops(row, program)}",
        f"traffic {_traffic(program)} GiB",
        f"temporaries {_temporaries(program)} GiB",
        f"{program['kernels']} kernels",
        f"compiled in {duration(program['compile_seconds'])}",
    ]
    cells += [_collectives(program, looped) for looped in (False, True)]
    return ", ".join(filter(None, cells))


def _flops(row: Row, program: Row) -> str:
    return ratio(program["flops"] / row["share"])


def _traffic(program: Row) -> str:
    return gib(program["traffic_bytes"])


def _temporaries(program: Row) -> str:
    return gib(program["temporary_bytes"])


def _collectives(program: Row, looped: bool) -> str:
    """The large ones, those of loops or all others."""
    large = (t for t in program["transfers"] if t["nbytes"] > _SHOWN and t["looped"] == looped)
    return ", ".join(map(_transfer, large))


def _transfer(transfer: Row) -> str:
    times = "" if transfer["times"] == 1 else f"{transfer['times']} × "
    size = f"{transfer['nbytes'] / 2**20:.0f} MiB"
    return f"{times}{transfer['kind']} {transfer['array']} {size}"


def tables(rows: list[Row]) -> dict[str, str]:
    """One for a single device and one for meshes, per target where there are several in a file."""
    several = len({row["target"] for row in rows}) > 1
    found: dict[str, list[Row]] = {}
    for row in rows:
        target = [row["target"].replace(":", "-")] if several else []
        name = "-".join([*target, "meshes" if row["mesh"] else "one-device"])
        found.setdefault(name, []).append(row)
    return {
        name: (_mesh_table if chosen[0]["mesh"] else _table)(chosen)
        for name, chosen in found.items()
    }


def _table(rows: list[Row]) -> str:
    columns = ("traffic, GiB", "temporaries, GiB", "kernels", "compile, s")
    header = ["tokens × features × classes", "dw in float32, GiB"]
    header += [h for column in columns for h in (column, "optax")]
    return markdown(header, map(_line, rows))


def _line(row: Row) -> list[str]:
    _, features, classes = row["sizes"]
    ours, theirs = _cells(row["programs"][OURS.name]), _cells(row["programs"].get(_OPTAX))
    pairs = (cell for pair in zip(ours, theirs, strict=True) for cell in pair)
    return [times(row["sizes"]), gib(4 * features * classes), *pairs]


def _cells(program: Row | None) -> list[str]:
    if program is None:
        return ["—"] * 4
    seconds = ratio(program["compile_seconds"])
    return [_traffic(program), _temporaries(program), str(program["kernels"]), seconds]


def _mesh_table(rows: list[Row]) -> str:
    header = ["head", "axes", "x", "w", "FLOPs ÷ share", "temporaries, GiB"]
    return markdown([*header, "collectives", "in loops"], map(_mesh_line, rows))


def _mesh_line(row: Row) -> list[str]:
    program = row["programs"][OURS.name]
    cells = [row["head"], row["axes"], f"`{row['x']}`", f"`{row['w']}`"]
    cells += [_flops(row, program), _temporaries(program)]
    return cells + [_collectives(program, looped) or "—" for looped in (False, True)]
