"""The families of order α and joint distributions: their truth in 60 digits, and rows to try.

Nothing here imports JAX or the package. A gradient of NaN has no finite truth.
"""

import numpy as np
from mpmath import mp, mpf

mp.dps = 60
INF, NAN = np.inf, np.nan
BAR = {np.float32: 1e-6, np.float64: 1e-14}
P, Q = (np.random.default_rng(i).dirichlet(np.ones(6), size=4).astype(np.float32) for i in (5, 6))


def _of_row(quantity):
    """Gives `quantity` the distinct outcomes with their counts; spreads its gradients back.

    A gradient of None has no finite truth: NaN. The last number returned is that by the order.
    """

    def function(*columns, order):
        row = np.stack([np.asarray(column, float) for column in columns], -1)
        distinct, place, count = np.unique(row, axis=0, return_inverse=True, return_counts=True)
        *gradients, by_order = quantity(
            count.tolist(), *([*map(mpf, x)] for x in distinct.T.tolist()), mpf(float(order))
        )
        value, *gradients = gradients
        known = [[NAN if g is None else float(g) for g in column] for column in gradients]
        return float(value), *(np.array(g)[place.ravel()] for g in known), float(by_order)

    return function


def _sum(count, terms):
    return mp.fsum(n * x for n, x in zip(count, terms, strict=True))


def _log(x):
    return mp.log(x) if x else mpf(0)


@_of_row
def tsallis_truth(count, p, order):
    """Σ (p − p^q)/(q − 1), of the possible outcomes."""
    t = order - 1
    if order == mp.inf:
        return 0, [0 for _ in p], 0
    if t == 0:
        by_order = -_sum(count, [x * _log(x) ** 2 for x in p]) / 2
        slopes = [-_log(x) - 1 if x else None for x in p]
        return -_sum(count, [x * _log(x) for x in p]), slopes, by_order
    power = [x**order if x else mpf(0) for x in p]
    slopes = [(1 - order * x**t) / t if x else None for x in p]
    change = [-(x - w) / t**2 - w * _log(x) / t for x, w in zip(p, power)]
    return _sum(count, [(x - w) / t for x, w in zip(p, power)]), slopes, _sum(count, change)


@_of_row
def renyi_truth(count, p, order):
    """W·log(Σ p^α/W)/(1 − α), W = Σ p, and its limits."""
    t, mass = order - 1, _sum(count, p)
    if order == mp.inf:
        top = max(p)
        h, ties = -mp.log(top), sum(n for n, x in zip(count, p) if x == top)
        slopes = [None if not x else h - (x == top) * mass / (top * ties) for x in p]
        return mass * h, slopes, 0
    if t == 0:
        value = -_sum(count, [x * _log(x) for x in p])
        spread = _sum(count, [x * (_log(x) + value / mass) ** 2 for x in p])
        return value, [-_log(x) - 1 if x else None for x in p], -spread / 2
    power = [x**order if x else mpf(0) for x in p]
    total = _sum(count, power)
    h = -mp.log(total / mass) / t
    slopes = [h + (1 - order * x**t * mass / total) / t if x else None for x in p]
    escort = _sum(count, [w / total * _log(x) for w, x in zip(power, p)])
    return mass * h, slopes, mass * (-h - escort) / t


@_of_row
def divergence_truth(count, p, q, order):
    """W·log(Σ p^α q^{1−α}/W)/(α − 1) − W + V, W = Σ p and V = Σ q, and its limits."""
    t, mass, other = order - 1, _sum(count, p), _sum(count, q)
    both = [x and y for x, y in zip(p, q)]
    unknown = [None for _ in p]
    if not any(both) or (t >= 0 and any(x and not y for x, y in zip(p, q))):
        return mp.inf, unknown, unknown, mp.nan
    log_ratio = [mp.log(x / y) if x and y else mpf(0) for x, y in zip(p, q)]
    if order == mp.inf:
        rate = max(r for r, ok in zip(log_ratio, both) if ok)
        at_top = [bool(ok) and r == rate for r, ok in zip(log_ratio, both)]
        top_p = _sum(count, [x * top for x, top in zip(p, at_top)])
        by_p = [rate - 1 + top * mass / top_p if x else None for x, top in zip(p, at_top)]
        by_q = [1 - top * mass / top_p * x / y if y else None for x, y, top in zip(p, q, at_top)]
        return mass * rate - mass + other, by_p, by_q, 0
    if t == 0:
        value = _sum(count, [x * r for x, r in zip(p, log_ratio)])
        spread = _sum(count, [x * (r - value / mass) ** 2 for x, r in zip(p, log_ratio)])
        by_p = [r if x else None for x, r in zip(p, log_ratio)]
        return (
            value - mass + other,
            by_p,
            [1 - x / y if y else None for x, y in zip(p, q)],
            spread / 2,
        )
    power = [x * mp.exp(t * r) if ok else mpf(0) for x, r, ok in zip(p, log_ratio, both)]
    total = _sum(count, power)
    rate = mp.log(total / mass) / t
    by_p = [
        rate - 1 + (order * w / x * mass / total - 1) / t if x else None for x, w in zip(p, power)
    ]
    by_q = [1 - mass * w / y / total if y else None for y, w in zip(q, power)]
    escort = _sum(count, [w / total * r for w, r in zip(power, log_ratio)])
    return mass * rate - mass + other, by_p, by_q, mass * (escort - rate) / t


def joint_truth(joint):
    """H(Y|X), I(X; Y) and their gradients, 0 where the outcome has no mass."""
    p = [[mpf(float(v)) for v in row] for row in joint]
    of_x, of_y = [mp.fsum(row) for row in p], [mp.fsum(column) for column in zip(*p)]
    mass = mp.fsum(of_x)
    cost = [[_log(of_x[i] / v) if v else mpf(0) for v in row] for i, row in enumerate(p)]
    ratio = [
        [_log(v * mass / (of_x[i] * of_y[j])) if v else mpf(0) for j, v in enumerate(row)]
        for i, row in enumerate(p)
    ]
    results = []
    for slopes in (cost, ratio):
        value = mp.fsum(v * s for row, line in zip(p, slopes) for v, s in zip(row, line))
        results += [float(value), np.array([[float(s) for s in line] for line in slopes])]
    return results


# The rows.

ORDERS = (0, 1e-3, 3e-3, 0.25, 0.5, 0.999, 1 - 1e-6, 1, 1 + 1e-6, 1.001, 2, 5, 50, INF)


def softmax(z):
    w = np.exp(z - np.max(z))
    return w / w.sum()


def rows_of_one(k=8):
    z = np.random.default_rng(0).normal(size=k)
    yield from {
        "flat": np.full(k, 1 / k),
        "nearly flat": softmax(1e-4 * z),
        "mild": softmax(z),
        "wide": softmax(4 * z),
        "tied": softmax(np.r_[3, 3, z[2:]]),
        "zeros": np.r_[0, 0, softmax(z[2:])],
        "one": np.eye(k)[2],
        "nearly one": np.r_[1 - 2e-7, np.full(k - 1, 1e-30)],
        "incomplete": softmax(z) * 0.3,
        **{f"peaked by {m}": softmax(np.r_[m + 2, z[1:]]) for m in (5, 12, 20, 60)},
    }.items()


def rows_of_two(k=8):
    a, b = np.random.default_rng(1).normal(size=(2, k))
    flat, half = np.full(k, 1 / k), np.repeat([1.0, 0.0], k // 2) * 2 / k
    peaked = np.r_[9, a[1:]]
    yield from {
        "mild": (softmax(a), softmax(b)),
        "wide": (softmax(4 * a), softmax(4 * b)),
        "equal": (softmax(a), softmax(a)),
        "zeros in p": (np.r_[0, 0, softmax(a[2:])], softmax(b)),
        "zeros in q": (softmax(a), np.r_[0, 0, softmax(b[2:])]),
        "zeros in both": (np.r_[0, 0, softmax(a[2:])], np.r_[0, 0, softmax(b[2:])]),
        "disjoint": (half, half[::-1]),
        "nearly disjoint": (half + 1e-30, half[::-1] + 1e-30),
        "incomplete": (softmax(a) * 0.5, softmax(b) * 2),
        "tiny in p": (np.r_[1 - 7e-7, np.full(k - 1, 1e-35)], np.r_[0.5, np.full(k - 1, 0.5 / 7)]),
    }.items()
    for d in (1e-12, 1e-9, 1e-6, 1e-3, 0.1):
        step = b * np.sqrt(2 * d)
        yield f"near, D about {d}", (softmax(a), softmax(a + step))
        yield f"near a peak, {d}", (softmax(peaked), softmax(peaked + step))
    for d in (10, 40):
        far = softmax(np.r_[0, d, b[2:]])
        yield f"far, {d}", (softmax(np.r_[5, a[1:]]), far)
        yield f"flat to far, {d}", (flat, far)
        yield f"far to flat, {d}", (far, flat)


def repeated(k):
    """Rows of any size; the oracle counts their 40 distinct outcomes."""
    rng = np.random.default_rng(k)
    a, b = rng.normal(size=(2, min(k, 40)))
    pick = rng.integers(len(a), size=k) if k > len(a) else np.arange(k)
    yield "mild", (softmax(a[pick]), softmax(b[pick]))
    yield "wide, near", (softmax(3 * a[pick]), softmax(3 * a[pick] + 1e-5 * b[pick]))
    one = np.r_[np.log(6), np.zeros(k - 1)]
    yield "one above the others", (softmax(one), softmax(-one))


def stacked(rows, dtype):
    """The columns of the rows, each (rows, K), without subnormal numbers."""
    names, values = zip(*rows)
    columns = [
        np.array(column, dtype)
        for column in zip(*(v if isinstance(v, tuple) else (v,) for v in values))
    ]
    return names, [np.where(x < np.finfo(dtype).tiny, dtype(0), x) for x in columns]
