"""The textbook ways: what the engine is timed against, and checked against."""
