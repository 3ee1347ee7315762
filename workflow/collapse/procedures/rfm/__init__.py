"""Deep recursive feature machines (Beaglehole, Sukenik, Mondelli, Belkin 2024).

Step l is layer l: a kernel ridge regression is fitted to the layer's inputs, these are multiplied
by a root of the average gradient outer product (AGOP) of its predictor, and untrained random
features of the result are what the next layer gets. Nothing is trained by gradient descent. A state
holds the predictor's ``coefficients``, N x K, and the ``root``, d x d, which an ablation without a
projection lacks; random weights follow from the seed. The history holds a row for each layer.
"""
