"""axis_name where it belongs, where it does not, and where it was forgotten."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import xent_jax

from .selection import slow
from .tokens import draw32 as draw

SEVERAL_DEVICES = True

AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit


def assert_same(got, want, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        size = np.abs(b[np.isfinite(b)]).max(initial=0)
        np.testing.assert_allclose(a, b, tolerance, 0.3 * tolerance * size)


SMALL, NAMES = draw(8, 8, 16), np.arange(8, dtype=np.int32)
HEAD = draw(9, 16, 64)


def in_shard_map(f, in_specs, out_specs, *arguments, **options):
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(AUTO,) * 2)
    return jax.shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, **options)(
        *arguments
    )


# name: a function of (z, ids) with axis_name.
NAMED = {
    "softmax_cross_entropy": lambda z, y, **o: xent_jax.softmax_cross_entropy(z, y, **o),
    "softmax_focal_loss": lambda z, y, **o: xent_jax.softmax_focal_loss(z, y, **o),
    "softmax_statistics": lambda z, y, **o: xent_jax.softmax_statistics(z, y, **o).log_prob,
    "softmax_entropy": lambda z, y, **o: xent_jax.softmax_entropy(z, **o),
    "softmax_kl_divergence": lambda z, y, **o: xent_jax.softmax_kl_divergence(z, z[::-1], **o),
    "softmax_renyi_entropy": lambda z, y, **o: xent_jax.softmax_renyi_entropy(z, 1.5, **o),
    "softmax_renyi_divergence": lambda z, y, **o: xent_jax.softmax_renyi_divergence(
        z, z[::-1], 1.5, **o),
    "softmax_ensemble_information": lambda z, y, **o: xent_jax.softmax_ensemble_information(
        jnp.stack([z, 0.5 * z]), **o).mutual,
    "linear_softmax_cross_entropy": lambda z, y, **o: xent_jax.linear_softmax_cross_entropy(
        z, HEAD, y, **o),
    "linear_softmax_entropy": lambda z, y, **o: xent_jax.linear_softmax_entropy(z, HEAD, **o),
}  # fmt: skip
OF_IDS = [n for n in NAMED if n.endswith(("cross_entropy", "loss", "statistics"))]


@pytest.mark.parametrize("name", NAMED)
def test_axis_name_of_replicated_classes(name):
    """Every device has all classes: their sum over the mesh would count each of them four times."""
    f = functools.partial(NAMED[name], axis_name="model")
    for rows in (P(), P("data")):
        with pytest.raises(ValueError, match=rf"^{name}: axis_name 'model' .*not split"):
            in_shard_map(f, (rows, rows), rows, SMALL, NAMES)


@pytest.mark.parametrize("name", OF_IDS)
def test_axis_name_of_split_rows(name):
    """The ids differ between the devices of that axis: it splits the rows and not the classes."""
    f = functools.partial(NAMED[name], axis_name="model")
    with pytest.raises(ValueError, match=rf"^{name}: axis_name 'model' "):
        in_shard_map(f, (P("model"), P("model")), P("model"), SMALL, NAMES)


def test_axis_names_of_which_one_does_not_split_the_classes():
    f = functools.partial(xent_jax.softmax_cross_entropy, axis_name=("data", "model"))
    with pytest.raises(ValueError, match=r"^softmax_cross_entropy: axis_name .*'data'"):
        in_shard_map(f, (P(None, "model"), P()), P(), SMALL, NAMES)
    split = in_shard_map(f, (P(None, ("data", "model")), P()), P(), SMALL, NAMES)
    assert_same(split, xent_jax.softmax_cross_entropy(SMALL, NAMES))


@pytest.mark.parametrize("check", [slow(True), False])
@pytest.mark.parametrize(
    "name",
    ["softmax_cross_entropy", "softmax_entropy", "softmax_kl_divergence"]
    + ["softmax_ensemble_information"],
)
def test_axis_name_that_belongs(name, check):
    """Also where the types say nothing of what varies; with rows split over the other axis."""
    f = functools.partial(NAMED[name], axis_name="model")
    specs = (P("data", "model"), P("data"))
    got = in_shard_map(f, specs, P("data"), SMALL, NAMES, check_vma=check)
    parts = [NAMED[name](z, y) for z, y in zip(np.split(SMALL, 2), np.split(NAMES, 2))]
    assert_same(got, np.concatenate(parts))


def test_axis_name_of_labels_that_are_constants():
    """Contrastive rows: each device has its own logits, and ids that are the same on all of them.

    It looks like a forgotten axis_name, and is none: the types cannot tell one from the other.
    """

    def part(z):
        return xent_jax.softmax_cross_entropy(z, jnp.arange(2, dtype="int32"))

    got = in_shard_map(part, (P("model"),), P("model"), SMALL)
    assert_same(got, xent_jax.softmax_cross_entropy(SMALL, np.tile([0, 1], 4)))


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "softmax_entropy"])
def test_a_forgotten_axis_name_is_no_silent_wrong_loss(name):
    """The result differs between the devices, and JAX refuses to call it replicated."""
    with pytest.raises(ValueError, match="replicat"):
        in_shard_map(NAMED[name], (P(None, "model"), P()), P(), SMALL, NAMES)


def test_a_forgotten_axis_name_of_ids_is_named_by_the_value_checks():
    """Global ids are out of the range of one shard: NaN, and a message that says where to look."""
    from jax.experimental import checkify

    def loss(z, y):
        return in_shard_map(
            xent_jax.softmax_cross_entropy, (P(None, "model"), P()), P("model"), z, y
        )

    assert np.isnan(loss(SMALL, NAMES)).any()
    with xent_jax.value_checks():
        error, _ = checkify.checkify(loss, errors=checkify.user_checks)(SMALL, NAMES)
    assert "labels holds an id outside [0, 4)" in error.get()
