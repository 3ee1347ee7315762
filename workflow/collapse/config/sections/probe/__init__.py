"""What is measured of a state: tidy rows, and points that fit no row."""

IMPLEMENTATIONS = "collapse.probes"
