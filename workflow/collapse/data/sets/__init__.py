'''Data sets, one module each: whatever lies here is found by its name.

A new one needs nothing but its module. Its constant ``SET`` is of a kind of `collapse.data.kinds`;
for numbers that a function makes or another package holds,

    """A wave: two phases at 500 places."""

    from collapse.data.kinds.generated import Generated


    def load():
        import numpy as np

        places = np.linspace(0, 1, 500)[:, None]
        return places, np.hstack([np.sin(9 * places), np.cos(9 * places)])


    SET = Generated(title="Wave", inputs=("place",), targets=("sine", "cosine"), load=load)

The workflow's driver loads these modules to plan: what is slow to import is imported by the
functions that need it.
'''
