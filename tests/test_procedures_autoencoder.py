"""Autoencoders with ReLU networks: objectives, training side by side, and what is measured."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from collapse import config, jobs
from collapse.artifacts import read_table, read_tensors
from collapse.errors import InputError
from collapse.procedures.autoencoder import MODELS, cvae, mhvae
from collapse.procedures.autoencoder.gaussian import build, from_prior
from collapse.procedures.autoencoder.images import Images
from collapse.procedures.autoencoder.learner import NOISE, AutoencoderLearner
from collapse.procedures.autoencoder.measure import (
    data_readings,
    latent_readings,
    variables,
)
from collapse.training.ensemble import Ensemble
from collapse.training.order import generator
from collapse.training.trainer import Trainer, train
from conftest import CPU, assert_resumes, needs_gpu
from test_procedures_problem import CONFIG, make

CVAE = {
    "procedure": "autoencoder",
    "data": {"name": "digits", "samples_per_class": 6},
    "autoencoder": "cvae",
    "hidden": [9],
    "latent_dim": 3,
    "beta": 0.5,
    "training": {
        "optimiser": {"kind": "adam"}, "learning_rate": 1e-2, "epochs": 3, "batch_size": 25,
        "record": 1, "precision": "float32",
    },
    "seeds": 1,
}  # fmt: skip
MHVAE = CVAE | {
    "autoencoder": "mhvae", "beta": None, "beta_1": 0.7, "beta_2": 1.5, "encoder_std": 0.6,
    "latent_dim_2": 2,
}  # fmt: skip
STDS = {"decoder_std": 1.0, "prior_std": 1.0}
SHAPE = (4, 6)


def atlas_of(block=CVAE, **changes):
    user = {"scale": "smoke", "first_seed": 1, "posterior_collapse": {"mine": block | changes}}
    return config.load(CONFIG, user, "my.yaml")


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def networks(model, block, *seeds):
    return Ensemble([build(model.widths(block, SHAPE), seed) for seed in seeds])


def chain(ensemble, name, run):
    """A network of a run, from its weights and biases."""
    state = ensemble.member(run)
    layers = sorted({int(key.split(".")[1]) for key in state if key.startswith(f"{name}.")})

    def apply(values):
        for layer in layers:
            values = values.relu() if layer else values
            values = values @ state[f"{name}.{layer}.weight"].T + state[f"{name}.{layer}.bias"]
        return values

    return apply


# Networks and objectives


def test_networks_follow_from_widths_and_seed():
    both, values = Ensemble([build({"f": [5, 7, 7, 3]}, seed) for seed in (3, 4)]), normal(2, 6, 5)
    found = both.part("f", values)
    for run in range(2):
        torch.testing.assert_close(found[run], chain(both, "f", run)(values[run]))
    for layer, inputs in ((0, 5), (2, 7), (4, 7)):
        for kind in ("weight", "bias"):
            drawn = both.parameters[f"f.{layer}.{kind}"]
            assert drawn.abs().max() <= 1 / math.sqrt(inputs) and not torch.equal(*drawn)
    again = build({"f": [5, 7, 7, 3]}, 4)
    assert torch.equal(again["f"][2].weight, both.member(1)["f.2.weight"])


def test_divergences_are_those_of_torch_distributions():
    mean, log_std = normal(2, 4, 3), normal(2, 4, 3, seed=1)
    prior = torch.tensor([0.7, 1.4])
    expected = 2 * kl_divergence(
        Normal(mean, log_std.exp()), Normal(torch.zeros(()), prior.view(2, 1, 1).expand(2, 4, 3))
    )
    torch.testing.assert_close(from_prior(mean, log_std, prior), expected)
    assert from_prior(mean * 0, log_std * 0 + prior.log().view(2, 1, 1), prior).abs().max() < 1e-6


def test_the_quarter_is_the_bottom_left():
    given, wanted = cvae.places((28, 28))
    rows, columns = given // 28, given % 28
    assert len(given) == 196 and rows.min() == 14 and columns.max() == 13
    assert sorted([*given.tolist(), *wanted.tolist()]) == list(range(784))
    assert cvae.places((5, 3))[0].tolist() == [6, 9, 12]
    assert len(mhvae.places((5, 3))[0]) == 0 and len(mhvae.places((5, 3))[1]) == 15


def test_the_conditional_objective_term_by_term():
    both = networks(cvae, CVAE, 1, 2)
    places = cvae.places(SHAPE)
    numbers = {"beta": torch.tensor([0.5, 2.0]), "decoder_std": torch.tensor([0.7, 1.1]),
               "prior_std": torch.tensor([1.0, 1.6])}  # fmt: skip
    images, noise = torch.rand(2, 5, 24), normal(2, 5, 3)
    errors, divergences = cvae.terms(both, numbers, images, noise, places)
    found = cvae.objective(errors.mean(1), {"KL": divergences["KL"].mean(1)}, numbers)
    for run in range(2):
        given, wanted = (images[run][:, pixels] for pixels in places)
        mean, log_std = chain(both, "encoder", run)(images[run]).chunk(2, 1)
        z = mean + log_std.exp() * noise[run]
        outputs = chain(both, "decoder", run)(torch.cat([z, given], 1))
        e, p = numbers["decoder_std"][run], numbers["prior_std"][run]
        likelihood = Normal(outputs, e).log_prob(wanted).sum(1)
        constant = wanted.shape[1] * (e.log() + math.log(2 * math.pi) / 2)
        kl = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0 * mean, p)).sum(1)
        expected = 2 * (-likelihood - constant + numbers["beta"][run] * kl).mean()
        torch.testing.assert_close(found[run], expected, rtol=1e-4, atol=1e-4)


def test_the_hierarchical_objective_term_by_term():
    one = networks(mhvae, MHVAE, 1)
    values = {"beta_1": 0.7, "beta_2": 1.5, "decoder_std": 0.8, "prior_std": 1.3,
              "encoder_std": 0.6}  # fmt: skip
    numbers = {name: torch.tensor([value]) for name, value in values.items()}
    images, noise = torch.rand(1, 4000, 24), normal(1, 4000, 5)
    errors, divergences = mhvae.terms(one, numbers, images, noise, mhvae.places(SHAPE))
    means = {name: each.mean(1) for name, each in divergences.items()}
    found = mhvae.objective(errors.mean(1), means, numbers)
    mean = chain(one, "encoder", 0)(images[0])
    posterior = Normal(mean, 0.6)
    z1 = mean + 0.6 * noise[0, :, :3]
    m2, log2 = chain(one, "encoder_2", 0)(z1).chunk(2, 1)
    z2 = m2 + log2.exp() * noise[0, :, 3:]
    centre = chain(one, "decoder_2", 0)(z2)
    outputs = chain(one, "decoder", 0)(z1)
    fit = (images[0] - outputs).square().sum(1).mean() / 0.8**2
    # The first divergence in expectation: log q - log p at samples, of q its entropy.
    first = -posterior.entropy().sum(1) - Normal(centre, 0.8).log_prob(z1).sum(1)
    second = kl_divergence(Normal(m2, log2.exp()), Normal(0.0 * m2, 1.3)).sum(1)
    expected = fit + 2 * (0.7 * first + 1.5 * second).mean()
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)


def learner(block, seeds, numbers, samples=60, device=CPU):
    """A learner of runs, and what it is trained on."""
    model = MODELS[block["autoencoder"]]
    pixels = torch.rand(samples, 24, generator=torch.Generator().manual_seed(0)).to(device)
    places = tuple(each.to(device) for each in model.places(SHAPE))
    images = Images(pixels, pixels[:0], SHAPE, places)
    settings = block["training"] | {"schedule": None}
    configs = [STDS | block | each | {"training": settings} for each in numbers]
    chosen = [build(model.widths(block, SHAPE), seed).to(device) for seed in seeds]
    return AutoencoderLearner(Ensemble(chosen), images, configs, seeds), images


def by_hand(block, seed, numbers, images, epochs=3):
    """Plain PyTorch: networks of one run, a loop, torch.optim's Adam."""
    model = MODELS[block["autoencoder"]]
    alone = networks(model, block, seed)
    numbers = {name: torch.tensor([(STDS | block | numbers)[name]]) for name in
               model.HYPERPARAMETERS}  # fmt: skip
    optimiser = torch.optim.Adam(alone.parameters.values(), lr=1e-2)
    objectives = []
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(images.train), generator=generator(seed, epoch, CPU))
        noise = torch.empty(len(order), model.noise_dim(block))
        noise.normal_(generator=generator(seed, epoch, CPU, NOISE))
        total = 0.0
        for places in torch.arange(len(order)).split(25):
            batch = images.train[order[places]].unsqueeze(0)
            errors, divergences = model.terms(
                alone, numbers, batch, noise[places].unsqueeze(0), images.places
            )
            means = {name: values.mean(1) for name, values in divergences.items()}
            objective = model.objective(errors.mean(1), means, numbers)
            optimiser.zero_grad()
            objective.backward()
            optimiser.step()
            total += objective.item() * len(places)
        objectives.append(total / len(order))
    return alone.state, objectives


@pytest.mark.parametrize(
    ("block", "numbers"),
    [
        (CVAE, [{"beta": 0.1}, {"beta": 2.0}]),
        (MHVAE, [{"beta_1": 0.1}, {"beta_2": 2.0}, {"decoder_std": 0.5}]),
    ],
)
def test_training_is_that_of_plain_pytorch(block, numbers):
    # Two runs of one seed, and with a third one of another.
    seeds = [5, 5, 6][: len(numbers)]
    trained, images = learner(block, seeds, numbers)
    results = train(Trainer([trained]))
    for result, seed, own in zip(results, seeds, numbers, strict=True):
        state, objectives = by_hand(block, seed, own, images)
        for name, value in state.items():
            np.testing.assert_allclose(result.states[3][name], value.detach(), atol=2e-4)
        np.testing.assert_allclose(result.history["objective"], objectives, rtol=1e-4)


def test_a_training_that_was_killed_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    runs = [{"beta": 0.1}, {"beta": 2.0}]
    assert_resumes(
        lambda: Trainer([learner(CVAE, [5, 6], runs)[0]]), tmp_path / "c", monkeypatch
    )  # fmt: skip


@needs_gpu
def test_a_gpu_trains_the_same_networks_each_time():
    numbers = [{"beta": 0.1}, {"beta": 2.0}]
    first, again = (
        train(Trainer([learner(CVAE, [5, 6], numbers, device="cuda")[0]])) for _ in range(2)
    )
    on_cpu = train(Trainer([learner(CVAE, [5, 6], numbers)[0]]))
    for one, other, third in zip(first, again, on_cpu, strict=True):
        assert one.history.equals(other.history)
        # Its random numbers are others.
        np.testing.assert_allclose(one.history["objective"], third.history["objective"], rtol=0.1)


def test_pictures_keep_the_given_quarter():
    one = networks(cvae, CVAE, 1)
    (given, wanted), images = cvae.places(SHAPE), torch.rand(1, 3, 24)
    made = dict(cvae.pictures(one, images, (given, wanted)))
    assert set(made) == {"posterior", "prior"}
    for picture in made.values():
        assert torch.equal(picture[:, :, given], images[:, :, given])
    other = images.clone()
    other[:, :, wanted] = 0
    # What the prior's mean gives has seen the quarter alone.
    again = dict(cvae.pictures(one, other, (given, wanted)))
    assert torch.equal(again["prior"], made["prior"])
    assert not torch.allclose(again["posterior"], made["posterior"])


# What is measured


def test_variables_are_of_three_types():
    count = 400
    mean = normal(count, 4, seed=5).double() * torch.tensor([1.0, 0.01, 0.5, 1.0])
    std = torch.tensor([0.2, 0.99, 0.5, 0.1]).double().expand(count, -1).clone()
    # Passive at half of the images.
    std[: count // 2, 2] = 0.97
    frame = variables(2 * mean, 2 * std, 2.0)
    assert frame["type"].tolist() == ["active", "passive", "mixed", "active"]
    assert frame["active"].tolist() == [True, False, True, True]
    np.testing.assert_allclose(frame["variance"], [0.04, 0.9801, 0.5 * (0.25 + 0.9409), 0.01])
    np.testing.assert_allclose(frame["mean_variance"], mean.var(0, unbiased=False))
    np.testing.assert_allclose(frame["passive"], [0, 1, 0.5, 0])
    table = np.abs(np.corrcoef(mean.numpy().T))
    assert frame["mean_correlation"][0] == pytest.approx(table[0, 3])
    assert frame["mean_correlation"][1] == pytest.approx(table[1, [0, 2, 3]].max())
    readings = {name: value for _, name, value in latent_readings("z", mean, std, 1.0)}
    assert readings["active_units"] == 3 and readings["mixed_variables"] == 1
    assert readings["active_variables"] == 2 and readings["passive_variables"] == 1
    assert [name for _, name, _ in latent_readings("z1", mean, std, 1.0)] == ["active_units"]


def test_a_copy_with_noise_correlates_in_means_and_not_in_samples():
    first = normal(3000, 1).double()
    mean = torch.cat([first, 0.01 * first], 1)
    std = torch.tensor([[0.1, 1.0]]).double().expand(3000, -1)
    frame = variables(mean, std, 1.0)
    assert frame["type"].tolist() == ["active", "passive"]
    assert frame["mean_correlation"][1] == pytest.approx(1)
    assert frame["sampled_correlation"][1] < 0.06
    # The only active variable has no other active one.
    assert math.isnan(frame["mean_correlation"][0])


def test_a_variable_that_never_varies_correlates_with_nothing():
    mean = torch.cat([normal(50, 1), torch.zeros(50, 1)], 1).double()
    frame = variables(mean, torch.ones(50, 2).double(), 1.0)
    assert frame["mean_correlation"].isna().all() and frame["sampled_correlation"].notna().all()


def test_the_spectrum_of_images_is_that_of_linear_regression():
    pixels = torch.rand(300, 24, generator=torch.Generator().manual_seed(2))
    pixels[:, 0] = pixels[:, 20] + 0.1 * pixels[:, 0]
    images = Images(pixels, pixels[:0], SHAPE, cvae.places(SHAPE))
    found = [value for *_, value in data_readings(images, CVAE | {"latent_dim": 4})]
    array = pixels.double().numpy()
    given, wanted = (array[:, each.numpy()] for each in cvae.places(SHAPE))
    given = np.c_[given, np.ones(300)]
    residual = wanted - given @ np.linalg.lstsq(given, wanted, rcond=None)[0]
    expected = np.linalg.eigvalsh(residual.T @ residual / 300)[::-1][:4]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    images = Images(pixels, pixels[:0], SHAPE, mhvae.places(SHAPE))
    whole = [value for *_, value in data_readings(images, MHVAE)]
    expected = np.linalg.eigvalsh(np.cov(array.T, ddof=0))[::-1][:3]
    np.testing.assert_allclose(whole, expected, rtol=1e-6)


# From the config to tables


def group(results, atlas, folder):
    """Compute and measure a group; return its states, runs, history, rows and points."""
    path = f"posterior_collapse/mine/{folder}/metrics.parquet"
    make(results, path, jobs.measure_group(atlas, "posterior_collapse", "mine", folder))
    place = (results / path).parent
    tensors, attributes = read_tensors(place / "states.safetensors")
    tables = [read_table(place / f"{name}.parquet") for name in ("history", "metrics", "samples")]
    return tensors, attributes["runs"], *tables


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    results = tmp_path_factory.mktemp("trained")
    atlas = atlas_of(grid={"beta": [0.1, 2.0]}, seeds=2)
    return results, group(results, atlas, "seeds=1-2")


def test_a_group_is_trained_and_measured(trained):
    _, (tensors, runs, history, rows, points) = trained
    assert [run["steps"] for run in runs] == [[0, 3]] * 4
    columns = ["beta", "seed", "epoch", "objective", "squared_error", "KL", "step_size"]
    assert list(history) == columns
    assert len(history) == 12
    # Training lowers the objective, and the two parts make it up.
    sums = history["squared_error"] + 2 * history["beta"] * history["KL"]
    np.testing.assert_allclose(history["objective"], sums, rtol=1e-5)
    by_run = history.pivot(index="epoch", columns=["beta", "seed"], values="objective")
    assert (by_run.loc[3] < by_run.loc[1]).all()
    last = rows[rows["step"] == 3]
    names = set(last["metric"])
    assert {"active_units", "test_squared_error", "test_KL", "data_eigenvalue[2]"} <= names
    counts = last[last["metric"].str.endswith("_variables")]
    assert (counts.groupby(["beta", "seed"])["value"].sum() == 3).all()
    pictures = points[points["probe"] == "pictures"]
    assert set(pictures["source"]) == {"image", "posterior", "prior"}
    assert pictures.groupby(["beta", "seed", "source", "step"]).size().eq(6 * 64).all()
    latents = points[points["probe"] == "latents"]
    assert len(latents) == 4 * 2 * 3 and set(latents["layer"]) == {"z"}
    assert {name.rpartition("/")[2] for name in tensors} >= {"encoder.0.weight", "decoder.2.bias"}


def test_a_network_alone_is_what_it_is_beside_others(trained, tmp_path):
    _, (tensors, *_) = trained
    alone, *_ = group(tmp_path, atlas_of(grid={"beta": [2.0]}), "beta=2+seed=1")
    found = {name.split("/", 1)[1]: t for name, t in alone.items() if name.startswith("beta=2")}
    assert found
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor, tensors[f"beta=2+seed=1/{name}"], atol=1e-6)


def test_the_same_bytes_come_out_again(trained, tmp_path):
    results, _ = trained
    group(tmp_path, atlas_of(grid={"beta": [0.1, 2.0]}, seeds=2), "seeds=1-2")
    for name in ("states.safetensors", "history.parquet", "metrics.parquet", "samples.parquet"):
        files = [folder / "posterior_collapse/mine/seeds=1-2" / name
                 for folder in (results, tmp_path)]  # fmt: skip
        assert files[0].read_bytes() == files[1].read_bytes()


def test_two_levels_are_trained_and_measured(tmp_path):
    _, _, history, rows, points = group(tmp_path, atlas_of(MHVAE, decoder_std=0.5), "seed=1")
    parts = ["squared_error", "KL_1", "KL_2"]
    assert list(history) == ["seed", "epoch", "objective", *parts, "step_size"]
    sums = 4 * history["squared_error"] + 2 * (0.7 * history["KL_1"] + 1.5 * history["KL_2"])
    np.testing.assert_allclose(history["objective"], sums, rtol=1e-5)
    units = rows[rows["metric"] == "active_units"]
    assert set(units["layer"]) == {"z1", "z2"}
    latents = points[(points["probe"] == "latents") & (points["step"] == 3)]
    assert latents.groupby("layer").size().to_dict() == {"z1": 3, "z2": 2}
    # z1 has a held std, which is what it is measured by.
    assert np.allclose(latents[latents["layer"] == "z1"]["variance"], 1)
    assert set(points["source"].dropna()) == {"image", "posterior", "second"}


def test_a_run_that_diverges_ends_and_the_other_goes_on(tmp_path, capsys):
    atlas = atlas_of(grid={"decoder_std": [1e-25, 1.0]})
    tensors, runs, history, rows, points = group(tmp_path, atlas, "seed=1")
    assert [run["status"] for run in runs] == ["diverged", "completed"]
    assert runs[0]["diverged_at"] == 1 and runs[0]["steps"] == [0]
    assert "diverged in epoch 1, at step 1" in capsys.readouterr().err
    assert set(history["decoder_std"]) == {1.0}
    ends = rows[rows["metric"] == "diverged"]
    assert ends[["decoder_std", "step", "value"]].values.tolist() == [[1e-25, 1, 1]]
    kept = {name.split("/")[1] for name in tensors if name.startswith("decoder_std=1e-25")}
    assert kept == {"000000"}


def test_epochs_that_are_recorded_are_measured(tmp_path):
    training = CVAE["training"] | {"record": 2}
    tensors, (run,), _, rows, _ = group(tmp_path / "long", atlas_of(training=training), "seed=1")
    assert run["steps"] == [0, 1, 3]
    # What is recorded on the way is the state of then: where a shorter training ends.
    short, *_ = group(tmp_path / "short", atlas_of(training=training | {"epochs": 1}), "seed=1")
    assert 2 * len(tensors) == 3 * len(short) and len(short) > 8
    assert all((tensors[name] == array).all() for name, array in short.items())
    assert any((tensors[n] != tensors[n.replace("/000001/", "/000003/")]).any() for n in short)
    assert sorted(rows[rows["metric"] == "active_units"]["step"]) == [0, 1, 3]
    assert set(rows[rows["metric"] == "data_eigenvalue[0]"]["step"]) == {3}


# What a config may not say


@pytest.mark.parametrize(
    ("block", "changes", "words"),
    [
        (CVAE, {"beta": 0}, ["mine.beta", "greater than 0"]),
        (CVAE, {"beta": None}, ["mine.beta", "is missing", "cvae"]),
        (CVAE, {"beta_1": 1.0}, ["mine.beta_1", "1 found", "cvae has none"]),
        (CVAE, {"encoder_std": 1.0}, ["mine.encoder_std", "cvae has none"]),
        (CVAE, {"latent_dim_2": 2}, ["mine.latent_dim_2", "cvae has none"]),
        (MHVAE, {"beta": 1.0}, ["mine.beta", "mhvae has none"]),
        (MHVAE, {"encoder_std": None}, ["mine.encoder_std", "is missing"]),
        (CVAE, {"decoder_std": 0.0}, ["mine.decoder_std", "greater than 0"]),
        (CVAE, {"prior_std": -1.0}, ["mine.prior_std", "greater than 0"]),
        (CVAE, {"hidden": []}, ["mine.hidden"]),
        (CVAE, {"autoencoder": "vae"}, ["mine.autoencoder", "cvae", "mhvae"]),
        (CVAE, {"data": {"name": "reacher"}}, ["mine.data.name: reacher", "images"]),
        (CVAE, {"data": {"name": "shuttle"}}, ["mine.data.name: shuttle", "images"]),
        (CVAE, {"data": {"name": "cifar10"}}, ["mine.data.name: cifar10", "one channel"]),
        (
            CVAE,
            {"training": CVAE["training"] | {"learning_rate": 0}},
            ["mine.training.learning_rate"],
        ),
        (
            CVAE,
            {"training": CVAE["training"] | {"precision": "bf16"}},
            ["mine.training: precision bf16 found", "float32 and tf32"],
        ),
        (
            CVAE,
            {"training": CVAE["training"] | {"augmentation": ["flip"]}},
            ["mine.training: augmentation", "in place"],
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(block, changes, words):
    with pytest.raises(InputError) as caught:
        atlas_of(block, **changes)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_costs_grow_with_networks_epochs_and_images():
    def asked(count=1, **changes):
        atlas = atlas_of(**changes)
        section = atlas.experiment("posterior_collapse", "mine")
        return section, section.resources([section] * count, atlas.data_set(section))

    section, small = asked()
    assert section.length() == (3, "epochs") and section.clock == "epoch"
    longer = asked(training=CVAE["training"] | {"epochs": 300})[1]
    assert longer.seconds > 50 * small.seconds
    assert asked(count=10)[1].disk == pytest.approx(10 * small.disk)
    large = {"data": {"name": "fashion_mnist"}, "hidden": [512, 512], "latent_dim": 64,
             "training": CVAE["training"] | {"epochs": 100, "batch_size": 128}}  # fmt: skip
    _, reference = asked(count=12, **large)
    assert reference.gpus == 1 and reference.seconds < 240
