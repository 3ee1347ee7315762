"""Training of networks on real data, and the features of what was trained."""
