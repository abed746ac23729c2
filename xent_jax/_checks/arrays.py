"""Two arrays of one shape."""

from jax import Array


def same_shape(name: str, first: str, a: Array, second: str, b: Array) -> None:
    if a.shape == b.shape:
        return
    hint = "broadcast one with jnp.broadcast_to, or use jax.vmap"
    for argument, wide, narrow in ((first, a, b), (second, b, a)):
        if wide.shape == (*narrow.shape, 1):
            hint = f"squeeze the extra axis, {argument}[..., 0]"
    raise ValueError(
        f"{name}: {first} and {second} must have the same shape, got {a.shape} and {b.shape}; "
        f"{hint}."
    )
