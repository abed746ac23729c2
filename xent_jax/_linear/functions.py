"""The functions of the linear row, on arguments that belong to one device."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as check
from .._labelled import class_weight_array, smoothing_share, traced_amounts
from .._math.costs import focal, itself
from .._rows.row_function import RowFunction
from .._rows.softmax_statistics import statistics
from .._statistics import as_statistics, statistics_names
from .by_types import Given
from .heads import Classes, Tokens
from .independent import LabelsFunction, independent_row
from .labels import Ids, existing, label_probabilities, of_classes, token_ids
from .reduce import Batch, Options, Reduced, batch, plan, reduced, row_masks
from .rows import labelled_row
from .token_losses import GivenLoss, RowLoss, numbers_read
from .token_values import token_values


def _one_head(name: str, options: Options, given: Given) -> Batch:
    head = (given.tokens["x"], given.heads["w"], given.classes["b"])
    return batch(name, [("x", "w", "b")], [head], options, given.classes["where"], _shape(given))


def _shape(given: Given) -> tuple[Any, Any, Any]:
    return tuple(given.numbers[key] for key in ("softcap", "logits_fn", "temperature"))


def cross_entropy(name: str, options: Options, given: Given) -> Any:
    here = _one_head(name, options, given)
    labels, probs, weights = (given.tokens[k] for k in ("labels", "label_probs", "weights"))
    numbers, class_weights = given.numbers, given.classes["class_weights"]
    alpha, z_weight = traced_amounts(
        name, numbers["label_smoothing"], numbers["z_loss"], here.dtype
    )
    few, smoothing = probs is not None, alpha is not None
    instead = "give a distribution over few classes as ids with label_probs"
    found = token_ids(name, here, labels, few, options.ignore_index, instead)
    row_mask = row_masks(here, found.counted, found.valid)
    w = here.heads[0].w
    laid, of_loss, mass = jnp.ones((1, 1), here.dtype), jnp.ones_like(row_mask), None
    if class_weights is not None:
        flat = class_weight_array(name, class_weights, w, here.axes).astype(here.dtype)
        laid = flat[None]
        if not few:
            of_loss = jnp.where(row_mask == 0.0, 0.0, of_classes(here, flat, found.ids))
            mass = of_loss[..., 0]
    kept = None if here.kept is None else here.kept[None]
    logits = jax.ShapeDtypeStruct((1, w.shape[1]), here.dtype)
    share, count = smoothing_share(kept, laid, logits, here.axes)
    if smoothing:  # one number per class, so that a class that only fills up has none
        share = jnp.broadcast_to(share, logits.shape)
    f, of_f = itself, ()
    if numbers["focal_gamma"] is not None:
        f = focal
        gamma = check.number(name, "focal_gamma", numbers["focal_gamma"], check.NON_NEGATIVE)
        of_f = (gamma.astype(here.dtype),)
    constant = statistics_names(not few) if options.return_statistics else ()
    row, names = labelled_row(f, few, smoothing, z_weight is not None, constant)
    data = (found.ids,)
    if few:
        data = (label_probabilities(name, here, labels, probs, found), found.ids)
    amounts = (alpha, jnp.asarray(count, here.dtype) if smoothing else None, z_weight)
    amounts = (*of_f, *(a for a in amounts if a is not None))
    loss = RowLoss(f, names, len(of_f), smoothing, z_weight is not None)
    how = plan(name, here, row, options, loss, len(constant), weights is not None)
    result = reduced(
        name,
        here,
        how,
        Tokens(row_mask, data, (of_loss,)),
        options,
        weights,
        numbers["normalizer"],
        (laid, share, jnp.ones((1, 1), here.dtype), *(p.reshape(1, 1) for p in of_f)),
        tuple(a.reshape(1) for a in amounts),
        mass,
    )
    return _with_statistics(name, here, options, result, None if few else found, not few)


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
    told = as_statistics(name, numbers, ids, valid, counted, options.base)
    return result.value, jax.lax.stop_gradient(told)


def entropy(name: str, options: Options, given: Given) -> Any:
    here = _one_head(name, options, given)
    constant = statistics_names(False) if options.return_statistics else ()
    row, weights = statistics("entropy", constant=constant), given.tokens["weights"]
    how = plan(name, here, row, options, None, len(constant), weights is not None)
    nothing = (jnp.zeros((1, 1), here.dtype),) * 3
    tokens = Tokens(row_masks(here), ())
    normalizer = given.numbers["normalizer"]
    result = reduced(name, here, how, tokens, options, weights, normalizer, nothing)
    return _with_statistics(name, here, options, result, None, False)


def divergence(row: RowFunction, name: str, options: Options, given: Given) -> Array:
    """A function of the logits of two heads."""
    heads = [
        (given.tokens[f"x{side}"], given.heads[f"w{side}"], given.classes[f"b{side}"])
        for side in "pq"
    ]
    names = [("xp", "wp", "bp"), ("xq", "wq", "bq")]
    here = batch(name, names, heads, options, given.classes["where"], _shape(given))
    weights = given.tokens["weights"]
    how = plan(name, here, row, options, weighs=weights is not None)
    tokens = Tokens(row_masks(here), ())
    return reduced(name, here, how, tokens, options, weights, given.numbers["normalizer"]).value


def all_statistics(name: str, options: Options, given: Given) -> Any:
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
    return as_statistics(name, numbers, ids, valid, row_mask, options.base)


def given_loss(name: str, options: Options, given: Given) -> Any:
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
    how = plan(name, here, row, options, loss, len(constant), weights is not None)
    nothing = (jnp.zeros((1, 1), here.dtype),) * (3 - len(data))
    result = reduced(
        name,
        here,
        how,
        Tokens(row_mask, data, of_loss),
        options,
        weights,
        given.numbers["normalizer"],
        nothing,
        tuple(map(jnp.asarray, function.closed_over)),
    )
    return _with_statistics(name, here, options, result, found, labelled)


def independent_cross_entropy(name: str, options: Options, given: Given) -> Array:
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
    of_classes = (kept, positive, *closed_over)
    return reduced(
        name, here, how, tokens, options, weights, given.numbers["normalizer"], of_classes
    ).value


def _weights_of_class_1(name: str, here: Batch, pos_weight: Any) -> Array:
    """(1, K), NaN where it is negative."""
    shape = here.heads[0].w.shape[1:]
    given = check.real_array(name, "pos_weight", pos_weight)
    given = given if given.ndim else jnp.broadcast_to(given, shape)
    given = check.class_weights(name, given, shape, "pos_weight").astype(here.dtype)
    return jnp.where(given >= 0.0, given, jnp.nan)[None]
