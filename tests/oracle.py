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


def _focal(p, cost, gamma=2.0):
    """(1 − p)^γ c, and its derivatives by c and by γ; 0⁰ is 1."""
    gamma, wrong = mpf(gamma), -mp.expm1(-cost)
    if cost == 0:
        return _ZERO, mpf(gamma == 0), _ZERO
    if cost == _INF:
        return _INF, mpf(1), _ZERO
    value = wrong**gamma * cost
    return value, wrong**gamma * (1 + gamma * p * cost / wrong), value * mp.log(wrong)


def _poly(p, cost, epsilon=1.0):
    """c + ε(1 − p)."""
    return cost - mpf(epsilon) * mp.expm1(-cost), 1 + mpf(epsilon) * p, -mp.expm1(-cost)


def _generalized(p, cost, q=0.7):
    """(1 − p^q)/q."""
    q = mpf(q)
    if q == 0 or cost == 0:
        return cost, mpf(1), -(cost**2) / 2
    if cost == _INF:
        return 1 / q, _ZERO, -1 / q**2
    return -mp.expm1(-q * cost) / q, p**q, p**q * cost / q + mp.expm1(-q * cost) / q**2


def _loss(f):
    """Σ_j w_j y_j f(c_j) of one row, and its gradients by logits, labels (soft), parameter of f."""

    def loss(logits, labels, *, where=None, label_smoothing=0.0, class_weights=None, **parameter):
        kept = np.full(len(logits), True) if where is None else np.asarray(where)
        if not kept.any():
            zeros = np.zeros(len(logits))
            return 0.0, *(zeros,) * (1 + (np.ndim(labels) > 0)), 0.0
        soft = np.ndim(labels) > 0
        hidden = not soft and not kept[labels]
        y = labels if soft else np.arange(len(logits)) == labels
        y = [mpf(float(x)) for x in np.asarray(y)[kept]]
        if _bad(y):
            return np.nan, *np.full((2, len(logits)), np.nan), np.nan
        keep, share = 1 - mpf(label_smoothing), mpf(label_smoothing) / len(y)
        w = np.ones(len(logits)) if class_weights is None else np.asarray(class_weights)
        w = [mpf(float(x)) for x in w[kept]]
        weights = [b * (keep * a + share) for a, b in zip(y, w)]
        log_p = _log_softmax([1] * len(y), [mpf(float(z)) for z in np.asarray(logits)[kept]])
        p = [mp.exp(x) for x in log_p]
        each = [f(a, -x, **parameter) for a, x in zip(p, log_p)]
        ones = [1] * len(y)
        value, by_parameter = (_mean(ones, weights, [e[i] for e in each]) for i in (0, 2))
        moved = [_ZERO if a == 0 else a * e[1] for a, e in zip(weights, each)]
        total = mp.fsum(moved)
        gradients = [[total * a - b for a, b in zip(p, moved)]]
        if soft:
            gradients.append([keep * b * e[0] for b, e in zip(w, each)])
        spread = np.zeros((len(gradients), len(logits)))
        spread[:, kept] = np.array([[float(x) for x in g] for g in gradients])
        if hidden:
            value = f(_ZERO, _INF, **parameter)[0] * mpf(
                float(np.asarray(class_weights)[labels]) if class_weights is not None else 1
            )
        return float(value), *spread, float(by_parameter)

    return loss


softmax_focal_loss = _loss(_focal)
softmax_poly_loss = _loss(_poly)
softmax_generalized_cross_entropy = _loss(_generalized)
softmax_weighted_cross_entropy = _loss(lambda p, cost: (cost, mpf(1), _ZERO))


def _binary_loss(logit, label, one, zero, f, **parameter):
    """one·y·f(σ(z)) + zero·(1 − y)·f(σ(−z)), and its derivatives by z and by y."""
    y = mpf(float(label))
    if not 0 <= y <= 1:
        return np.nan, np.nan, np.nan
    log_p = _log_softmax([1, 1], [mpf(float(logit)), _ZERO])
    p, weights = [mp.exp(x) for x in log_p], [mpf(one) * y, mpf(zero) * (1 - y)]
    each = [f(a, -x, **parameter) for a, x in zip(p, log_p)]
    value = _mean([1, 1], weights, [e[0] for e in each])
    by_z = _mean([1, 1], [weights[1] * p[0], -weights[0] * p[1]], [each[1][1], each[0][1]])
    by_y = mpf(one) * each[0][0] - mpf(zero) * each[1][0]
    return tuple(map(float, (value, by_z, by_y)))


def sigmoid_focal_loss(logit, label, *, gamma=2.0, alpha=None):
    one, zero = (1, 1) if alpha is None else (alpha, 1 - mpf(alpha))
    return _binary_loss(logit, label, one, zero, _focal, gamma=gamma)


def sigmoid_weighted_cross_entropy(logit, label, *, pos_weight):
    return _binary_loss(logit, label, pos_weight, 1, lambda p, cost: (cost, mpf(1), _ZERO))


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
