"""Every message a user can meet: shapes and dtypes when traced, values under checkify."""

import inspect
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import checkify

_COMPUTED_AS_THEY_ARE = ("float16", "bfloat16", "float32", "float64")


def real_array(name: str, argument: str, x: Any) -> Array:
    """x as a real floating array; integers, booleans and float8 become float32."""
    x = _array(name, argument, x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: {argument} must be real, got {x.dtype}; pass {argument}.real.")
    if x.dtype.name in _COMPUTED_AS_THEY_ARE:
        return x
    if _is_number(x):
        return x.astype(jnp.float32)
    raise TypeError(f"{name}: {argument} must hold numbers, got {x.dtype}.")


def _array(name: str, argument: str, x: Any) -> Array:
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: {argument} must be an array of numbers, got {type(x).__name__}; "
            "pass a JAX or NumPy array."
        ) from error


def _is_number(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.number) or x.dtype == jnp.bool_


def kinds_of_arguments(f: Any, options: Any, args: Any, kwargs: Any) -> None:
    """What JAX refuses before it calls f: an array where a plain value belongs, or a string."""
    try:
        given = inspect.signature(f).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(
            f"{f.__name__}: {error}; data are positional, options go by keyword."
        ) from None
    for argument, x in given.items():
        if argument in options:
            try:
                hash(x)
            except TypeError:
                raise TypeError(
                    f"{f.__name__}: {argument} must be a plain Python value, known when the call "
                    f"is compiled, got {type(x).__name__}; pass int(...), float(...) or a tuple."
                ) from None
        elif isinstance(x, (str, bytes)):
            _array(f.__name__, argument, x)


def class_axes(name: str, argument: str, x: Array, axis: Any) -> tuple[int, ...]:
    """axis (an int or a tuple of ints) as non-negative ints, in the order it names them."""
    given = axis if isinstance(axis, tuple) else (axis,)
    try:
        axes = tuple(operator.index(a) for a in given)
    except TypeError:
        raise TypeError(f"{name}: axis must be an int or a tuple of ints, got {axis!r}.") from None
    if not axes:
        raise ValueError(f"{name}: axis must name at least one axis, got an empty tuple.")
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise ValueError(
                f"{name}: axis {a} is out of range for {argument} of shape {x.shape}; "
                f"choose one in [{-x.ndim}, {x.ndim})."
                if x.ndim
                else f"{name}: {argument} must have a class axis, got a scalar; pass a vector."
            )
    axes = tuple(a % x.ndim for a in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: axis {axis!r} names an axis of {argument} twice; name it once.")
    if any(x.shape[a] == 0 for a in axes):
        raise ValueError(
            f"{name}: {argument} of shape {x.shape} has no classes along axis {axis}; "
            "a distribution needs at least one."
        )
    return axes


def mesh_axes(name: str, axis_name: Any) -> tuple[str, ...]:
    """axis_name (None, a name, or a tuple of names) as names of mesh axes that are bound."""
    if axis_name is None:
        return ()
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    for a in names:
        if not isinstance(a, str):
            raise TypeError(
                f"{name}: axis_name must be the name of a mesh axis or a tuple of names, "
                f"got {axis_name!r}."
            )
        try:
            jax.lax.axis_size(a)
        except NameError:
            raise ValueError(
                f"{name}: axis_name {a!r} is not bound here; call it inside jax.shard_map over a "
                "mesh with that axis, or leave axis_name out."
            ) from None
    return names


def same_shape(name: str, first: str, a: Array, second: str, b: Array) -> None:
    if a.shape != b.shape:
        raise ValueError(
            f"{name}: {first} and {second} must have the same shape, got {a.shape} and {b.shape}; "
            "broadcast one with jnp.broadcast_to, or use jax.vmap."
        )


def mask(name: str, argument: str, where: Any, x: Array) -> Array:
    """where as a boolean array that broadcasts to the shape of the data."""
    where = jnp.asarray(where)
    if where.dtype != jnp.bool_:
        raise TypeError(
            f"{name}: where must be boolean, got {where.dtype}; pass a comparison such as mask > 0."
        )
    try:
        fits = jnp.broadcast_shapes(where.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: where of shape {where.shape} does not broadcast to {argument} of shape "
            f"{x.shape}; give it that shape, or axes of size one."
        )
    return where


def label_array(name: str, labels: Any) -> tuple[Array, bool]:
    """labels as an array, and whether they are class ids (an integer or boolean dtype)."""
    labels = _array(name, "labels", labels)
    if jnp.issubdtype(labels.dtype, jnp.integer) and labels.dtype.itemsize >= 4:
        return labels, True
    if jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_:
        # Narrow integers could not be compared with ids beyond their range.
        return labels.astype(jnp.int32), True
    return real_array(name, "labels", labels), False


def soft_label_shape(name: str, labels: Array, logits: Array, axes: tuple[int, ...]) -> None:
    if labels.shape == tuple(n for i, n in enumerate(logits.shape) if i not in axes):
        raise ValueError(
            f"{name}: floating labels are distributions of the shape of logits, {logits.shape}, "
            f"got {labels.dtype} of shape {labels.shape}; class ids must be integers: "
            "labels.astype(int)."
        )
    same_shape(name, "logits", logits, "labels", labels)


def id_shape(name: str, labels: Array, logits: Array, axes: tuple[int, ...]) -> None:
    expected = tuple(n for i, n in enumerate(logits.shape) if i not in axes)
    if labels.shape == expected:
        return
    hint = (
        "squeeze the extra axis, e.g. labels[..., 0]"
        if labels.ndim == logits.ndim
        else "give one id per example"
    )
    if labels.shape == logits.shape:
        hint = "a distribution over classes must have a floating dtype: labels.astype(jnp.float32)"
    raise ValueError(
        f"{name}: integer labels must have the shape of logits without its class axes, "
        f"{expected} for logits of shape {logits.shape}, got {labels.shape}; {hint}."
    )


def label_sharding(name: str, labels: Array, logits: Array) -> None:
    """Under an explicit mesh ids are split as the rows of the logits are, or not at all."""
    given, wanted = jax.typeof(labels).sharding, jax.typeof(logits).sharding
    rows = zip(given.spec, wanted.spec)
    if any(ours is not None and ours != theirs for ours, theirs in rows):
        raise ValueError(
            f"{name}: labels are split over {given.spec} and logits over {wanted.spec}; split both "
            "alike, with jax.reshard."
        )


def class_weight_sharding(name: str, weights: Array, logits: Array, axis: int) -> None:
    """Under an explicit mesh the weights are split as the classes are, or not at all."""
    (given,), wanted = jax.typeof(weights).sharding.spec, jax.typeof(logits).sharding.spec[axis]
    if given is not None and given != wanted:
        raise ValueError(
            f"{name}: class_weights are split over {given!r} and the classes over {wanted!r}; "
            "split both alike, with jax.reshard."
        )


def ignore_index_for_ids(name: str, ignore_index: Any, ids: bool) -> None:
    if ignore_index is None:
        return
    if not ids:
        raise TypeError(
            f"{name}: ignore_index goes with integer labels, got floating labels; "
            "mask examples by multiplying the loss instead."
        )
    if isinstance(ignore_index, bool) or not hasattr(ignore_index, "__index__"):
        raise TypeError(f"{name}: ignore_index must be an int or None, got {ignore_index!r}.")


def differs(labels: Array, ignore_index: int) -> Array:
    """labels != ignore_index, also where that index is beyond the range of their dtype."""
    limits = jnp.iinfo(labels.dtype)
    if not limits.min <= ignore_index <= limits.max:
        return jnp.ones(labels.shape, bool)
    return labels != ignore_index


def smoothing(name: str, label_smoothing: Any) -> float:
    try:
        amount = float(label_smoothing)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: label_smoothing must be a number in [0, 1], got {label_smoothing!r}."
        ) from None
    if not 0.0 <= amount <= 1.0:
        raise ValueError(f"{name}: label_smoothing must lie in [0, 1], got {label_smoothing!r}.")
    return amount


def log_base(name: str, base: Any) -> float:
    try:
        number = float(base)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: base must be a number or None, got {base!r}.") from None
    if not number > 0.0 or number == 1.0 or number == float("inf"):
        raise ValueError(
            f"{name}: base must be positive, finite and not 1, got {base!r}; "
            "use base=2 for bits, or None for nats."
        )
    return number


_conditions_wanted = ContextVar("conditions_wanted", default=True)


@contextmanager
def no_conditions() -> Iterator[None]:
    """Trace without the value conditions below."""
    token = _conditions_wanted.set(False)
    try:
        yield
    finally:
        _conditions_wanted.reset(token)


def _condition(holds: Array, message: str) -> None:
    if _conditions_wanted.get():
        checkify.debug_check(holds, message)


def probabilities(name: str, argument: str, p: Array) -> None:
    _condition(jnp.all(p >= 0), f"{name}: {argument} holds a negative or NaN probability.")


def no_nan(name: str, argument: str, x: Array) -> None:
    _condition(~jnp.any(jnp.isnan(x)), f"{name}: {argument} holds NaN.")


def some_class_possible(name: str, argument: str, impossible: Array) -> None:
    _condition(
        ~jnp.any(impossible),
        f"{name}: a row of {argument} is −inf everywhere: no class is possible.",
    )


def ids_in_range(name: str, valid: Array, classes: int) -> None:
    _condition(
        jnp.all(valid), f"{name}: labels holds an id outside [0, {classes}) that is not ignored."
    )


def unit_interval(name: str, argument: str, valid: Array) -> None:
    _condition(
        jnp.all(valid), f"{name}: {argument} holds a value outside [0, 1] that is not ignored."
    )


def head(
    name: str, arguments: tuple[str, str, str], x: Any, w: Any, b: Any
) -> tuple[Array, Array, Array | None]:
    """x (..., D), w (D, K) and b (K,) or None, x and w in one dtype."""
    x_name, w_name, b_name = arguments
    x, w = real_array(name, x_name, x), real_array(name, w_name, w)
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[0]:
        hint = (
            f"pass {w_name}.T"
            if x.ndim and w.ndim == 2 and x.shape[-1] == w.shape[1]
            else f"the last axis of {x_name} is contracted with the first of {w_name}"
        )
        raise ValueError(
            f"{name}: {x_name} must be (..., features) and {w_name} (features, classes), got "
            f"{x.shape} and {w.shape}; {hint}."
        )
    if w.shape[1] == 0:
        raise ValueError(
            f"{name}: {w_name} of shape {w.shape} has no classes; "
            "a distribution needs at least one."
        )
    common = _common(x, w)
    x, w = x.astype(common), w.astype(common)
    if b is None:
        return x, w, None
    b = real_array(name, b_name, b)
    if b.shape != w.shape[1:]:
        raise ValueError(
            f"{name}: {b_name} must hold one number per class, {w.shape[1:]} for {w_name} of shape "
            f"{w.shape}, got {b.shape}."
        )
    return x, w, b


def _common(x: Array, w: Array) -> Any:
    """The dtype of both, or the one that holds both."""
    if x.dtype == w.dtype:
        return x.dtype
    return jnp.float64 if jnp.float64 in (x.dtype, w.dtype) else jnp.float32


def scalar(name: str, argument: str, x: Any) -> Array:
    x = real_array(name, argument, x)
    if x.shape:
        raise ValueError(
            f"{name}: {argument} must be one number, got shape {x.shape}; use jax.vmap for several."
        )
    return x


def gamma(name: str, argument: str, given: Any) -> Array:
    """One number ≥ 0, NaN if it is negative."""
    number = scalar(name, argument, given)
    _condition(number >= 0, f"{name}: {argument} is negative or NaN.")
    return jnp.where(number >= 0, number, jnp.asarray(jnp.nan, number.dtype))


def between_0_and_1(name: str, argument: str, given: Any) -> Array:
    """One number in [0, 1], NaN if it lies outside."""
    number = scalar(name, argument, given)
    valid = (number >= 0) & (number <= 1)
    _condition(valid, f"{name}: {argument} lies outside [0, 1].")
    return jnp.where(valid, number, jnp.asarray(jnp.nan, number.dtype))


def pos_weight(name: str, given: Any, shape: tuple[int, ...]) -> Array:
    """A non-negative array that broadcasts to the shape of the logits."""
    weight = real_array(name, "pos_weight", given)
    try:
        fits = jnp.broadcast_shapes(weight.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: pos_weight of shape {weight.shape} does not broadcast to logits of shape "
            f"{shape}; give one number, or one per label."
        )
    _condition(jnp.all(weight >= 0), f"{name}: pos_weight holds a negative or NaN weight.")
    return weight


def class_mask(name: str, where: Any, classes: int) -> Array:
    """where as one boolean per class."""
    where = jnp.asarray(where)
    if where.dtype != jnp.bool_ or where.shape != (classes,):
        raise (ValueError if where.dtype == jnp.bool_ else TypeError)(
            f"{name}: where must hold one boolean per class, shape ({classes},), "
            f"got {where.dtype} of shape {where.shape}; tokens are left out by weights."
        )
    return where


def class_weights(name: str, given: Any, shape: tuple[int, ...]) -> Array:
    weights = real_array(name, "class_weights", given)
    if weights.shape != shape:
        raise ValueError(
            f"{name}: class_weights must hold one number per class, {shape} for these logits, "
            f"got {weights.shape}; for several class axes they are flat, as the ids are."
        )
    _condition(jnp.all(weights >= 0), f"{name}: class_weights holds a negative or NaN weight.")
    return weights


def per_token(name: str, argument: str, x: Any, shape: tuple[int, ...]) -> Array:
    """A floating array with one number per token."""
    x = real_array(name, argument, x)
    if x.shape != shape:
        raise ValueError(
            f"{name}: {argument} must hold one number per token, {shape} for this x, got {x.shape}."
        )
    return x


def reduction(name: str, given: Any, normalizer: Any) -> None:
    if given not in (None, "sum", "mean"):
        raise ValueError(f'{name}: reduction must be None, "sum" or "mean", got {given!r}.')
    if normalizer is not None and given != "mean":
        raise ValueError(
            f'{name}: normalizer is what reduction="mean" divides by, got reduction={given!r}; '
            'pass reduction="mean".'
        )


def chunk_size(name: str, given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not hasattr(given, "__index__") or operator.index(given) < 1:
        raise ValueError(
            f"{name}: chunk_size must be a positive int or None, got {given!r}; "
            "None chooses it from the shapes."
        )
    return operator.index(given)


def logits_fn(name: str, given: Any, z: Any) -> None:
    """Whether the function maps logits of shape z elementwise, as far as shapes can tell."""
    if given is None:
        return
    try:
        out = jax.eval_shape(given, z)
        fits = out.shape == z.shape and out.dtype == z.dtype
        got = f"{out.dtype}{list(out.shape)}"
    except (TypeError, AttributeError) as error:
        fits, got = False, str(error).splitlines()[0]
    if not fits:
        raise TypeError(
            f"{name}: logits_fn must map an array to one of the same shape and dtype, for "
            f"{z.dtype}{list(z.shape)} got {got}; use elementwise functions such as "
            "lambda z: 30 * jnp.tanh(z / 30)."
        )


def z_loss(name: str, given: Any) -> float:
    try:
        amount = float(given)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: z_loss must be a number ≥ 0, got {given!r}.") from None
    if not 0.0 <= amount < float("inf"):
        raise ValueError(
            f"{name}: z_loss must be a finite number ≥ 0, got {given!r}; 1e-4 is usual, 0 is none."
        )
    return amount


def token_labels(name: str, labels: Array, tokens: tuple[int, ...], few: tuple[int, ...]) -> None:
    if labels.shape == (*tokens, *few) and few != (0,):
        return
    expected = f"{tokens}" if not few else f"({', '.join(map(str, tokens))}, k)"
    hint = "give k ids per token, with as many label_probs" if few else "give one id per token"
    if not few and labels.shape[:-1] == tokens:
        hint = "several ids per token need label_probs, their probabilities"
    raise ValueError(
        f"{name}: labels must have the shape of x without its features, {expected}, "
        f"got {labels.shape}; {hint}."
    )


def heads_agree(name: str, arguments: Any, heads: Any) -> None:
    """Two heads have the same tokens and the same classes."""
    (x, w, _), *others = heads
    for (x_name, w_name, _), (other_x, other_w, _) in zip(arguments[1:], others, strict=True):
        if other_x.shape[:-1] != x.shape[:-1]:
            raise ValueError(
                f"{name}: {arguments[0][0]} and {x_name} must hold the same tokens, got shapes "
                f"{x.shape} and {other_x.shape}; all axes but the last are tokens."
            )
        if other_w.shape[1] != w.shape[1]:
            raise ValueError(
                f"{name}: {arguments[0][1]} and {w_name} must have the same classes, got shapes "
                f"{w.shape} and {other_w.shape}; the last axis holds the classes."
            )


def class_number(name: str, given: Any) -> int:
    if isinstance(given, bool) or not hasattr(given, "__index__") or operator.index(given) < 1:
        raise ValueError(f"{name}: num_classes must be a positive int, got {given!r}.")
    return operator.index(given)


def distributions(name: str, labels: Array, classes: int) -> None:
    if labels.shape[-1:] != (classes,):
        raise ValueError(
            f"{name}: floating labels must be distributions over num_classes={classes} classes, "
            f"(..., {classes}), got shape {labels.shape}; class ids must have an integer dtype."
        )


def per_entry(name: str, argument: str, x: Any, shape: tuple[int, ...]) -> Array:
    """A floating array with one number per label."""
    x = real_array(name, argument, x)
    if x.shape != shape:
        raise ValueError(
            f"{name}: {argument} must hold one number per label, {shape} for these labels, got "
            f"{x.shape}; broadcast it with jnp.broadcast_to."
        )
    return x


def counts(name: str, given: Any) -> tuple[Array, Array]:
    """The counts (..., K), real, and per row whether they are all finite and not negative."""
    given = real_array(name, "counts", given)
    class_axes(name, "counts", given, -1)
    valid = jnp.all((given >= 0) & (given < float("inf")), axis=-1, keepdims=True)
    _condition(jnp.all(valid), f"{name}: counts holds a negative, infinite or NaN number.")
    return given, valid


def fraction(name: str, argument: str, given: Any) -> float:
    try:
        number = float(given)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: {argument} must be a number in [0, 1], got {given!r}.") from None
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name}: {argument} must lie in [0, 1], got {given!r}.")
    return number


def entropy_order(name: str, argument: str, given: Any) -> tuple[Array, Array]:
    """The order of an entropy, one number that may be traced, and whether it is ≥ 0."""
    order = scalar(name, argument, given)
    valid = order >= 0
    _condition(valid, f"{name}: {argument} is negative or NaN.")
    return order, valid


def joint_axes(name: str, joint: Any, axis: Any) -> None:
    if jnp.ndim(joint) < 2:
        raise ValueError(
            f"{name}: joint must be a table p(x, y) of two axes at least, got shape "
            f"{jnp.shape(joint)}; for independent X and Y that is jnp.outer(p, q)."
        )
    if not isinstance(axis, tuple) or len(axis) != 2:
        raise ValueError(
            f"{name}: axis must name two axes, that of X and that of Y, got {axis!r}; "
            "join several variables into one axis with jnp.reshape."
        )


def estimator(name: str, kind: Any) -> None:
    if kind not in ("k1", "k2", "k3"):
        raise ValueError(f'{name}: kind must be "k1", "k2" or "k3", got {kind!r}.')
