"""Hopper by an expert whose actions are noisy, as those of a policy that was trained to explore.

As many pairs as the last released script of Andriopoulos et al. 2024 trains on with penalised
features; the noise is this project's, of a variance within that script's remaining error there.
"""

from dataclasses import replace

from collapse.data.sets import hopper

SET = replace(
    hopper.SET,
    title="Hopper, noisy",
    train_count=100_000,
    test_count=20_000,
    expert="hopper",
    action_noise=0.33,
)
