"""Kinds of data sets, one module each: what a data set of the kind says of itself."""
