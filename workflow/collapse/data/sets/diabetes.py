"""Diabetes, held by scikit-learn: its progression in 442 patients, all for training."""

from collapse.data.kinds.generated import Generated


def load():
    """Return the patients' data, 442 x 10, unscaled, and the disease's progression, 442 x 1."""
    from sklearn.datasets import load_diabetes

    inputs, progression = load_diabetes(return_X_y=True, scaled=False)
    return inputs, progression[:, None]


SET = Generated(
    title="diabetes",
    inputs=("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
    targets=("progression",),
    load=load,
    test_share=0,
    train_count=442,
    origin="package scikit-learn",
)
