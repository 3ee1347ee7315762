"""Language models: the transformer, its training and its measurement, from config to tables."""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from collapse import config, jobs
from collapse.artifacts import read_table, read_tensors
from collapse.data.dataset import Dataset
from collapse.data.sets import bible
from collapse.errors import InputError
from collapse.models.states import get_arrays, set_arrays
from collapse.procedures.language import measure
from collapse.procedures.language.corpus import Corpus, corpus_of
from collapse.procedures.language.learner import LanguageLearner
from collapse.procedures.language.transformer import build
from collapse.training.ensemble import Ensemble
from collapse.training.order import generator
from collapse.training.trainer import Trainer, train
from collapse.training.update_rules import adamw
from conftest import CPU, FEW, assert_resumes, needs_gpu
from test_procedures_problem import CONFIG, make

BLOCK = {
    "procedure": "language",
    "data": {"name": "grammar", "context": 6, "tokens": 480, "vocabulary": 12},
    "width": 8,
    "depth": 1,
    "heads": 2,
    "training": {
        "optimiser": {"kind": "adamw", "decay": 0.1}, "learning_rate": 1e-2, "epochs": 2,
        "batch_size": 16, "record": 2, "precision": "float32",
    },
    "seeds": 1,
}  # fmt: skip
MODEL = {
    "width": 8, "depth": 2, "heads": 2, "mlp_width": None, "data": {"context": 5}
}  # fmt: skip
SETTINGS = {
    "optimiser": {"kind": "adamw", "decay": 0.1}, "learning_rate": 1e-2, "schedule": None,
    "epochs": 3, "batch_size": 4, "record": 3, "precision": "float32",
}  # fmt: skip


def tokens(*shape, vocabulary=7, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, vocabulary, shape))


# The transformer


@torch.no_grad()
def test_blocks_are_those_of_pytorch():
    ours = build(MODEL, 7, seed=1).backbone
    # As large as trained ones, or LayerNorms would hide much.
    for parameter in ours.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.5)
    activation = partial(nn.functional.gelu, approximate="tanh")
    values = ours.tokens(given := tokens(3, 5)) + ours.places.weight
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    for block in ours.blocks:
        theirs = nn.TransformerEncoderLayer(
            8, 2, 32, 0.0, activation, norm_first=True, batch_first=True
        )
        pairs = {
            "self_attn.in_proj_": block.joint, "self_attn.out_proj.": block.out,
            "linear1.": block.mlp[0], "linear2.": block.mlp[2],
            "norm1.": block.attention_norm, "norm2.": block.mlp_norm,
        }  # fmt: skip
        theirs.load_state_dict(
            {f"{name}{key}": v for name, m in pairs.items() for key, v in m.state_dict().items()}
        )
        values = theirs(values, src_mask=mask, is_causal=True)
    torch.testing.assert_close(ours(given), ours.norm(values).flatten(0, 1), rtol=1e-4, atol=1e-5)


@FEW
@given(place=st.integers(0, 4), token=st.integers(0, 6), seed=st.integers(0, 30))
def test_no_position_sees_a_later_one(place, token, seed):
    model = build(MODEL, 7, seed)
    before = tokens(1, 5, seed=seed)
    after = before.clone()
    after[0, place] = token
    first, second = (model.backbone(each).view(5, 8) for each in (before, after))
    torch.testing.assert_close(first[:place], second[:place])
    if not torch.equal(before, after):
        assert not torch.allclose(first[place:], second[place:])


def test_a_model_is_its_seeds_alone_and_leaves_the_generator_as_it_was():
    state = torch.get_rng_state()
    first, again, other = (build(MODEL, 7, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.layers.0.weight"], other["head.layers.0.weight"])
    assert "head.layers.0.bias" not in first
    # It begins knowing next to nothing.
    loss = nn.functional.cross_entropy(build(MODEL, 7, 0)(tokens(4, 5))[0], tokens(20, seed=1))
    assert loss.item() == pytest.approx(math.log(7), abs=0.05)


def test_shorter_contexts_are_read_too():
    model = build(MODEL, 7, 0).backbone
    given_tokens = tokens(2, 5)
    whole, part = model(given_tokens).view(2, 5, 8), model(given_tokens[:, :3]).view(2, 3, 8)
    torch.testing.assert_close(whole[:, :3], part)


# Training


def learner(windows, seeds, **changes):
    models = [build(MODEL, 7, seed) for seed in seeds]
    return LanguageLearner(Ensemble(models), windows, SETTINGS | changes, seeds)


def by_hand(windows, seed, epochs=3):
    """Plain PyTorch: one model, its own loop, torch.optim's AdamW."""
    model = build(MODEL, 7, seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    losses = []
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(windows), generator=generator(seed, epoch, CPU))
        total = 0.0
        for part in order.split(4):
            outputs, _ = model(windows[part, :-1])
            labels = windows[part, 1:].flatten()
            loss = nn.functional.cross_entropy(outputs, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(part)
        losses.append(total / len(windows))
    return model, losses


@pytest.mark.parametrize("seeds", [[5], [5, 6], [5, 6, 7, 8, 9]])
def test_training_is_that_of_plain_pytorch_with_and_without_neighbours(seeds):
    windows = tokens(14, 6)
    results = train(Trainer([learner(windows, seeds)]))
    for result, seed in zip(results, seeds, strict=True):
        model, losses = by_hand(windows, seed)
        assert sorted(result.states) == [0, 1, 2, 3]
        for name, value in model.state_dict().items():
            np.testing.assert_allclose(result.states[3][name], value, rtol=1e-3, atol=2e-4)
        np.testing.assert_allclose(result.history["objective"], losses, rtol=1e-4)
        assert (result.history["data_loss"] == result.history["objective"]).all()
        assert result.history["objective"].is_monotonic_decreasing


def test_learners_of_several_shapes_and_decays_stand_side_by_side():
    windows = tokens(14, 6)
    other = SETTINGS | {"optimiser": {"kind": "adamw", "decay": 0.0}}
    second = LanguageLearner(Ensemble([build(MODEL | {"depth": 1}, 7, 6)]), windows, other, [6])
    both = train(Trainer([learner(windows, [5]), second]))
    alone = train(Trainer([learner(windows, [5])]))
    assert all((both[0].states[3][name] == v).all() for name, v in alone[0].states[3].items())
    assert len(both[1].states[3]) < len(both[0].states[3])


def test_a_training_that_was_killed_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    windows = tokens(14, 6)
    assert_resumes(lambda: Trainer([learner(windows, [5, 6])]), tmp_path / "c", monkeypatch)


def test_a_rate_that_diverges_is_told():
    (result,) = train(Trainer([learner(tokens(14, 6), [5], learning_rate=1e30)]))
    assert result.diverged_epoch == 1


@FEW
@given(rate=st.floats(1e-4, 0.1), decay=st.floats(0, 1), steps=st.integers(1, 4))
def test_adamw_is_that_of_pytorch(rate, decay, steps):
    start = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    rule = adamw.make({"w": ours}, {"optimiser": {"kind": "adamw", "decay": decay}})
    optimiser = torch.optim.AdamW([theirs], lr=rate, weight_decay=decay)
    for _ in range(steps):
        for values, step in (
            (ours, partial(rule.step, torch.tensor(rate))),
            (theirs, optimiser.step),
        ):
            values.grad = None
            (values**3).sum().backward()
            step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@needs_gpu
def test_a_gpu_trains_the_same_models():
    windows = tokens(14, 6)
    models = [build(MODEL, 7, seed).to("cuda") for seed in (5, 6)]
    on_gpu = train(
        Trainer([LanguageLearner(Ensemble(models), windows.to("cuda"), SETTINGS, [5, 6])])
    )
    assert all(result.history["objective"].is_monotonic_decreasing for result in on_gpu)
    assert all(sorted(result.states) == [0, 1, 2, 3] for result in on_gpu)


# The corpus


def dataset(train_tokens, test_tokens, names, surprisal=None):
    def pair(text):
        return np.asarray(text[:-1], np.int32)[:, None, None, None], np.asarray(text[1:])

    (inputs, targets), (test_inputs, test_targets) = pair(train_tokens), pair(test_tokens)
    return Dataset(
        inputs, targets, test_inputs, test_targets, (0.0,), (1.0,), 1, tuple(names), surprisal
    )


@FEW
@given(
    text=st.lists(st.integers(0, 5), min_size=5, max_size=40), context=st.integers(1, 4),
    vocabulary=st.sampled_from([None, 3, 6]),
)  # fmt: skip
def test_windows_hold_each_position_once(text, context, vocabulary):
    surprisal = np.arange(len(text) - 1) / 7
    given_set = dataset(text, text, "abcdef", surprisal)
    choice = {"context": context, "vocabulary": vocabulary, "tokens": None}
    found = corpus_of(given_set, choice, CPU)
    merged = np.minimum(text, (vocabulary or 6) - 1)
    count = (len(text) - 1) // context * context
    for windows in (found.train, found.test):
        assert windows.shape == (count // context, context + 1)
        assert windows[:, :-1].flatten().tolist() == merged[:count].tolist()
        assert windows[:, 1:].flatten().tolist() == merged[1 : count + 1].tolist()
    assert found.vocabulary == (vocabulary or 6)
    assert found.classes.tolist() == sorted(set(merged[1 : count + 1].tolist()))
    # Merged tokens have another law.
    expected = None if vocabulary == 3 else surprisal[:count].mean()
    assert found.entropy == (expected if expected is None else pytest.approx(expected))


def test_a_part_of_a_text_takes_the_same_share_of_what_is_held_out():
    whole = dataset([0, 1, 2] * 30, [2, 1, 0] * 10, "abc")
    found = corpus_of(whole, {"context": 2, "vocabulary": None, "tokens": 44}, CPU)
    assert len(found.train) == 22 and len(found.test) == (29 * 44 // 89) // 2


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"vocabulary": 4}, "data.vocabulary: 4 found, the text holds 3 tokens"),
        ({"tokens": 90}, "data.tokens: 90 found, the text has 89 positions"),
        ({"context": 30}, "data.context: 30 found, a part of the text has 29 positions"),
    ],
)
def test_a_text_that_is_too_small_is_one_line(choice, message):
    whole = dataset([0, 1, 2] * 30, [2, 1, 0] * 10, "abc")
    choice = {"context": 2, "vocabulary": None, "tokens": None} | choice
    with pytest.raises(InputError) as caught:
        corpus_of(whole, choice, CPU)
    assert str(caught.value) == message


def test_images_are_no_text():
    images = dataset([0, 1], [0, 1], "ab")
    images = replace(images, inputs=np.zeros((1, 1, 2, 2)))
    with pytest.raises(InputError, match="no tokens"):
        corpus_of(images, {"context": 1, "vocabulary": None, "tokens": None}, CPU)


# Measurement


def reference(model, corpus):
    """Every metric by its definition: dense, in float64, all features at once."""
    with torch.no_grad():
        h, g = (model.backbone(w[:, :-1]).double().numpy() for w in (corpus.train, corpus.test))
        logits = model.head(model.backbone(corpus.test[:, :-1])).double().numpy()
    y, z = (w[:, 1:].flatten().numpy() for w in (corpus.train, corpus.test))
    classes = np.unique(y)
    w = model.head.weights[0].detach().double().numpy()[classes]
    means = np.stack([h[y == k].mean(0) for k in classes])
    spreads = [
        np.mean(np.sum((h[y == k] - m) ** 2, 1)) for k, m in zip(classes, means, strict=True)
    ]
    centred = means - means.mean(0)
    lengths = np.linalg.norm(centred, axis=1)
    units = centred / lengths[:, None]
    count = len(classes)
    pairs = list(itertools.combinations(range(count), 2))
    gaps = np.array([np.linalg.norm(means[i] - means[j]) for i, j in pairs])
    sums = np.array([spreads[i] + spreads[j] for i, j in pairs])
    kernel = [-np.log(np.linalg.norm(units[i] - units[j])) for i, j in pairs]
    frame = (np.eye(count) - 1 / count) / np.sqrt(count - 1)
    matrix = centred @ centred.T
    products = (w * centred).sum(1)
    cosines = products / lengths / np.linalg.norm(w, axis=1)
    shares = np.array([np.mean(y == k) for k in classes])
    nearest = np.argmin(((g[:, None] - means) ** 2).sum(2), 1)
    log_shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return {
        "classes": count,
        "CDNV": np.mean(sums / 2 / gaps**2),
        "CDNV_2": np.mean(sums / 2 / gaps**4),
        "NC1_ratio_unweighted": shares @ spreads / np.mean(lengths**2),
        "NC2_ETF_unweighted": np.linalg.norm(matrix / np.linalg.norm(matrix) - frame),
        "equinorm_unweighted": np.std(lengths) / np.mean(lengths),
        "equiangularity_unweighted": np.std([units[i] @ units[j] for i, j in pairs]),
        "log_norm_variance_unweighted": np.var(np.log(lengths)),
        "NC3_unweighted": np.linalg.norm(
            w / np.linalg.norm(w) - centred / np.linalg.norm(centred)
        ) ** 2,
        "GNC2_log_mean_unweighted": np.mean(kernel),
        "GNC2_log_variance_unweighted": np.var(kernel),
        "duality_cosine_mean_unweighted": np.mean(cosines),
        "duality_cosine_variance_unweighted": np.var(cosines),
        "duality_product_variance_unweighted": np.var(products),
        "NC4_held_out": np.mean(np.argmax(g @ w.T, 1) != nearest),
        "validation_loss": -np.mean(log_shares[np.arange(len(z)), z]),
        "validation_error": np.mean(np.argmax(logits, 1) != z),
    }  # fmt: skip


def readings(model, corpus):
    with torch.inference_mode():
        statistics = measure.statistics_of(model, corpus.train, corpus.classes)
        rows = measure.state_readings(model, corpus, statistics)
    assert {layer for layer, *_ in rows} <= {"all", "H1"}
    return {metric: value for _, metric, value in rows}


def trained(corpus, seed=0):
    """A model that is trained a little, in evaluation as states are."""
    models = Ensemble([build(MODEL, 7, seed)])
    (result,) = train(Trainer([LanguageLearner(models, corpus.train, SETTINGS, [seed])]))
    model = build(MODEL, 7, seed)
    set_arrays(model.state_dict(), result.states[3])
    return model


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [None, 7])
def test_metrics_are_their_definitions_however_they_are_streamed(seed, size, monkeypatch):
    # The last token follows nothing: it is no class.
    corpus = Corpus(tokens(40, 6, vocabulary=6, seed=seed), tokens(9, 6, seed=seed + 9), 7, None)
    model = trained(corpus, seed)
    if size:
        monkeypatch.setattr(measure, "POSITIONS", {"cpu": size})
    found, expected = readings(model, corpus), reference(model, corpus)
    assert set(found) == set(expected) and found["classes"] == 6
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-5, abs=1e-6), name


def test_a_model_that_sees_no_context_has_no_value_that_is_zero_by_zero():
    corpus = Corpus(tokens(40, 6), tokens(9, 6, seed=1), 7, 1.5)
    model = build(MODEL, 7, 0)
    state = get_arrays(model.state_dict())
    # All tokens and places alike: LayerNorm and blocks make one feature of them.
    for name in ("backbone.tokens.weight", "backbone.places.weight"):
        state[name] = np.repeat(state[name][:1], len(state[name]), 0)
    state["backbone.norm.bias"] += np.arange(8)
    set_arrays(model.state_dict(), state)
    found = readings(model, corpus)
    assert set(found) == {"classes", "entropy", "validation_loss", "validation_error"}
    assert found["entropy"] == 1.5 and np.isfinite(found["validation_loss"])
    counts = np.bincount(corpus.test[:, 1:].flatten())
    shares = counts / counts.sum()
    assert found["validation_loss"] > -(shares * np.log(shares)).sum()


def test_heads_and_means_of_the_most_frequent_words_are_compared(monkeypatch):
    monkeypatch.setattr(measure, "SHOWN", 4)
    # The last two of eight tokens are one, the first follows nothing.
    corpus = Corpus(tokens(40, 6, vocabulary=6) + 1, tokens(9, 6), 7, None)
    model = trained(corpus)
    names = measure.names_of(("a", "b", "c", "d", "e", "f", "g", "h"), corpus)
    assert names == ["b", "c", "d", "e", "f", measure.OTHERS]
    with torch.inference_mode():
        statistics = measure.statistics_of(model, corpus.train, corpus.classes)
        found = measure.dualities(statistics, names)
        features = model.backbone(corpus.train[:, :-1]).double().numpy()
    labels = corpus.train[:, 1:].flatten().numpy()
    means = np.stack([features[labels == k].mean(0) for k in range(1, 7)])
    centred = means - means.mean(0)
    weight = model.head.weights[0].detach().double().numpy()[1:7]
    order = np.argsort(-np.bincount(labels)[1:7], kind="stable")[:4]
    assert len(set(np.bincount(labels)[1:7])) > 3
    for row, k in enumerate(order):
        part = found[found["row"] == row].set_index("column")
        assert set(part["row_name"]) == {names[k]} and list(part.index) == [0, 1, 2, 3]
        for column, other in enumerate(order):
            lengths = np.linalg.norm(weight[k]) * np.linalg.norm(centred[other])
            expected = weight[k] @ centred[other] / lengths
            assert part.loc[column, "value"] == pytest.approx(expected, abs=1e-6)


# From the config to tables


def atlas_of(**changes):
    user = {"scale": "smoke", "first_seed": 1, "linguistic": {"mine": BLOCK | changes}}
    return config.load(CONFIG, user, "my.yaml")


def computed(results, atlas, folder):
    """Compute and measure a group; return its states, what they say of runs, and its tables."""
    place = f"linguistic/mine/{folder}"
    job = jobs.measure_group(atlas, "linguistic", "mine", folder)
    make(results, f"{place}/metrics.parquet", job)
    states, attributes = read_tensors(results / place / "states.safetensors")
    tables = (read_table(results / place / f"{name}.parquet") for name in ("history", "metrics"))
    return states, attributes["runs"], *tables


GRID = {"width": [4, 8], "training.optimiser.decay": [0.0, 0.5]}


@pytest.fixture(scope="module")
def finished_group(tmp_path_factory):
    results = tmp_path_factory.mktemp("language")
    atlas = atlas_of(grid=GRID, seeds=2, side_by_side="experiment")
    return results, computed(results, atlas, "seeds=1-2")


def test_an_experiment_is_trained_in_one_job_and_each_state_measured(finished_group):
    _, (states, runs, history, table) = finished_group
    assert len(runs) == 8 and all(run["steps"] == [0, 1, 2] for run in runs)
    keys = ["width", "decay", "seed"]
    assert list(history) == [*keys, "epoch", "objective", "data_loss", "error", "step_size"]
    assert list(table) == [*keys, "step", "layer", "metric", "value"]
    counts = table.groupby([*keys, "step"])["metric"].nunique()
    # At the start nothing is known of training.
    assert set(counts.xs(0, level="step")) == {17} and set(counts.xs(2, level="step")) == {19}
    for row in history.itertuples():
        chosen = table.loc[
            (table["width"] == row.width) & (table["decay"] == row.decay)
            & (table["seed"] == row.seed) & (table["step"] == row.epoch)
        ].set_index("metric")["value"]  # fmt: skip
        assert chosen["loss"] == row.objective and chosen["error"] == row.error


@pytest.mark.parametrize("width", [4, 8])
def test_tables_hold_the_metrics_of_the_states(finished_group, width):
    results, (states, _, _, table) = finished_group
    tensors, attributes = read_tensors(results / "data/grammar.safetensors")
    names = attributes["classes"]
    whole = Dataset(
        tensors["train_inputs"], tensors["train_labels"], tensors["test_inputs"],
        tensors["test_labels"], (0.0,), (1.0,), 1, tuple(names), tensors["test_surprisal"],
    )  # fmt: skip
    corpus = corpus_of(whole, BLOCK["data"], CPU)
    model = build(MODEL | {"width": width, "depth": 1, "data": BLOCK["data"]}, 12, 0)
    prefix = f"width={width}+decay=0.5+seed=2/000002/"
    state = {name.removeprefix(prefix): v for name, v in states.items() if name.startswith(prefix)}
    set_arrays(model.state_dict(), state)
    chosen = table[
        (table["width"] == width) & (table["decay"] == 0.5) & (table["seed"] == 2)
        & (table["step"] == 2)
    ].set_index("metric")["value"]  # fmt: skip
    for name, value in reference(model, corpus).items():
        assert chosen[name] == pytest.approx(value, rel=2e-5, abs=1e-6), name


def test_every_state_has_its_points(finished_group):
    results, (_, runs, *_) = finished_group
    points = read_table(results / "linguistic/mine/seeds=1-2/samples.parquet")
    assert set(points["probe"]) == {"duality"} and set(points["layer"]) == {"H1"}
    counts = points.groupby(["width", "decay", "seed", "step"]).size()
    assert len(counts) == sum(len(run["steps"]) for run in runs) and counts.nunique() == 1
    assert points["value"].abs().max() < 1.001


def test_the_same_bytes_come_out_again_and_a_model_alone_is_the_same(finished_group, tmp_path):
    results, (states, *_) = finished_group
    computed(tmp_path, atlas_of(grid=GRID, seeds=2, side_by_side="experiment"), "seeds=1-2")
    for name in ("states.safetensors", "history.parquet", "metrics.parquet"):
        files = [folder / "linguistic/mine/seeds=1-2" / name for folder in (results, tmp_path)]
        assert files[0].read_bytes() == files[1].read_bytes()
    training = BLOCK["training"] | {"optimiser": {"kind": "adamw", "decay": 0.5}}
    alone, *_ = computed(tmp_path / "alone", atlas_of(width=4, training=training), "seed=1")
    assert len(alone) == sum(name.startswith("width=4+decay=0.5+seed=1") for name in states)
    for name, values in alone.items():
        together = states[f"width=4+decay=0.5+{name}"]
        # Biases of keys change no output: their gradient is rounding, which Adam makes large.
        np.testing.assert_allclose(values, together, rtol=1e-4, atol=1e-4)


def test_by_shape_each_shape_is_a_job_with_all_its_decays():
    atlas = atlas_of(grid=GRID, seeds=2)
    groups = atlas.groups("linguistic", "mine")
    assert len(groups) == 2 and all(len(group.runs) == 4 for group in groups.values())
    texts = atlas_of(grid={"data.context": [4, 6]}, side_by_side="experiment")
    assert len(texts.groups("linguistic", "mine")) == 2


def test_a_grammar_that_is_not_merged_has_an_entropy(tmp_path):
    data = {"name": "grammar", "context": 6, "tokens": 480}
    *_, table = computed(tmp_path, atlas_of(data=data), "seed=1")
    rows = table.pivot(index="step", columns="metric", values="value")
    assert rows["entropy"].nunique() == 1
    assert (rows["validation_loss"] > rows["entropy"]).all()


# What a config may not say


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"heads": 3}, ["mine.heads: 3 found, allowed are divisors of width, 8"]),
        ({"width": 0}, ["mine.width", "greater than or equal to 1"]),
        ({"depth": 0}, ["mine.depth"]),
        ({"width": 12}, ["mine.width: 12 found with 12 tokens, allowed are up to 10", "classes"]),
        ({"data": {"name": "digits", "context": 4}}, ["mine.data.name: digits", "no text"]),
        ({"data": {"name": "reacher", "context": 4}}, ["mine.data.name: reacher", "no text"]),
        ({"data": {"name": "nowhere", "context": 4}}, ["no such data set"]),
        ({"data": {"name": "grammar"}}, ["mine.data.context"]),
        (
            {"data": {"name": "grammar", "context": 4, "vocabulary": 97}},
            ["mine.data.vocabulary: 97 found, grammar has 96 different tokens"],
        ),
        (
            {"data": {"name": "bible", "context": 4, "vocabulary": 12_338}},
            ["mine.data.vocabulary: 12338 found, bible has 12337"],
        ),
        (
            {"data": {"name": "grammar", "context": 4, "tokens": 96_001}},
            ["mine.data.tokens: 96001 found, grammar has 96000 positions"],
        ),
        (
            {"data": {"name": "grammar", "context": 24_001}},
            ["mine.data.context: 24001 found, a part of the text has 24000"],
        ),
        ({"data": {"name": "grammar", "context": 4, "tokens": 15}}, ["part of the text has 3"]),
        ({"data": {"name": "grammar", "context": 4, "vocabulary": 2}}, ["mine.data.vocabulary"]),
        (
            {"training": BLOCK["training"] | {"augmentation": ["flip"]}},
            ["mine.training", "augmentation ['flip'] found", "a text is no image"],
        ),
        (
            {"training": BLOCK["training"] | {"optimiser": {"kind": "adamw", "decay": -1}}},
            ["decay", "greater than or equal to 0"],
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(changes, parts):
    with pytest.raises(InputError) as caught:
        atlas_of(**changes)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_a_text_is_known_before_it_is_fetched():
    atlas = atlas_of(data={"name": "bible", "context": 64}, width=256)
    experiment = atlas.experiment("linguistic", "mine")
    assert experiment._vocabulary(atlas.data_set(experiment)) == bible.SET.vocabulary
    assert experiment.length() == (2, "epochs") and experiment.clock == "epoch"


# Costs


def test_the_size_of_a_model_is_that_of_its_parameters():
    for changes in ({}, {"depth": 3}, {"width": 4}, {"mlp_width": 5}):
        atlas = atlas_of(**changes)
        experiment = atlas.experiment("linguistic", "mine")
        size = experiment._size(atlas.data_set(experiment))
        plain = experiment.model_dump()
        built = sum(p.numel() for p in build(plain, 12, 0).parameters())
        # The head has no bias.
        assert size.parameters == built + 12


def test_more_work_costs_more():
    few, many = (
        atlas_of(width=width, depth=depth, seeds=seeds).experiment("linguistic", "mine")
        for width, depth, seeds in ((4, 1, 1), (8, 4, 2))
    )
    text = atlas_of().data_set(few)
    for ask in ("resources", "measure_resources"):
        first, second = (getattr(each, ask)([each] * each.seeds, text) for each in (few, many))
        assert second.seconds > first.seconds > 0
    assert few.resources([few], text).disk < many.resources([many] * 2, text).disk
