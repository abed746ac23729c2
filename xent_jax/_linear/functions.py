"""The functions of the linear row, on arguments that belong to one device."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as check
from .._epilogue import Cost
from .._labelled import class_weight_array, smoothing_share, traced_amounts
from .._math.costs import focal, itself
from .._rows.row_function import RowFunction
from .._rows.softmax_divergence import softmax_js_row, softmax_kl_row
from .._rows.softmax_statistics import statistics
from .._statistics import as_statistics, statistics_names
from .by_types import Given
from .heads import Classes, Tokens
from .independent import LabelsFunction, independent_row
from .labels import Ids, existing, label_probabilities, of_classes, token_ids
from .reduce import Batch, Inputs, Options, Reduced, batch, plan, reduced, row_masks
from .rows import labelled_row
from .token_losses import GivenLoss, RowLoss, numbers_read
from .token_values import token_values


def _one_head(name: str, options: Options, given: Given) -> Batch:
    head = (given.tokens["x"], given.heads["w"], given.classes["b"])
    return batch(
        name, [("x", "w", "b")], [head], options, given.classes["where"], _shaping_of(given)
    )


def _shaping_of(given: Given) -> tuple[Any, Any, Any]:
    return tuple(given.numbers[key] for key in ("softcap", "logits_fn", "temperature"))


def linear_cross_entropy(name: str, options: Options, given: Given) -> Any:
    here = _one_head(name, options, given)
    labels, probs, weights = (given.tokens[k] for k in ("labels", "label_probs", "weights"))
    numbers, few = given.numbers, probs is not None
    instead = "give a distribution over few classes as ids with label_probs"
    found = token_ids(name, here, labels, few, options.ignore_index, instead)
    data = (found.ids,)
    if few:
        data = (label_probabilities(name, here, labels, probs, found), found.ids)
    row_mask = row_masks(here, found.counted, found.valid)
    laid, of_loss, mass = _class_weights(
        name, here, given.classes["class_weights"], row_mask, None if few else found
    )
    alpha, z_weight = traced_amounts(
        name, numbers["label_smoothing"], numbers["z_loss"], here.dtype
    )
    share, smoothing = _smoothing(here, laid, alpha)
    cost = Cost(itself)
    if numbers["focal_gamma"] is not None:
        gamma = check.number(
            name, "focal_gamma", numbers["focal_gamma"], check.NON_NEGATIVE
        ).astype(here.dtype)
        cost = Cost(focal, (gamma,))

    constant = statistics_names(not few) if options.return_statistics else ()
    row, names = labelled_row(cost.f, few, alpha is not None, z_weight is not None, constant)
    of_f = len(cost.parameters)
    loss = RowLoss(cost.f, names, of_f, alpha is not None, z_weight is not None)
    weighs = weights is not None
    how = plan(name, here, row, options, loss, constants=len(constant), weighs=weighs)
    amounts = (*cost.parameters, *smoothing, *(() if z_weight is None else (z_weight,)))
    one, of_cost = jnp.ones((1, 1), here.dtype), (p.reshape(1, 1) for p in cost.parameters)
    inputs = Inputs(Tokens(row_mask, data, (of_loss,)), weights, numbers["normalizer"])
    inputs = inputs._replace(
        of_classes=(laid, share, one, *of_cost),
        parameters=tuple(a.reshape(1) for a in amounts),
        mass=mass,
    )
    result = reduced(name, here, how, options, inputs)
    return _with_statistics(name, here, options, result, None if few else found, not few)


def _class_weights(
    name: str, here: Batch, class_weights: Any, row_mask: Array, found: Ids | None
) -> tuple[Array, Array, Array | None]:
    """The weights of the classes (1, K), that of each token's class, and what a mean counts."""
    of_loss = jnp.ones_like(row_mask)
    if class_weights is None:
        return jnp.ones((1, 1), here.dtype), of_loss, None
    flat = class_weight_array(name, class_weights, here.heads[0].w, here.axes).astype(here.dtype)
    if found is None:
        return flat[None], of_loss, None
    of_loss = jnp.where(row_mask == 0.0, 0.0, of_classes(here, flat, found.ids))
    return flat[None], of_loss, of_loss[..., 0]


def _smoothing(here: Batch, laid: Array, alpha: Array | None) -> tuple[Array, tuple[Array, ...]]:
    """What smoothing adds to the labels, and α and K if it does."""
    kept = None if here.kept is None else here.kept[None]
    logits = jax.ShapeDtypeStruct((1, here.heads[0].w.shape[1]), here.dtype)
    share, count = smoothing_share(kept, laid, logits, here.axes)
    if alpha is None:
        return share, ()
    # One number per class, so that a class that only fills up has none.
    return jnp.broadcast_to(share, logits.shape), (alpha, jnp.asarray(count, here.dtype))


def _with_statistics(
    name: str, here: Batch, options: Options, result: Reduced, found: Ids | None, labelled: bool
) -> Any:
    """The result, with the statistics from its pass if they are asked for."""
    if not options.return_statistics:
        return result.value
    numbers = dict(zip(statistics_names(labelled), result.constants, strict=True))
    ids = valid = None
    if found is not None and labelled:
        ids, valid = found.ids.reshape(here.shape), found.valid.reshape(here.shape)
    counted = result.counted.astype(here.dtype)
    classes, base = here.classes, options.base
    told = as_statistics(name, numbers, ids, valid, counted, classes=classes, base=base)
    return result.value, jax.lax.stop_gradient(told)


def linear_entropy(name: str, options: Options, given: Given) -> Any:
    here = _one_head(name, options, given)
    constant = statistics_names(False) if options.return_statistics else ()
    row, weights = statistics("entropy", constant=constant), given.tokens["weights"]
    how = plan(name, here, row, options, constants=len(constant), weighs=weights is not None)
    nothing = (jnp.zeros((1, 1), here.dtype),) * 3
    tokens = Tokens(row_masks(here), ())
    inputs = Inputs(tokens, weights, given.numbers["normalizer"], nothing)
    result = reduced(name, here, how, options, inputs)
    return _with_statistics(name, here, options, result, None, False)


def linear_kl_divergence(name: str, options: Options, given: Given) -> Array:
    return _divergence(softmax_kl_row, name, options, given)


def linear_js_divergence(name: str, options: Options, given: Given) -> Array:
    return _divergence(softmax_js_row, name, options, given)


def _divergence(row: RowFunction, name: str, options: Options, given: Given) -> Array:
    """A function of the logits of two heads."""
    heads = [
        (given.tokens[f"x{side}"], given.heads[f"w{side}"], given.classes[f"b{side}"])
        for side in "pq"
    ]
    names = [("xp", "wp", "bp"), ("xq", "wq", "bq")]
    here = batch(name, names, heads, options, given.classes["where"], _shaping_of(given))
    weights = given.tokens["weights"]
    how = plan(name, here, row, options, weighs=weights is not None)
    inputs = Inputs(Tokens(row_masks(here), ()), weights, given.numbers["normalizer"])
    return reduced(name, here, how, options, inputs).value


def linear_statistics(name: str, options: Options, given: Given) -> Any:
    here = _one_head(name, options, given)
    labels, ids, valid, counted = given.tokens["labels"], None, None, None
    names, data = statistics_names(labels is not None), ()
    if labels is not None:
        found = token_ids(name, here, labels, False, options.ignore_index)
        valid, counted, data = found.valid, found.counted, (found.ids,)
        ids = found.ids.reshape(here.shape)
    row_mask = row_masks(here, counted)  # an id out of range spoils its log_prob alone
    how = plan(name, here, statistics(*names), options)
    nothing = (jnp.zeros((1, 1), here.dtype),) * (3 - len(data))
    tokens = Tokens(row_mask, data)
    values = token_values(how, here.heads, tokens, Classes(here.kept, nothing, here.shaping))
    values = [jnp.where(row_mask == 0.0, jnp.zeros((), v.dtype), v) for v in values]
    numbers = {n: v.reshape(here.shape) for n, v in zip(names, values, strict=True)}
    valid = None if valid is None else valid.reshape(here.shape)
    row_mask = row_mask.reshape(here.shape)
    classes, base = here.classes, options.base
    return as_statistics(name, numbers, ids, valid, row_mask, classes=classes, base=base)


def linear_given_loss(name: str, options: Options, given: Given) -> Any:
    here = _one_head(name, options, given)
    labels, weights = given.tokens["labels"], given.tokens["weights"]
    function, labelled = given.numbers["loss_fn"], labels is not None
    found, row_mask, data = None, row_masks(here), ()
    if labelled:
        found = token_ids(name, here, labels, False, options.ignore_index)
        row_mask, data = row_masks(here, found.counted, found.valid), (found.ids,)
    leaves, structure = jax.tree.flatten(given.tokens["data"])
    of_loss = [here.per_token(x, *x.shape[len(here.shape) :]) for x in leaves]
    of_loss = (*(ids[..., 0] for ids in data), *of_loss)
    names = numbers_read(function, labelled)
    constant = statistics_names(labelled) if options.return_statistics else ()
    loss = GivenLoss(function.program, names, labelled, structure)
    row = statistics(*names, constant=constant)
    weighs = weights is not None
    how = plan(name, here, row, options, loss, constants=len(constant), weighs=weighs)
    nothing = (jnp.zeros((1, 1), here.dtype),) * (3 - len(data))
    tokens = Tokens(row_mask, data, of_loss)
    closed_over = tuple(map(jnp.asarray, function.closed_over))
    inputs = Inputs(tokens, weights, given.numbers["normalizer"], nothing, closed_over)
    result = reduced(name, here, how, options, inputs)
    return _with_statistics(name, here, options, result, found, labelled)


def linear_independent_cross_entropy(name: str, options: Options, given: Given) -> Array:
    here = _one_head(name, options, given)
    labels, weights = given.numbers["labels_fn"], given.tokens["weights"]
    closed_over, function = [], None
    if labels is None:
        instead = "labels 0 and 1 of all classes go in by a function, as lambda y: y, labels"
        labels_of = given.tokens["labels"]
        found = token_ids(name, here, labels_of, True, options.ignore_index, instead)
        check.not_multi_hot(name, labels_of, here.classes, instead)
        nowhere = jnp.iinfo(jnp.int32).max
        ids = jnp.where(found.named & existing(here, found.ids), found.ids, nowhere)
        row_mask, data = row_masks(here, None, found.valid), (ids,)
    else:
        leaves = jax.tree.leaves(given.tokens["data"])
        leaves = [here.per_token(x, *x.shape[len(here.shape) :]) for x in leaves]
        function, data, closed_over = LabelsFunction.of(labels, leaves, len(here.tokens))
        row_mask = row_masks(here)
    one = jnp.ones((1, 1), here.dtype)
    kept = one if here.kept is None else here.kept[None].astype(here.dtype)
    positive = one
    if given.classes["pos_weight"] is not None:
        positive = _weights_of_class_1(name, here, given.classes["pos_weight"])
    options = options._replace(ignore_index=None)  # which leaves out ids, not tokens
    row = independent_row(function)
    how = plan(name, here, row, options, weighs=weights is not None)
    tokens = Tokens(row_mask, tuple(data))
    classes = (kept, positive, *closed_over)
    inputs = Inputs(tokens, weights, given.numbers["normalizer"], classes)
    return reduced(name, here, how, options, inputs).value


def _weights_of_class_1(name: str, here: Batch, pos_weight: Any) -> Array:
    """(1, K), NaN where it is negative."""
    shape = here.heads[0].w.shape[1:]
    given = check.real_array(name, "pos_weight", pos_weight)
    given = given if given.ndim else jnp.broadcast_to(given, shape)
    given = check.class_weights(name, given, shape, "pos_weight").astype(here.dtype)
    return jnp.where(given >= 0.0, given, jnp.nan)[None]
