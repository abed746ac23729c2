"""`python -m tests.benchmarks.rehearsal`: a training step at full size, compiled but never run.

Loss and both gradients of a vocabulary-sharded linear head, on a mesh of data × model devices that
need not exist: what each device computes, keeps and sends, read from the compiled module and put
beside the ideal. XLA is asked for as many CPU devices as the mesh has.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from .hlo import collectives
from .report import markdown


def _compile(devices: tuple[int, int], tokens: int, classes: int, features: int) -> Any:
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    import xent_jax

    mesh = jax.make_mesh(devices, ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    specs = (P("data"), P(None, "model"), P("data"))

    def part(x: Any, w: Any, labels: Any) -> Any:
        loss = xent_jax.linear_softmax_cross_entropy(
            x, w, labels, reduction="mean", normalizer=float(tokens), axis_name="model"
        )
        return jax.lax.psum(loss, "data")

    step = jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=P())
    shapes = ((tokens, features), (features, classes), (tokens,))
    given = [
        jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
        for shape, dtype, spec in zip(
            shapes, (jnp.bfloat16, jnp.bfloat16, jnp.int32), specs, strict=True
        )
    ]
    return jax.jit(jax.value_and_grad(step, (0, 1))).lower(*given).compile()


def _row(devices: tuple[int, int], tokens: int, classes: int, features: int) -> list[str]:
    data, model = devices
    compiled = _compile(devices, tokens, classes, features)
    memory = compiled.memory_analysis()
    dense = 4 * (tokens // data) * (classes // model)
    # dx over the vocabulary axis and dw over the data axis, in float32: what has to be sent.
    least = 4 * (tokens // data * features + features * classes // model)
    sent = sum(collectives(compiled.as_text()).values())
    flops = 6 * (tokens // data) * features * (classes // model)
    return [
        f"{data} × {model}",
        f"{tokens:,} × {classes:,} × {features:,}",
        f"{flops / 1e12:.1f}",
        f"{memory.temp_size_in_bytes / 2**30:.2f}",
        f"{dense / 2**30:.2f}",
        f"{sent / 2**30:.2f}",
        f"{least / 2**30:.2f}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.rehearsal", description=__doc__)
    parser.add_argument("--data", type=int, default=8, help="devices along the tokens")
    parser.add_argument("--model", type=int, default=8, help="devices along the vocabulary")
    parser.add_argument("--tokens", type=int, default=2**20)
    parser.add_argument("--classes", type=int, default=2**18)
    parser.add_argument("--features", type=int, default=8192)
    options = parser.parse_args(argv)
    data, model = options.data, options.model
    count = data * model
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count}"
    header = ["mesh", "tokens × classes × features", "TFLOP in products", "temporaries, GiB"]
    header += ["dense logits, GiB", "collectives, GiB", "least, GiB"]
    full = (options.tokens, options.classes, options.features)
    sizes = [
        ((data, model), full),
        ((data, model), (options.tokens // 2, *full[1:])),
        ((data, model), (full[0], options.classes // 2, full[2])),
        ((data, model // 2), full) if model > 1 else None,
    ]
    print(markdown(header, (_row(mesh, *size) for mesh, size in filter(None, sizes))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
