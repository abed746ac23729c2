"""A softmax classifier trained on handwritten digits: ``python -m xent_jax.demo``."""

from ._data import Dataset as Dataset
from ._data import load_digits as load_digits
from ._fit import Training as Training
from ._fit import fit_softmax_classifier as fit_softmax_classifier
