"""Where the optimisation of free features starts: a module for each kind, found by its name."""
