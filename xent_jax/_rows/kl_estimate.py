"""Estimates of D(p‖q) from samples of p: functions of l = log p − log q, each sample a row."""

from functools import cache
from typing import Any

import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes
from .._math.elementary import exp, expm1
from .._math.log_ratio import relative_entropy_term
from .row_function import RowFunction

KINDS = ("k1", "k2", "k3")


@cache
def kl_estimate_row(kind: str) -> RowFunction:
    """((), mask, log_p, log_q) → l, l²/2 or e^{−l} − 1 + l."""

    def formula(axes: Axes, log_p: Array, log_q: Array) -> tuple[Array, tuple[()]]:
        log_ratio = log_p - log_q
        if kind == "k1":
            return log_ratio, ()
        if kind == "k2":
            return jnp.square(log_ratio) / 2, ()
        # φ(l) is the share in D(1‖e^{−l}) of an outcome; e^{−l} outgrows an infinite −l.
        ratio = exp(-log_ratio)
        term = relative_entropy_term(jnp.ones_like(ratio), ratio, log_ratio)
        return jnp.where(log_ratio == -jnp.inf, jnp.inf, term), ()

    def partials(axes: Axes, _: Any, log_p: Array, log_q: Array) -> tuple[Array, Array]:
        # For k3 near l = 0, and the edges: 1 − e^{−l} cancels, and is infinite where p is 0.
        x = log_p - log_q
        one = jnp.where(jnp.isnan(x), x, jnp.ones_like(x))
        slope = {"k1": one, "k2": x, "k3": -expm1(-x)}[kind]
        return slope, -slope

    return RowFunction.of_wide(formula, partials)
