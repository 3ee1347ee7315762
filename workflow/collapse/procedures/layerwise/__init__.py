"""Training of a network layer by layer (Tirer et al. 2023, Sec. 5).

Step m is the end of the training of hidden layer m, under a head of its own, on the features of the
layers before it; its state holds the parameters of that layer and head. The history holds a row for
each epoch of each layer.
"""
