"""Softmax heads whose logits x @ w + b never exist as a whole: chunk after chunk of the tokens."""
