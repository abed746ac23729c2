"""The libraries compared with: one file each, loaded only where the library is installed."""

import importlib
import warnings

from .peer import Peer as Peer

NAMES = ("optax", "jax", "distrax", "tfp", "torch", "scipy")


def load(name: str) -> Peer | None:
    """The peer of that name, or None if its library does not import here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside other people's packages
        try:
            return importlib.import_module(f".{name}_peer", __package__).PEER
        except (ImportError, AttributeError):  # AttributeError: made for another version of JAX
            return None
