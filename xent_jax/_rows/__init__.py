"""One file per quantity: its formula, its residuals and its partials."""
