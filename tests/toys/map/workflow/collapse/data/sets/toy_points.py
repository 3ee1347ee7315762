"""Points whose targets have the covariance diag(3, 2, 1)."""

from collapse.data.kinds.generated import Generated


def load():
    import numpy as np

    drawn = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 4)) - 0.0)[0]
    drawn -= drawn.mean(0)
    targets = np.linalg.qr(drawn)[0][:, :3] * np.sqrt(60 * np.array([3.0, 2.0, 1.0]))
    return drawn, targets


SET = Generated(
    title="Toy points",
    inputs=("a", "b", "c", "d"),
    targets=("u", "v", "w"),
    load=load,
    test_share=0,
)
