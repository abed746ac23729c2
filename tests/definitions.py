"""What each public function means: float64 NumPy, straight from the definition, for plain rows.

The oracle of every row of tests/calls.py: arguments and options are those of the function, results
are what it returns. Digits where they are hard to keep are the matter of tests/oracle.py. Nothing
here imports JAX or the package.
"""

import numpy as np


def _soft(z, where=None):
    """log softmax; −∞ where an outcome does not exist."""
    z = np.asarray(z, float) if where is None else np.where(where, z, -np.inf)
    top = z.max(-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def _mean(p, cost):
    """Σ p c, where outcomes of probability 0 cost nothing."""
    return np.sum(np.where(p > 0, p * np.where(p > 0, cost, 0), 0), -1)


def entropy(p):
    return -_mean(p, np.log(p))


def cross_entropy(p, q):
    return -_mean(p, np.log(q))


def perplexity(p, q=None):
    return np.exp(cross_entropy(p, p if q is None else q))


def kl_divergence(p, q, where=True, base=np.e):
    return np.sum(np.where(where, p * np.log(p / q) - p + q, 0), -1) / np.log(base)


def js_divergence(p, q):
    m = (p + q) / 2
    return (kl_divergence(p, m) + kl_divergence(q, m)) / 2


def _both(f):
    """Of the two outcomes of each probability."""

    def binary(*arguments, where=True, base=np.e):
        two = (np.stack([p, 1 - p], -1) for p in arguments)
        return np.where(where, f(*two), 0) / np.log(base)

    return binary


binary_entropy = _both(entropy)
binary_cross_entropy = _both(cross_entropy)
binary_kl_divergence = _both(kl_divergence)
binary_js_divergence = _both(js_divergence)


def renyi_entropy(p, alpha):
    return np.log(np.sum(p**alpha, -1)) / (1 - alpha)


def renyi_divergence(p, q, alpha):
    return np.log(np.sum(p**alpha * q ** (1 - alpha), -1)) / (alpha - 1)


def tsallis_entropy(p, q):
    return np.sum(p - p**q, -1) / (q - 1)


def conditional_entropy(joint):
    return -np.sum(joint * np.log(joint / joint.sum(-1, keepdims=True)), (-2, -1))


def mutual_information(joint):
    of_x, of_y = joint.sum(-1, keepdims=True), joint.sum(-2, keepdims=True)
    return np.sum(joint * np.log(joint / (of_x * of_y)), (-2, -1))


def ensemble_information(p, ensemble_axis, weights=None, base=np.e):
    p = np.moveaxis(p, ensemble_axis, -2)
    weights = np.ones(p.shape[-2]) if weights is None else weights
    shares = weights / weights.sum()
    mixture = shares @ p
    with np.errstate(divide="ignore"):
        expected = -(_mean(p, np.log(p)) @ shares)
        predictive = -_mean(mixture, np.log(mixture))
    return tuple(x / np.log(base) for x in (predictive, expected, predictive - expected))


def kl_estimate(log_p, log_q, kind):
    d = log_p - log_q
    return {"k1": d, "k2": d**2 / 2, "k3": np.exp(-d) - 1 + d}[kind]


def kl_estimate_with_error(log_p, log_q, where=None):
    """The line l ~ g of least squares at g = 0, and λ = −its slope."""
    kept = np.ones(log_p.shape[-1], bool) if where is None else where
    ratio = (log_p - log_q)[..., kept]
    g = np.expm1(-ratio)
    mean, mean_g = (x.mean(-1, keepdims=True) for x in (ratio, g))
    weight = -np.sum((ratio - mean) * (g - mean_g), -1) / np.sum((g - mean_g) ** 2, -1)
    terms = ratio + weight[..., None] * g
    n, value = ratio.shape[-1], terms.mean(-1)
    squares = np.sum((terms - value[..., None]) ** 2, -1)
    return value, np.sqrt(squares / ((n - 2) * n)), weight


# Logits.


def softmax_entropy(z):
    return entropy(np.exp(_soft(z)))


def softmax_ensemble_information(z, where=None, **options):
    return ensemble_information(np.exp(_soft(z, where)), **options)


def softmax_renyi_entropy(z, alpha):
    return renyi_entropy(np.exp(_soft(z)), alpha)


def softmax_tsallis_entropy(z, alpha, where=None):
    return tsallis_entropy(np.exp(_soft(z, where)), alpha)


def softmax_renyi_divergence(zp, zq, alpha):
    return renyi_divergence(np.exp(_soft(zp)), np.exp(_soft(zq)), alpha)


def softmax_kl_divergence(zp, zq):
    return kl_divergence(np.exp(_soft(zp)), np.exp(_soft(zq)))


def softmax_js_divergence(zp, zq):
    return js_divergence(np.exp(_soft(zp)), np.exp(_soft(zq)))


def softmax_statistics(z, labels=None, where=None):
    log_p = _soft(z, where)
    argmax = np.argmax(log_p, -1)
    kept = np.ones(z.shape[-1], bool) if where is None else where
    height = np.log(np.sum(np.exp(np.asarray(z, float)) * kept, -1))
    at_label = correct = rank = None
    if labels is not None:
        at_label = np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
        correct = argmax == labels
        rank = np.sum(log_p > at_label[..., None], -1)
    return at_label, height, -_mean(np.exp(log_p), log_p), argmax, correct, rank


def _loss(f):
    """Σ_j w_j y_j f(p_j) with smoothed labels y, for f of the probability and of −log of it."""

    def loss(
        z, labels, where=None, class_weights=1.0, label_smoothing=0.0, ignore_index=None,
        z_loss=0.0, base=np.e, keepdims=False, **parameter,
    ):  # fmt: skip
        kept = np.ones(z.shape[-1], bool) if where is None else where
        ids = np.issubdtype(labels.dtype, np.integer)
        y = np.eye(z.shape[-1])[labels] if ids else labels
        y = (1 - label_smoothing) * y + label_smoothing * kept / kept.sum()
        log_p = _soft(z, kept)
        found = _mean(y * class_weights, f(np.exp(log_p), -log_p, **parameter))
        height = np.log(np.sum(np.exp(np.asarray(z, float)) * kept, -1))
        found = (found + z_loss * height**2) / np.log(base)
        found = np.where(labels == ignore_index, 0, found) if ids else found
        return found[..., None] if keepdims else found

    return loss


def _focal(p, cost, gamma=2.0):
    return (1 - p) ** gamma * cost


softmax_cross_entropy = _loss(lambda p, cost: cost)
softmax_focal_loss = _loss(_focal)
softmax_poly_loss = _loss(lambda p, cost, epsilon=1.0: cost + epsilon * (1 - p))
softmax_generalized_cross_entropy = _loss(lambda p, cost, q=0.7: (1 - p**q) / q)


def _two(z):
    """The Bernoulli of one logit as two classes."""
    return np.stack([z, np.zeros_like(z)], -1)


def sigmoid_entropy(z):
    return softmax_entropy(_two(z))


def sigmoid_kl_divergence(zp, zq):
    return softmax_kl_divergence(_two(zp), _two(zq))


def sigmoid_js_divergence(zp, zq):
    return softmax_js_divergence(_two(zp), _two(zq))


def _binary(f):
    def loss(z, labels, where=True, label_smoothing=0.0, pos_weight=1.0):
        y = (1 - label_smoothing) * labels + label_smoothing / 2
        p = 1 / (1 + np.exp(-np.asarray(z, float)))
        one, zero = pos_weight * y * f(p, -np.log(p)), (1 - y) * f(1 - p, -np.log(1 - p))
        return np.where(where, one + zero, 0)

    return loss


sigmoid_cross_entropy = _binary(lambda p, cost: cost)
sigmoid_focal_loss = _binary(_focal)


# Heads: the dense row of x @ w + b, reduced.


def _reduced(losses, reduction, weights=None):
    losses = losses if weights is None else losses * weights
    count = len(losses) if weights is None else weights.sum()
    return {None: losses, "sum": losses.sum(), "mean": losses.sum() / count}[reduction]


def _logits(x, w, b=0.0, softcap=None, temperature=1.0):
    z = x @ w + b
    return (z if softcap is None else softcap * np.tanh(z / softcap)) / temperature


def linear_softmax_cross_entropy(
    x, w, labels, b=0.0, label_probs=None, focal_gamma=0.0, class_weights=None, weights=None,
    reduction=None, chunk_size=None, **options,
):  # fmt: skip
    z = _logits(x, w, b)
    if label_probs is not None:
        y = np.zeros_like(z)
        np.add.at(y, (np.arange(len(x))[:, None], labels), label_probs)
        labels = y
    given = {"class_weights": 1.0 if class_weights is None else class_weights, **options}
    return _reduced(softmax_focal_loss(z, labels, gamma=focal_gamma, **given), reduction, weights)


def linear_softmax_loss(
    loss_fn, x, w, labels, *data, weights=None, reduction=None, return_statistics=False,
    chunk_size=None, **shaping,
):  # fmt: skip
    told = softmax_statistics(_logits(x, w, **shaping), labels)
    loss = _reduced(loss_fn(*told, *data), reduction, weights)
    return (loss, *told) if return_statistics else loss


def linear_sigmoid_cross_entropy(
    x, w, ids, where=None, pos_weight=1.0, reduction=None, chunk_size=None, **shaping
):
    kept = np.ones(w.shape[-1], bool) if where is None else where
    labels = np.eye(w.shape[-1])[ids].max(-2)
    z = _logits(x, w, **shaping)
    losses = sigmoid_cross_entropy(z, labels, where=kept, pos_weight=pos_weight).sum(-1)
    return _reduced(losses, reduction)


def linear_softmax_entropy(x, w):
    return softmax_entropy(x @ w)


def linear_softmax_kl_divergence(xp, wp, xq, wq):
    return softmax_kl_divergence(xp @ wp, xq @ wq)


def linear_softmax_js_divergence(xp, wp, xq, wq, reduction=None, chunk_size=None):
    return _reduced(softmax_js_divergence(xp @ wp, xq @ wq), reduction)


def linear_softmax_statistics(x, w, labels=None, chunk_size=None):
    return softmax_statistics(x @ w, labels)


# Imbalance.


def class_frequencies(labels, num_classes, weights=1.0):
    ids = np.issubdtype(labels.dtype, np.integer)
    y = np.eye(num_classes)[labels] if ids else labels
    return np.sum(y * np.broadcast_to(weights, len(y))[:, None], 0)


def logit_adjustment(counts, tau=1.0):
    return tau * np.log(counts / counts.sum(-1, keepdims=True))


def balanced_class_weights(counts):
    return counts.sum(-1, keepdims=True) / (counts.shape[-1] * counts)


def effective_number_weights(counts, beta):
    w = (1 - beta) / (1 - beta**counts)
    return w * counts.shape[-1] / w.sum(-1, keepdims=True)


# Calibration.


def brier_score(p, labels, where=True, ignore_index=None, keepdims=False):
    ids = np.issubdtype(labels.dtype, np.integer)
    y = np.eye(p.shape[-1])[labels] if ids else labels
    found = np.sum(np.where(where, p - y, 0) ** 2, -1, keepdims=keepdims)
    return np.where(labels == ignore_index, 0, found) if ids else found


def softmax_brier_score(z, labels, where=None, **options):
    return brier_score(np.exp(_soft(z, where)), labels, **options)


def _in_bins(confidence, outcome, bins=15, binning="width", weights=None):
    """(forecasts, outcomes, weights) of each bin, and the edges between them."""
    c, o = np.ravel(confidence), np.ravel(outcome)
    w = np.ones(len(c)) if weights is None else np.ravel(weights)
    inner = np.arange(1, bins) / bins
    if binning == "mass":
        rank = np.array([np.sum(w * ((c < x) + (c == x) / 2)) for x in c]) / np.sum(w)
        inner = np.array([max([0.0, *c[(rank <= share) & (w > 0)]]) for share in inner])
    k = np.searchsorted(inner, c)
    return [(c[k == i], o[k == i], w[k == i]) for i in range(bins)], np.r_[0, inner, 1]


def expected_calibration_error(*forecasts, **options):
    parts, _ = _in_bins(*forecasts, **options)
    total = sum(np.sum(w) for *_, w in parts)
    return sum(abs(np.sum(w * (c - o))) for c, o, w in parts) / total


def reliability_curve(*forecasts, **options):
    parts, edges = _in_bins(*forecasts, **options)
    mass = np.array([np.sum(w) for *_, w in parts])
    sums = np.array([(np.sum(w * c), np.sum(w * o)) for c, o, w in parts])
    with np.errstate(invalid="ignore"):
        return *(sums / mass[:, None]).T, mass / mass.sum(), edges


def brier_decomposition(*forecasts, **options):
    parts, _ = _in_bins(*forecasts, **options)
    c, o, w = (np.concatenate(x) for x in zip(*parts, strict=True))
    mean, share = np.average(o, weights=w), 1 / np.sum(w)
    reliability = resolution = within = 0.0
    for c_k, o_k, w_k in (part for part in parts if part[2].size):
        c_mean, o_mean = (np.average(x, weights=w_k) for x in (c_k, o_k))
        reliability += np.sum(w_k) * (c_mean - o_mean) ** 2 * share
        resolution += np.sum(w_k) * (o_mean - mean) ** 2 * share
        around = (c_k - c_mean) ** 2 - 2 * (c_k - c_mean) * (o_k - o_mean)
        within += np.sum(w_k * around) * share
    spread = np.sum(w * (o - mean) ** 2) * share
    score = np.sum(w * (c - o) ** 2) * share
    return tuple(map(np.asarray, (score, reliability, resolution, spread, within)))


def fit_temperature(z, labels, where=None, weights=1.0):
    """By bisection of log T on the slope of the loss by 1/T."""
    z = np.asarray(z, float)
    ids = np.issubdtype(labels.dtype, np.integer)
    y = np.eye(z.shape[-1])[labels] if ids else labels
    if where is not None:
        z, y = z[..., where], y[..., where]
    low, high = np.log(np.ptp(z)) + np.array([-20.0, 20.0])
    for _ in range(100):
        middle = (low + high) / 2
        p = np.exp(_soft(z * np.exp(-middle)))
        slope = np.sum(weights * np.sum((p * y.sum(-1, keepdims=True) - y) * z, -1))
        low, high = (low, middle) if slope < 0 else (middle, high)
    return np.exp(middle)
