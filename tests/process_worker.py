"""One of several processes: `python -m tests.process_worker PORT COUNT ID`; 0 prints the result.

With COUNT 1 it computes the same alone, on as many devices.
"""

import json
import os
import sys

DEVICES = 8


def main(port: int, count: int, number: int) -> None:
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES // count}"
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    import xent_jax
    from xent_jax.demo import load_digits

    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, number, initialization_timeout=60)
    assert jax.device_count() == DEVICES
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)

    def place(x, spec):
        """Every process has the whole array and hands its devices their parts."""
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, NamedSharding(mesh, spec), lambda i: x[i])

    # The classifier of the demo, data parallel: a few steps of gradient descent.
    digits = load_digits()
    x, y = place(digits.x_train[:1024], P(("data", "model"))), digits.y_train[:1024]
    y = place(y, P(("data", "model")))
    solver = optax.sgd(0.5)

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            weights, bias = params
            logits = jnp.matmul(x, weights, precision="highest") + bias[None]
            return jnp.mean(xent_jax.softmax_cross_entropy(logits, y))

        value, slopes = jax.value_and_grad(loss)(params)
        updates, state = solver.update(slopes, state, params)
        return optax.apply_updates(params, updates), state, value

    params = (jnp.zeros((x.shape[1], 10)), jnp.zeros(10))
    params = jax.tree.map(lambda p: place(p, P()), params)
    state, losses = solver.init(params), []
    for _ in range(5):
        params, state, value = step(params, state, x, y)
        losses.append(float(value))

    # One step of a head whose vocabulary is split over the mesh.
    rng = np.random.default_rng(0)
    features = place(rng.standard_normal((64, 16), np.float32), P("data"))
    w = place(rng.standard_normal((16, 128), np.float32), P(None, "model"))
    labels = place(rng.integers(0, 128, 64).astype(np.int32), P("data"))

    def part(features, w, labels):
        mine = xent_jax.linear_softmax_cross_entropy(
            features, w, labels, reduction="mean", normalizer=64.0, axis_name="model"
        )
        return jax.lax.psum(mine, "data")

    specs = (P("data"), P(None, "model"), P("data"))
    split = jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=P())

    @jax.jit
    def head(features, w, labels):
        value, slope = jax.value_and_grad(split, 1)(features, w, labels)
        return value, split(features, w - 0.5 * slope, labels)

    before, after = (float(v) for v in head(features, w, labels))
    if number == 0:
        print(json.dumps({"losses": losses, "head": [before, after]}))
    if count > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
