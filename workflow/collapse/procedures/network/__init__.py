"""Training of networks on data; those of one shape train side by side.

A state's tensors are the network's parameters and buffers at the end of an epoch. The history holds
a row for each epoch.
"""
