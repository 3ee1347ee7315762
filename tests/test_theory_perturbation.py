"""Features held near a matrix: the closed forms, against minimisers and flows written here."""

import argparse
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.stats import ortho_group

from collapse.cli import main
from collapse.errors import InputError
from collapse.stages import predict as stage
from collapse.theory.perturbation import log_rates, log_rates_of_traces, of_run, predict

EXAMPLE = {
    "classes": 3,
    "dim": 5,
    "samples_per_class": 4,
    "weight_decay": 0.3,
    "feature_decay": 0.2,
    "beta": 0.7,
}


def levels(answer):
    return {part["component"]: (part["factor"], part["multiplicity"]) for part in answer["factors"]}


def spectrum(answer):
    """Every factor as often as it is, ascending."""
    return np.sort(np.concatenate([np.full(part[1], part[0]) for part in levels(answer).values()]))


def test_the_numbers_of_an_example_worked_out_by_hand():
    answer = predict(**EXAMPLE)
    c, q = math.sqrt(0.06), math.sqrt(2 / 3)
    expected = {
        "within_in_span": (0.7 / (0.7 + q), 27),
        "within_orthogonal": (0.7 / 0.9, 18),
        "mean_symmetric": (0.7 / (0.7 + 0.8 * (1 - c)), 6),
        "mean_rotation": (1.0, 9),
    }
    assert levels(answer) == {name: (pytest.approx(v), m) for name, (v, m) in expected.items()}
    rounded = [(round(factor, 6), count) for factor, count in levels(answer).values()]
    assert rounded == [(0.461590, 27), (0.777778, 18), (0.536793, 6), (1.0, 9)]
    assert answer["f_kl"] == pytest.approx(0.2316035, abs=5e-8)
    first = {part["component"]: part["factor_first_order"] for part in answer["factors"]}
    pulls = {"within_in_span": q, "within_orthogonal": 0.2, "mean_rotation": 0.0}
    pulls["mean_symmetric"] = 0.8 * (1 - c)
    assert first == {name: pytest.approx(1 - pull / 0.7) for name, pull in pulls.items()}
    isotropic = 0.6 * (0.7 / (0.7 + q)) ** 2 + 0.4 * (7 / 9) ** 2
    assert answer["nc1_ratio_response"] == pytest.approx(isotropic)
    assert answer["nc1_ratio_response_in_span"] == pytest.approx((0.7 / (0.7 + q)) ** 2)
    assert answer["nc2_ratio_response"] == pytest.approx(0.536793, abs=5e-7)
    blocks = [(level["value"], level["multiplicity"]) for level in answer["f_kk"]]
    assert blocks == [
        (1.0, 2),
        (pytest.approx(7 / 9), 6),
        (pytest.approx(1 - 0.2316035, abs=5e-8), 2),
        (pytest.approx(0.536793, abs=5e-7), 1),
        (pytest.approx(0.461590, abs=5e-7), 9),
    ]


def test_the_settings_of_the_papers_first_figure():
    """beta 100, K 4, d 10, n 10; to first order the five levels are 1 less a pull over beta."""
    answer = predict(
        classes=4, dim=10, samples_per_class=10, weight_decay=2**0.5, feature_decay=0.1, beta=100
    )
    first = {part["component"]: part["factor_first_order"] for part in answer["factors"]}
    assert first["within_in_span"] == pytest.approx(0.997341, abs=5e-7)
    assert first["within_orthogonal"] == pytest.approx(0.999, abs=5e-7)
    assert first["mean_symmetric"] == pytest.approx(0.997504, abs=5e-7)
    counts = [level["multiplicity"] for level in answer["f_kk"]]
    assert counts == [6, 54, 3, 1, 36]
    assert answer["f_kl"] == pytest.approx((1 - first["mean_symmetric"]) / 2, rel=3e-3)


@st.composite
def hyperparameters(draw):
    classes = draw(st.integers(2, 7))
    weight = 10 ** draw(st.floats(-6, 3))
    return {
        "classes": classes,
        "dim": classes + draw(st.integers(0, 5)),
        "samples_per_class": draw(st.integers(1, 6)),
        "weight_decay": weight,
        "feature_decay": draw(st.floats(1e-6, 0.999)) / weight,
        "beta": 10 ** draw(st.floats(-4, 6)),
    }


@settings(derandomize=True, max_examples=150, deadline=None)
@given(hyperparameters())
def test_the_components_make_up_the_whole_space(values):
    answer = predict(**values)
    classes, dim, samples = (values[key] for key in ("classes", "dim", "samples_per_class"))
    assert sum(part["multiplicity"] for part in answer["factors"]) == dim * classes * samples
    assert all(part["multiplicity"] > 0 for part in answer["factors"])
    assert sum(level["multiplicity"] for level in answer["f_kk"]) == dim * samples
    assert all(level["multiplicity"] > 0 for level in answer["f_kk"])
    values = [level["value"] for level in answer["f_kk"]]
    assert values == sorted(values, reverse=True)
    names = set(levels(answer))
    assert ("within_in_span" in names) == (samples > 1)
    assert ("within_orthogonal" in names) == (samples > 1 and dim > classes)
    responses = ("nc1_ratio_response", "nc1_ratio_response_in_span")
    assert all((answer[name] is None) == (samples == 1) for name in responses)
    # The span of the means loses most: 4 c (1 - c) <= 1 and c < 1.
    factors = [part["factor"] for part in answer["factors"]]
    assert all(0 < factor <= 1 for factor in factors)
    if samples > 1:
        assert min(factors) == levels(answer)["within_in_span"][0]
    # The blocks of a sum over classes: a diagonal block and its K - 1 neighbours.
    assert answer["f_kl"] <= 0.5


# The joint minimiser over W and H, by Newton's method in both: no elimination anywhere.


def joint_minimiser(anchor, frame, classes, weight_decay, feature_decay, beta):
    """The H of the stationary point of Eq. 2 that W = frame^T and H = anchor lead to."""
    dim, total = anchor.shape
    samples = total // classes
    targets = np.repeat(np.eye(classes), samples, axis=1)
    weight, features = frame.T.copy(), anchor.copy()
    units = np.eye(weight.size + features.size)

    def split(flat):
        return flat[: weight.size].reshape(weight.shape), flat[weight.size :].reshape(anchor.shape)

    for _ in range(30):
        residual = weight @ features - targets
        slope_w = residual @ features.T + samples * weight_decay * weight
        slope_h = weight.T @ residual + feature_decay * features + beta * (features - anchor)
        slope = np.concatenate([slope_w.ravel(), slope_h.ravel()])
        if np.abs(slope).max() < 1e-14:
            break
        columns = []
        for unit in units:
            dw, dh = split(unit)
            change = dw @ features + weight @ dh
            down = change @ features.T + residual @ dh.T + samples * weight_decay * dw
            right = weight.T @ change + dw.T @ residual + (feature_decay + beta) * dh
            columns.append(np.concatenate([down.ravel(), right.ravel()]))
        step_w, step_h = split(np.linalg.solve(np.array(columns).T, slope))
        weight, features = weight - step_w, features - step_h
    assert np.abs(slope).max() < 1e-13
    return features


def collapsed(classes, dim, samples, weight_decay, feature_decay, seed=0):
    """A minimiser without beta, and the W that belongs to it."""
    frame = ortho_group(dim, seed=seed).rvs()[:, :classes]
    c, q = math.sqrt(weight_decay * feature_decay), math.sqrt(feature_decay / weight_decay)
    scale = math.sqrt((1 - c) / q)
    return np.repeat(scale * frame, samples, axis=1), q * scale * frame


SHAPES = [
    (2, 2, 1, 0.3, 0.2, 0.7),
    (2, 3, 2, 0.05, 0.4, 0.05),
    (3, 3, 2, 1.4, 0.1, 5.0),
    (2, 4, 1, 0.01, 2.0, 0.3),
    (3, 4, 2, 0.3, 0.2, 0.7),
]


def jacobian(shape, step=1e-4):
    """The derivative of the minimiser by H_0, from central differences of higher order."""
    classes, dim, samples, weight_decay, feature_decay, beta = shape
    anchor, weight = collapsed(classes, dim, samples, weight_decay, feature_decay)

    def moved(direction):
        at = (anchor.ravel() + direction).reshape(anchor.shape)
        return joint_minimiser(at, weight, classes, weight_decay, feature_decay, beta).ravel()

    assert moved(0 * anchor.ravel()) == pytest.approx(anchor.ravel(), abs=1e-12)
    columns = []
    for unit in np.eye(anchor.size):
        near, far = (moved(s * unit) - moved(-s * unit) for s in (step, 2 * step))
        columns.append((8 * near - far) / (12 * step))
    return np.array(columns).T


def predicted(shape):
    keys = ("classes", "dim", "samples_per_class", "weight_decay", "feature_decay", "beta")
    return predict(**dict(zip(keys, shape, strict=True)))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_response_of_a_joint_minimiser_is_that_of_the_closed_form(shape):
    classes, dim, samples, *_ = shape
    response, answer = jacobian(shape), predicted(shape)
    assert response == pytest.approx(response.T, abs=1e-9)
    assert np.linalg.eigvalsh((response + response.T) / 2) == pytest.approx(
        spectrum(answer), abs=1e-9
    )
    blocks = response.reshape(dim, classes, samples, dim, classes, samples)
    for k in range(classes):
        for other in range(classes):
            block = blocks[:, k, :, :, other].reshape(dim * samples, dim * samples)
            values = np.linalg.svd(block, compute_uv=False)
            expected = np.zeros(dim * samples)
            if other == k:
                expected = np.concatenate(
                    [np.full(level["multiplicity"], level["value"]) for level in answer["f_kk"]]
                )
            else:
                expected[0] = answer["f_kl"]
            assert values == pytest.approx(expected, abs=1e-9)
    # Of isotropic noise within classes: what is left of the square of each direction.
    mean = np.kron(np.eye(classes), np.full((samples, samples), 1 / samples))
    within = np.kron(np.eye(dim), np.eye(classes * samples) - mean)
    if samples > 1:
        left = np.sum((within @ response @ within) ** 2) / np.trace(within)
        assert answer["nc1_ratio_response"] == pytest.approx(left, abs=1e-9)


def components(shape):
    """A direction of each component at the optimum, by its definition."""
    classes, dim, samples, weight_decay, feature_decay, _ = shape
    anchor, _ = collapsed(classes, dim, samples, weight_decay, feature_decay)
    frame = anchor[:, ::samples] / np.linalg.norm(anchor[:, 0])
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(dim, classes, samples))
    within = (noise - noise.mean(2, keepdims=True)).reshape(dim, -1)
    span, square = frame @ frame.T, rng.normal(size=(classes, classes))

    def means(matrix):
        return np.repeat(matrix, samples, axis=1)

    aside = (np.eye(dim) - span) @ rng.normal(size=(dim, classes))
    return {
        "within_in_span": [span @ within],
        "within_orthogonal": [within - span @ within],
        "mean_symmetric": [means(frame @ (square + square.T))],
        "mean_rotation": [means(frame @ (square - square.T)), means(aside)],
    }


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_each_component_is_multiplied_by_its_own_factor(shape):
    response, answer = jacobian(shape), levels(predicted(shape))
    for name, directions in components(shape).items():
        for direction in directions:
            if np.abs(direction).max() < 1e-12:
                continue
            after = response @ direction.ravel()
            assert after == pytest.approx(answer[name][0] * direction.ravel(), abs=1e-8), name


def scatter(features, classes):
    """Sigma_W and Sigma_B by their definitions, and the centred class means."""
    groups = np.split(features, classes, axis=1)
    means = np.stack([group.mean(1) for group in groups], 1)
    within = sum(
        (g - m[:, None]) @ (g - m[:, None]).T for g, m in zip(groups, means.T, strict=True)
    )
    centred = means - means.mean(1, keepdims=True)
    return within / features.shape[1], centred @ centred.T / classes, centred


def nc1(features, classes):
    within, between, _ = scatter(features, classes)
    return np.trace(within @ np.linalg.pinv(between, rcond=1e-9, hermitian=True))


def nc2(features, classes):
    gram = scatter(features, classes)[2]
    gram = gram.T @ gram
    frame = (np.eye(classes) - 1 / classes) / math.sqrt(classes - 1)
    return np.linalg.norm(gram / np.linalg.norm(gram) - frame)


@pytest.mark.parametrize("shape", SHAPES[1:3] + SHAPES[4:])
def test_measured_nc1_and_nc2_respond_as_predicted(shape):
    classes, dim, samples, weight_decay, feature_decay, beta = shape
    start, weight = collapsed(classes, dim, samples, weight_decay, feature_decay)
    answer = predicted(shape)
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=start.shape)
        anchor = start + 1e-6 * noise
        end = joint_minimiser(anchor, weight, classes, weight_decay, feature_decay, beta)
        ratio = nc1(end, classes) / nc1(anchor, classes)
        assert ratio == pytest.approx(answer["nc1_ratio_response_in_span"], rel=1e-4)
        # The Gram matrix of two centred means is always that of the frame.
        if classes > 2:
            ratio = nc2(end, classes) / nc2(anchor, classes)
            assert ratio == pytest.approx(answer["nc2_ratio_response"], rel=1e-4)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(hyperparameters())
def test_the_first_order_is_that_of_large_beta(values):
    beta = 1e5 * max(1, values["feature_decay"], (values["feature_decay"] / values["weight_decay"]))
    answer = predict(**values | {"beta": beta})
    for part in answer["factors"]:
        pull = 1 - part["factor_first_order"]
        assert part["factor"] == pytest.approx(
            part["factor_first_order"], abs=1.1 * pull**2 + 1e-15
        )
        if part["component"] == "mean_rotation":
            assert part["factor"] == part["factor_first_order"] == 1


@settings(derandomize=True, max_examples=60, deadline=None)
@given(hyperparameters())
def test_halving_the_weight_decay_does_in_the_span_what_doubling_the_features_decay_does(values):
    small = values | {"weight_decay": values["weight_decay"] / 2}
    large = values | {"feature_decay": values["feature_decay"] * 0.49}
    base, halved, lower = predict(**values), predict(**small), predict(**large)
    if values["samples_per_class"] > 1:
        doubled = predict(**small | {"feature_decay": values["feature_decay"] * 2})
        quarter = predict(**values | {"weight_decay": values["weight_decay"] / 4})
        name = "nc1_ratio_response_in_span"
        assert doubled[name] == pytest.approx(quarter[name], rel=1e-12)
        assert halved[name] < base[name] < lower[name]


# Rates along the flow, of a flow integrated here.


def velocity(features, classes, weight_decay, feature_decay):
    dim, total = features.shape
    targets = np.repeat(np.eye(classes), total // classes, axis=1)
    ridge = np.vstack([features.T, math.sqrt(total / classes * weight_decay) * np.eye(dim)])
    padded = np.vstack([targets.T, np.zeros((dim, classes))])
    weight = np.linalg.lstsq(ridge, padded, rcond=None)[0].T
    return -weight.T @ (weight @ features - targets) - feature_decay * features


def flow(start, classes, weight_decay, feature_decay, times):
    def slope(_, flat):
        features = flat.reshape(start.shape)
        return velocity(features, classes, weight_decay, feature_decay).ravel()

    solution = solve_ivp(
        slope, (0, times[-1]), start.ravel(), "DOP853", times, rtol=1e-12, atol=1e-13
    )
    assert solution.success
    return [state.reshape(start.shape) for state in solution.y.T]


def logs(features, classes):
    within, between, _ = scatter(features, classes)
    traces = {"trace_within": np.trace(within), "trace_between": np.trace(between)}
    traces["NC1_ratio"] = traces["trace_within"] / traces["trace_between"]
    return {name: math.log(value) for name, value in traces.items()}


@st.composite
def flow_problems(draw):
    """Any shape and decays: fewer features than classes, no feature decay, c above 1."""
    classes, dim, samples = (draw(st.integers(low, 5)) for low in (2, 1, 2))
    weight_decay = draw(st.sampled_from([0.02, 0.3, 4.0]))
    feature_decay = draw(st.sampled_from([0.0, 0.05, 1.5]))
    start = np.random.default_rng(draw(st.integers(0, 10**6))).normal(size=(dim, classes * samples))
    return start, classes, weight_decay, feature_decay


@settings(derandomize=True, max_examples=25, deadline=None)
@given(flow_problems(), st.sampled_from([0.05, 0.5, 2.0]))
def test_the_rates_are_the_slopes_of_a_flow(problem, time):
    step = 1e-3
    before, at, after = flow(*problem, [time - step, time, time + step])
    answer = log_rates(at, *problem[1:])
    left, right = (logs(state, problem[1]) for state in (before, after))
    assert answer.keys() == left.keys()
    for name, rate in answer.items():
        slope = (right[name] - left[name]) / (2 * step)
        assert rate == pytest.approx(slope, rel=1e-4, abs=1e-4), name
    assert answer["NC1_ratio"] <= 1e-12
    assert answer["trace_within"] + 2 * problem[3] <= 1e-12


@settings(derandomize=True, max_examples=25, deadline=None)
@given(flow_problems(), st.floats(0, 5))
def test_the_feature_decay_cancels_from_the_rate_of_the_ratio_alone(problem, other):
    start, classes, weight_decay, feature_decay = problem
    base = log_rates(start, classes, weight_decay, feature_decay)
    answer = log_rates(start, classes, weight_decay, other)
    assert answer["NC1_ratio"] == base["NC1_ratio"]
    for name in ("trace_within", "trace_between"):
        assert answer[name] == pytest.approx(base[name] - 2 * (other - feature_decay), abs=1e-9)


def test_rates_of_traces_take_columns():
    columns = {"within": [1.0, 2.0], "between": [4.0, 5.0], "within_logits": [0.5, 0.0]}
    answer = log_rates_of_traces(
        **columns, between_growth=np.array([1.0, -5.0]), feature_decay=np.array([0.0, 0.5])
    )
    assert answer["trace_within"].tolist() == [-1.0, -1.0]
    assert answer["trace_between"].tolist() == [0.5, -3.0]
    assert answer["NC1_ratio"].tolist() == [-1.5, 2.0]


@pytest.mark.parametrize("samples", [1, 2, 3, 7])
def test_collapsed_features_have_no_rate_of_what_is_zero(samples):
    """The mean of equal columns may differ from them by rounding."""
    for seed in range(5):
        means = np.random.default_rng(seed).normal(size=(4, 3))
        answer = log_rates(np.repeat(means, samples, axis=1), 3, 0.1, 0.05)
        assert answer["trace_within"] is None and answer["NC1_ratio"] is None
        assert math.isfinite(answer["trace_between"])


def test_means_that_differ_by_rounding_only_are_equal():
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = rng.normal(size=(4, 3))
        features = np.concatenate([values, values[:, [2, 0, 1]]], axis=1)
        with pytest.raises(InputError, match="all class means are equal"):
            log_rates(features, 2, 0.1, 0.05)


SQUARE = np.random.default_rng(0).normal(size=(5, 6))
RATES = [
    ({"classes": 4}, "features: shape (5, 6) found, allowed: d x N, N a multiple of 4"),
    ({"features": SQUARE[0]}, "features: shape (6,) found"),
    ({"features": SQUARE[:0]}, "features: shape (0, 6) found"),
    ({"features": SQUARE[:, :0]}, "features: shape (5, 0) found"),
    ({"features": SQUARE * math.nan}, "features: a number that is not finite found"),
    ({"features": SQUARE * math.inf}, "features: a number that is not finite found"),
    ({"features": 0 * SQUARE}, "features: all class means are equal"),
    ({"classes": 1}, "features: all class means are equal"),
    ({"classes": 0}, "classes: 0 found, allowed: an integer from 1 on"),
    ({"classes": -2}, "classes: -2 found"),
    ({"classes": 2.0}, "classes: 2.0 found"),
    ({"weight_decay": 0}, "weight_decay, feature_decay: 0 and 0.05 found"),
    ({"weight_decay": -1}, "weight_decay, feature_decay: -1 and 0.05 found"),
    ({"weight_decay": math.nan}, "weight_decay, feature_decay: nan and 0.05 found"),
    ({"weight_decay": math.inf}, "weight_decay, feature_decay: inf and 0.05 found"),
    ({"feature_decay": -1e-9}, "weight_decay, feature_decay: 0.1 and -1e-09 found"),
    ({"feature_decay": math.nan}, "weight_decay, feature_decay: 0.1 and nan found"),
    ({"feature_decay": math.inf}, "weight_decay, feature_decay: 0.1 and inf found"),
    (
        {"features": np.ones((2, 1)) * SQUARE[:1], "weight_decay": 1e-30},
        "weight_decay: 1e-30 found",
    ),
]


@pytest.mark.parametrize(("changes", "message"), RATES)
def test_rates_of_what_has_none_are_refused_in_one_line(changes, message):
    values = {"features": SQUARE, "classes": 3, "weight_decay": 0.1, "feature_decay": 0.05}
    with pytest.raises(InputError) as caught:
        log_rates(**values | changes)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


REFUSED = [
    ({"weight_decay": 2, "feature_decay": 0.5}, "weight_decay, feature_decay: sqrt of their"),
    ({"weight_decay": 3, "feature_decay": 1 / 3}, "weight_decay, feature_decay: sqrt of their"),
    ({"weight_decay": 7.0, "feature_decay": 4}, "weight_decay, feature_decay: sqrt of their"),
    ({"dim": 2}, "dim: found 2, allowed: 3 or more, the number of classes"),
    ({"feature_decay": 0}, "feature_decay: found 0, allowed: a finite number in (0, inf)"),
    ({"weight_decay": 0}, "weight_decay: found 0"),
    ({"weight_decay": -0.1}, "weight_decay: found -0.1"),
    ({"weight_decay": math.nan}, "weight_decay: found NaN"),
    ({"feature_decay": math.inf}, "feature_decay: found Infinity"),
    ({"beta": 0}, "beta: found 0"),
    ({"beta": -1.0}, "beta: found -1.0"),
    ({"beta": math.nan}, "beta: found NaN"),
    ({"beta": None}, "beta: found null"),
    ({"beta": "large"}, 'beta: found "large"'),
    ({"beta": [1.0]}, "beta: found [1.0]"),
    ({"weight_decay": [0.3]}, "weight_decay: found [0.3]"),
    ({"classes": 1}, "classes: found 1"),
    ({"classes": 2.0}, "classes: found 2.0"),
    ({"classes": True}, "classes: found true"),
    ({"samples_per_class": 0}, "samples_per_class: found 0"),
    ({"gamma": 1}, 'unknown hyperparameter "gamma"'),
    ({"beta": 5e-324, "feature_decay": 1.0}, "weight_decay, feature_decay: found decays with"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_bad_hyperparameters_are_refused_in_one_line(changes, message):
    with pytest.raises(InputError) as caught:
        predict(**EXAMPLE | changes)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", EXAMPLE)
def test_a_missing_hyperparameter_is_named(name):
    with pytest.raises(InputError, match=f"^{name}: missing"):
        predict(**{key: value for key, value in EXAMPLE.items() if key != name})


def command(**changes):
    return [
        "predict",
        "perturbation",
        "--set",
        *(f"{k}={v}" for k, v in (EXAMPLE | changes).items()),
    ]


DOCUMENTED = [
    "factors",
    "nc1_ratio_response",
    "nc1_ratio_response_in_span",
    "nc2_ratio_response",
    "f_kk",
    "f_kl",
]


def test_the_command_prints_the_documented_keys(capsys):
    assert main(command()) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == DOCUMENTED
    assert all(f"``{name}``" in predict.__doc__ for name in DOCUMENTED)
    for part in printed["factors"]:
        assert list(part) == ["component", "factor", "factor_first_order", "multiplicity"]
        assert f"``{part['component']}``" in predict.__doc__
    assert all(list(level) == ["value", "multiplicity"] for level in printed["f_kk"])
    assert printed == json.loads(json.dumps(predict(**EXAMPLE)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_decay": 9}, "weight_decay, feature_decay: sqrt of their product is 1.34164"),
        ({"beta": "NaN"}, 'beta: found "NaN"'),
        ({"dim": 1}, "dim: found 1, allowed: 3"),
    ],
)
def test_the_command_refuses_in_one_line(capsys, changes, message):
    assert main(command(**changes)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_the_help_of_the_command_names_every_key(capsys):
    parser = argparse.ArgumentParser()
    stage.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["perturbation", "--help"])
    printed = capsys.readouterr().out
    assert all(f"{name} (required)" in printed for name in EXAMPLE)
    assert "beta/(2Kn)" in printed


# What a run's config says.


RUN = {
    "problem": {
        "kind": "perturbation",
        "classes": 3,
        "samples_per_class": 4,
        "dim": 5,
        "beta": 0.7,
    },
    "weight_decay": 0.3,
    "feature_decay": 0.2,
}


def test_a_run_from_a_collapsed_optimum_is_predicted_number_by_number():
    answer, whole = of_run(RUN, {"near_optimum": True}), predict(**EXAMPLE)
    factors = {f"factor_{name}": value for name, (value, _) in levels(whole).items()}
    names = ("nc1_ratio_response", "nc1_ratio_response_in_span", "nc2_ratio_response", "f_kl")
    assert answer == factors | {name: whole[name] for name in names}


@pytest.mark.parametrize(("near", "beta"), [(False, 0.7), (True, None)])
def test_a_run_from_elsewhere_has_no_prediction(near, beta):
    with pytest.raises(InputError, match="not near a collapsed optimum, or beta is null"):
        of_run(RUN | {"problem": RUN["problem"] | {"beta": beta}}, {"near_optimum": near})


def test_a_network_has_no_prediction():
    with pytest.raises(InputError, match="not near a collapsed optimum"):
        of_run({"model": {"kind": "cnn"}, "weight_decay": 0.3, "feature_decay": 0.0}, {"width": 8})
