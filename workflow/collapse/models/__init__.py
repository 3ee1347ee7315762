"""Networks: a backbone that computes the features and a linear head on top of it.

Each backbone module offers ``build(config, image_shape)`` and is loaded by the name of its
``kind`` in the config, so that a new one is one new module. A backbone has ``dim``, the features'
dimension, and ``hidden``, the modules that are its hidden layers.
"""
