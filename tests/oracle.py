"""The truth in 60 digits: each function of one row, and its gradients, from their definitions.

Every function takes the row as sequences of Python floats and returns `(value, *gradients)` rounded
to float64, one gradient per floating argument. Equal outcomes are summed once, with their count, so
a long row costs what its distinct outcomes cost. Nothing here imports JAX or the package.
"""

import functools

import numpy as np
from mpmath import mp, mpf

mp.dps = 60
_ZERO, _INF, _NAN = mpf(0), mpf("inf"), mpf("nan")


def _of_row(quantity):
    """Gives `quantity` the distinct outcomes that `where` keeps; spreads its gradients back."""

    @functools.wraps(quantity)
    def function(*columns, where=None, base=None, **options):
        row = np.stack([np.asarray(column, float) for column in columns], -1)
        kept = np.full(len(row), True) if where is None else np.asarray(where)
        if not kept.any():
            return 0.0, *np.zeros((len(columns), len(row)))
        outcomes = row[kept].view(complex if len(columns) == 2 else float)[:, 0]
        distinct, place, count = np.unique(
            outcomes, return_inverse=True, return_counts=True, equal_nan=False
        )
        distinct = distinct.view(float).reshape(-1, len(columns)).T.tolist()
        value, *gradients = quantity(count.tolist(), *([*map(mpf, x)] for x in distinct), **options)
        nats = 1 if base is None else mp.log(mpf(base))
        spread = np.zeros((len(columns), len(row)))
        for out, gradient in zip(spread, gradients, strict=True):
            out[kept] = np.array([float(g / nats) for g in gradient])[place]
        return float(value / nats), *spread

    return function


def _mean(count, weights, values):
    """Σ n w x, where 0 · ±∞ is 0."""
    terms = zip(count, weights, values, strict=True)
    return mp.fsum(n * w * x for n, w, x in terms if w != 0)


def _ratio(a, b):
    """a / b, where 0 / 0 is 1 and a / 0 is +∞."""
    return mpf(a == b) if b == 0 and a == 0 else _INF if b == 0 else a / b


def _bad(*columns):
    return any(not x >= 0 for column in columns for x in column)


def _nans(count, columns):
    return _NAN, *([_NAN] * len(count) for _ in range(columns))


def _log_softmax(count, logits):
    """log p; several +∞ share the mass; NaN where nothing can be normalised."""
    if any(mp.isnan(z) for z in logits) or max(logits) == -_INF:
        return [_NAN] * len(count)
    if max(logits) == _INF:
        logits = [_ZERO if z == _INF else -_INF for z in logits]
    margins = [max(logits) - z for z in logits]
    ties = sum(n for n, u in zip(count, margins) if u == 0)
    rest = mp.fsum(n * mp.exp(-u) for n, u in zip(count, margins) if u > 0) + (ties - 1)
    return [-u - mp.log1p(rest) for u in margins]


@_of_row
def entropy(count, p):
    if _bad(p):
        return _nans(count, 1)
    log_p = [mp.log(x) for x in p]
    return -_mean(count, p, log_p), [-x - 1 for x in log_p]


@_of_row
def cross_entropy(count, p, q):
    if _bad(p, q):
        return _nans(count, 2)
    log_q = [mp.log(x) for x in q]
    by_q = [_ZERO if a == 0 else -_ratio(a, b) for a, b in zip(p, q)]
    return -_mean(count, p, log_q), [-x for x in log_q], by_q


@_of_row
def kl_divergence(count, p, q):
    """Σ p log(p/q) − Σp + Σq."""
    if _bad(p, q):
        return _nans(count, 2)
    ratio = [_ratio(a, b) for a, b in zip(p, q)]
    log_ratio = [mp.log(r) for r in ratio]
    excess = mp.fsum(n * (b - a) for n, a, b in zip(count, p, q))
    return _mean(count, p, log_ratio) + excess, log_ratio, [1 - r for r in ratio]


@_of_row
def js_divergence(count, p, q):
    """½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2; the corrections for Σp ≠ Σq cancel."""
    if _bad(p, q):
        return _nans(count, 2)
    by_p, by_q = (
        [mp.log(_ratio(x, (a + b) / 2)) / 2 for x, a, b in zip(row, p, q)] for row in (p, q)
    )
    return _mean(count, p, by_p) + _mean(count, q, by_q), by_p, by_q


@_of_row
def softmax_entropy(count, logits):
    log_p = _log_softmax(count, logits)
    p = [mp.exp(x) for x in log_p]
    value = -_mean(count, p, log_p)
    return value, [_ZERO if a == 0 else -a * (x + value) for a, x in zip(p, log_p)]


@_of_row
def _soft_cross_entropy(count, logits, labels, label_smoothing=0.0):
    if _bad(labels):
        return _nans(count, 2)
    keep, share = 1 - mpf(label_smoothing), mpf(label_smoothing) / sum(count)
    labels = [keep * y + share for y in labels]
    log_p = _log_softmax(count, logits)
    mass = mp.fsum(n * y for n, y in zip(count, labels))
    by_logits = [mass * mp.exp(x) - y for x, y in zip(log_p, labels)]
    return -_mean(count, labels, log_p), by_logits, [-keep * x for x in log_p]


def softmax_cross_entropy(logits, labels, *, where=None, **options):
    """An integer `labels` is a class id: NaN out of range, +∞ where `where` hides that class."""
    if np.ndim(labels):
        return _soft_cross_entropy(logits, labels, where=where, **options)
    if not 0 <= labels < len(logits):
        return np.nan, np.full(len(logits), np.nan)
    one_hot = np.arange(len(logits)) == labels
    value, by_logits, _ = _soft_cross_entropy(logits, one_hot, where=where, **options)
    hidden = where is not None and any(where) and not where[labels]
    return (np.inf if hidden else value), by_logits


def _pair(count, p_logits, q_logits):
    logs = _log_softmax(count, p_logits), _log_softmax(count, q_logits)
    return *logs, *([mp.exp(x) for x in log] for log in logs)


@_of_row
def softmax_kl_divergence(count, p_logits, q_logits):
    log_p, log_q, p, q = _pair(count, p_logits, q_logits)
    log_ratio = [_ZERO if a == -_INF else a - b for a, b in zip(log_p, log_q)]
    value = _mean(count, p, log_ratio)
    by_p = [_ZERO if a == 0 else a * (x - value) for a, x in zip(p, log_ratio)]
    return value, by_p, [b - a for a, b in zip(p, q)]


@_of_row
def softmax_js_divergence(count, p_logits, q_logits):
    _, _, p, q = _pair(count, p_logits, q_logits)
    value, gradients = _ZERO, []
    for row in (p, q):
        log_ratio = [mp.log(_ratio(x, (a + b) / 2)) for x, a, b in zip(row, p, q)]
        mean = _mean(count, row, log_ratio)
        value += mean / 2
        gradients.append([_ZERO if a == 0 else a * (x - mean) / 2 for a, x in zip(row, log_ratio)])
    return value, *gradients


def _of_two(function):
    """The Bernoulli of one logit z is the softmax of the two outcomes (z, 0)."""

    def bernoulli(*logits, base=None):
        value, *gradients = function(*((z, 0.0) for z in logits), base=base)
        return value, *(gradient[0] for gradient in gradients)

    return bernoulli


sigmoid_entropy = _of_two(softmax_entropy)
sigmoid_kl_divergence = _of_two(softmax_kl_divergence)
sigmoid_js_divergence = _of_two(softmax_js_divergence)


def sigmoid_cross_entropy(logit, label, *, base=None, label_smoothing=0.0):
    """`label` is the probability of class 1, an integer 0 or 1 included."""
    logit, label = mpf(float(logit)), mpf(float(label))
    if not 0 <= label <= 1:
        return np.nan, np.nan, np.nan
    log_p = _log_softmax([1, 1], [logit, _ZERO])
    keep = 1 - mpf(label_smoothing)
    label = keep * label + mpf(label_smoothing) / 2
    nats = 1 if base is None else mp.log(mpf(base))
    value = -_mean([1, 1], [label, 1 - label], log_p)
    by_label = keep * (log_p[1] - log_p[0])
    return float(value / nats), float((mp.exp(log_p[0]) - label) / nats), float(by_label / nats)
