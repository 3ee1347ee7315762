"""Linnerud, held by scikit-learn: exercises and physiology of 20 men, all for training."""

from collapse.data.kinds.generated import Generated


def load():
    """Return the exercises, 20 x 3, and the physiological measurements, 20 x 3."""
    from sklearn.datasets import load_linnerud

    return load_linnerud(return_X_y=True)


SET = Generated(
    title="linnerud",
    inputs=("Chins", "Situps", "Jumps"),
    targets=("Weight", "Waist", "Pulse"),
    load=load,
    test_share=0,
    train_count=20,
    origin="package scikit-learn",
)
