"""The engine against the textbook ways of doing the same work, timed side by side.

`textbook` holds the other side of every comparison; `suite` runs them all.
"""
