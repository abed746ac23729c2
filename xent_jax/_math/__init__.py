"""Scalar formulae in which nothing cancels; they know of no class axis."""
