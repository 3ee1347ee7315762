"""Causal language models: transformers that predict the next token (Wu & Papyan 2024).

The class of a context is the token behind it; its features are what the head gets, the output of
the last LayerNorm. A state's tensors are a model's parameters at the end of an epoch; epoch 0 is
its start. The history holds a row for each epoch: ``objective``, the mean cross-entropy of the
epoch's batches in nats, of which ``data_loss`` is all there is, and ``error``, the fraction of
tokens that are not the most likely one, both on the way.
"""
