"""Moving pictures: their projection, the states that they show and no others, and their page."""

import json
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

import browser
from collapse import config, jobs, studies
from collapse.artifacts import check
from collapse.errors import InputError
from collapse.moving_gif import _Moving
from collapse.moving_page import CELLS, SHADES, page
from collapse.studies import Curve
from collapse.studies.deep_rfm import moving as deep_rfm
from collapse.studies.linguistic import moving as linguistic
from collapse.studies.moving import (
    DIAGONAL,
    Cells,
    Film,
    Layer,
    Scene,
    along,
    along_diagonal,
    blocks,
    of_run,
)
from collapse.studies.moving_classes import scene
from collapse.studies.posterior_collapse import moving as posterior_collapse
from collapse.studies.regression import moving as regression
from collapse.theory.perturbation import optimal_length
from collapse.theory.posterior_collapse import of_run as of_closed_form
from collapse.upstream import RecordedStates
from conftest import WITHOUT_CHROMIUM
from tables import results

SMOKE = config.load("config", {"scale": "smoke"})
MOVING = [study for study in SMOKE.studies if studies.load(study).moving]
IN_A_BROWSER = pytest.mark.skipif(browser.PROGRAM is None, reason=WITHOUT_CHROMIUM)
THIRDS = np.array([[0, 1], [-np.sqrt(3) / 2, -1 / 2], [np.sqrt(3) / 2, -1 / 2]])


def axes(dim, count=3):
    """Return orthonormal rows, at random."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(dim, count)))[0].T


@pytest.mark.parametrize("lengths", [(1, 1, 1), (3, 2, 0.5)])
def test_orthogonal_directions_stand_at_120_degrees(lengths):
    directions = np.array(lengths)[:, None] * axes(7)
    view = along_diagonal(directions)
    assert np.allclose(view @ view.T, np.eye(2))
    expected = np.sqrt(2 / 3) * np.array(lengths)[:, None] * THIRDS
    assert np.allclose(directions @ view.T, expected)
    # What is orthogonal to all of them is not seen.
    assert np.allclose(view @ (np.eye(7) - axes(7).T @ axes(7)), 0)


@pytest.mark.parametrize(("count", "dim"), [(2, 5), (3, 2), (1, 1)])
def test_fewer_directions_and_narrow_features_have_a_picture_too(count, dim):
    view = along_diagonal(axes(max(dim, count), count)[:, :dim])
    assert view.shape == (2, dim) and np.isfinite(view).all()


@pytest.mark.parametrize("classes", [3, 5])
def test_a_simplex_etf_fills_its_dashes_once_the_mean_is_taken_off(classes):
    centred = (np.eye(classes) - 1 / classes) @ axes(8, classes) * 2.0
    labels = np.repeat(np.arange(classes), 2)
    last = (centred + 5.0)[labels].T
    lengths = np.linalg.norm(centred, axis=1)
    shown = scene([{"H": last / 2}, {"H": last}], labels, lengths, "simplex ETF", centred=True)
    samples, means = shown.layers
    assert samples.at.shape == (2, 6, 2) and samples.colour.tolist() == [0, 0, 1, 1, 2, 2]
    tips = np.stack([line[1] for line in shown.theory])
    assert np.allclose(tips, 2 * DIAGONAL.T) and np.allclose(means.at, [tips / 2, tips])
    assert np.allclose(samples.at[1], tips[[0, 0, 1, 1, 2, 2]])


def cells_film():
    """Return a film of a matrix of 3 x 3, two samples of one class and one of another."""
    at = np.stack([np.eye(3), [[1, 0.987, -0.5], [0.987, 1, -0.5], [-0.5, -0.5, 1]]])
    shown = Scene(
        theory=blocks(np.array([4, 4, 9])),
        theory_name="t",
        cells=Cells("cosine", at, ("a", "<b>", "c")),
    )
    return Film("matrix", "layer", (1, 2), shown, (), "what it shows")


def film(values=(1.0, 0.5, 0.25), places=(0, 19436, 123457)):
    """Return a film of two points that grow; the second is behind a name that is no markup."""
    at = np.arange(1, 4)[:, None, None] * np.array([[1.0, 0.0], [0.0, -1 / 3]])
    shown = Scene((Layer("<points>", at, np.array([0, 1])),), (np.array([[0, 0], [3.0, 0]]),), "t")
    curves = [(Curve("NC1", "</script>"), np.array(values), 0.125)]
    return Film("a < b", "step", places, shown, curves, "what it shows")


def told(text):
    """Return what a page draws."""
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def test_a_page_holds_the_recorded_places_and_positions_alone():
    text = page(film())
    drawn = told(text)
    assert drawn["places"] == [0, 19436, 123457]
    # In units of the largest coordinate.
    assert drawn["layers"][0]["at"] == [
        [[0.3333, 0], [0, -0.1111]], [[0.6667, 0], [0, -0.2222]], [[1, 0], [0, -0.3333]],
    ]  # fmt: skip
    assert drawn["theory"] == [[[0, 0], [1, 0]]]
    (curve,) = drawn["curves"]
    assert (curve["values"], curve["theory"], curve["logarithmic"]) == ([1, 0.5, 0.25], 0.125, True)
    assert "a &lt; b" in text and "&lt;points&gt;" in text and text.count("</script>") == 2
    assert not re.search(r"https?://|\bsrc=|\bimport\b|fetch\(", text)


def test_a_page_holds_the_entries_of_a_matrix_and_what_they_are_coloured_by():
    text = page(cells_film())
    drawn = told(text)
    assert drawn["layers"] == [] and drawn["cells"]["at"][1] == [
        [1, 0.99, -0.5], [0.99, 1, -0.5], [-0.5, -0.5, 1],
    ]  # fmt: skip
    colours = drawn["cells"]["colours"]
    assert len(colours) == SHADES and colours[SHADES // 2] == to_hex(plt.get_cmap(CELLS)(0.5))
    assert drawn["cells"]["labels"] == ["a", "<b>", "c"] and "<b>" not in text
    assert "<li>cosine: -1 " in text and "<li>dashed: t</li>" in text
    # Of two samples of three, and of the third, from the upper left corner on.
    assert [(np.min(line, 0).tolist(), np.max(line, 0).tolist()) for line in drawn["theory"]] == [
        ([-1, -0.3333], [0.3333, 1]), ([0.3333, -1], [1, -0.3333]),
    ]  # fmt: skip


def test_a_matrix_changes_from_frame_to_frame():
    shown = cells_film()
    figure = plt.figure()
    axes = figure.subplot_mosaic([["scene"]])["scene"]
    moving = _Moving({"scene": axes}, shown)
    for frame, matrix in enumerate(shown.scene.cells.at):
        moving.show(frame)
        (image,) = axes.images
        assert np.array_equal(image.get_array(), matrix) and image.get_clim() == (-1, 1)
    # The first row is on top, and outlines lie on it.
    assert axes.get_yticks() == pytest.approx([2 / 3, 0, -2 / 3])
    assert axes.get_xticks() == pytest.approx([-2 / 3, 0, 2 / 3])
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["a", "<b>", "c"]
    assert image.origin == "upper" and image.get_extent() == [-1, 1, -1, 1]
    plt.close(figure)


def test_coordinates_that_have_names_are_counted_from_a_corner():
    bare = film()
    at = np.abs(bare.scene.layers[0].at)
    shown = replace(bare.scene, layers=(Layer("points", at, 0),), axes=("across", "<up>"))
    named = replace(bare, scene=shown)
    drawn = told(page(named))
    assert (drawn["axes"], drawn["reach"]) == (["across", "<up>"], 3) and told(page(bare))[
        "axes"
    ] is None
    for each, low in ((named, 0), (bare, -3.15)):
        figure = plt.figure()
        axes = figure.subplot_mosaic([["scene", "0"]])["scene"]
        _Moving({"scene": axes, "0": figure.add_subplot()}, each)
        assert axes.get_xlim() == axes.get_ylim() == pytest.approx((low, 3.15))
        names = ("across", "<up>") if each is named else ("", "")
        assert (axes.get_xlabel(), axes.get_ylabel()) == names
        plt.close(figure)


def test_what_is_not_finite_leaves_a_gap():
    (curve,) = told(page(film(values=(1.0, np.nan, 0.0))))["curves"]
    assert curve["values"] == [1, None, 0] and not curve["logarithmic"]


@pytest.mark.parametrize("value", [3.0, 0.0, -2.0])
def test_a_constant_is_within_its_panel(value):
    curves = film(values=(value,) * 3)
    figure = plt.figure()
    panels = figure.subplot_mosaic([["scene", "0"]])
    _Moving(panels, curves)
    low, high = panels["0"].get_ylim()
    assert low < value < high and high - low > 0.1
    plt.close(figure)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.8, 0.9, 0.82), ["0.8", "0.9"]),
        ((2.0, 30.0, 3.0), ["2", "30"]),
        ((5.0,) * 3, ["5"]),
        ((4.5604, 4.5601, 4.56), ["4.56", "4.5604"]),
    ],
)
def test_a_curve_within_two_decades_has_its_ends_as_ticks(values, ticks):
    figure = plt.figure()
    panels = figure.subplot_mosaic([["scene", "0"]])
    _Moving(panels, film(values=values))
    assert [label.get_text() for label in panels["0"].get_yticklabels()] == ticks
    _Moving(panels, film(values=(1.0, 20.0, 300.0)))
    assert {10, 100} <= set(panels["0"].get_yticks())
    plt.close(figure)


def test_curves_are_those_of_the_run():
    runs = [
        (
            {"decay": decay, "seed": seed},
            {(s, "H1", "NC1"): place + s for s in (0, 7)},
            {"loss": place},
        )
        for place, (decay, seed) in enumerate([(0.1, 0), (0.1, 1), (None, 0), (None, 1)])
    ]
    run = of_run(results({}, runs), {"decay": None, "seed": 1})
    wanted = (Curve("NC1", "its label", predicted="loss"), Curve("NC9", "not there"))
    ((curve, values, theory),) = along(run, wanted, [0, 7])
    assert curve.label == "its label" and values.tolist() == [3, 10] and theory == 3


@pytest.mark.parametrize("study", MOVING)
def test_the_recorded_states_of_the_run_are_shown_and_no_others(finished, study):
    folder = finished.folder / "results"
    job = jobs.moving(SMOKE, study)
    (states,) = job.files("states")
    recorded = RecordedStates(folder / states).run(job.told["run"])
    drawn = told((folder / f"moving/{study}.html").read_text())
    assert len(drawn["places"]) == len(recorded["steps"]) > 2
    if drawn["clock"] == "step":
        assert drawn["places"] == recorded["steps"]
    moves = [*drawn["layers"], *filter(None, [drawn["cells"]])]
    assert moves and all(len(each["at"]) == len(recorded["steps"]) for each in moves)
    assert len(drawn["curves"]) == len(studies.load(study).moving.curves)
    for suffix in ("html", "gif"):
        check(folder / f"moving/{study}.{suffix}")
    with Image.open(folder / f"moving/{study}.gif") as image:
        assert image.n_frames <= len(recorded["steps"])
    assert (folder / f"moving/{study}.gif").stat().st_size < 1e6


def test_the_run_is_the_one_nearest_to_what_the_study_asks_for(load):
    atlas = load({"deep_linear": {"direct_optimisation": {"grid": {"problem.depth": [1, 2]}}}})
    assert jobs.moving(atlas, "deep_linear").told["keys"] == {"depth": 1, "seed": 0}


def test_names_that_have_none_are_refused_in_one_line(finished):
    with pytest.raises(InputError, match="no study 'nosuch'"):
        jobs.moving(SMOKE, "nosuch")
    done = finished.snakemake("--dry-run", "--", "results/moving/nosuch.html")
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 2 and len(errors) == 1 and "no study 'nosuch'" in errors[0]


def test_an_experiment_that_a_config_leaves_out_has_no_moving_picture(load):
    atlas = load({"deep_linear": {"direct_optimisation": None}})
    assert jobs.movings(atlas, "deep_linear") == []
    with pytest.raises(InputError, match="direct_optimisation left out of it"):
        jobs.moving(atlas, "deep_linear")


@IN_A_BROWSER
def test_a_browser_plays_the_page_and_asks_for_nothing(tmp_path):
    path = tmp_path / "moving.html"
    path.write_text(page(film()))
    with browser.browser(tmp_path / "chromium") as opened:
        opened.open(path.as_uri())
        assert opened.evaluate("place.value") == "step 0"
        for key, found in (("ArrowRight", 19436), ("End", 123457), ("ArrowLeft", 19436)):
            pressed = f"new KeyboardEvent('keydown', {{key: '{key}'}})"
            opened.evaluate(f"document.dispatchEvent({pressed})")
            assert opened.evaluate("place.value") == f"step {found}"
        opened.evaluate("show(0.5)")
        assert opened.evaluate("place.value") == "step 0 to 19436, interpolated"
        assert opened.evaluate("places(told.layers[0], 0, 0.5)") == [
            [pytest.approx(0.5), 0], [0, pytest.approx(-0.16665)],
        ]  # fmt: skip
        opened.evaluate("play.click()")
        opened.wait("position > 0.6")
        opened.evaluate("play.click()")
        # At rest it shows a recorded state.
        assert opened.evaluate("Number.isInteger(position)")
        assert opened.requests == [path.as_uri()] and opened.errors == []


@IN_A_BROWSER
def test_a_browser_paints_every_cell_and_names_coordinates(tmp_path):
    path = tmp_path / "moving.html"
    path.write_text(page(cells_film()))
    read = (
        "(place => { const size = Math.min(scene.clientWidth, scene.clientHeight);"
        "const [x, y] = view(size)(place).map(each => each * (window.devicePixelRatio || 1));"
        "return [...scene.getContext('2d').getImageData(x, y, 1, 1).data]; })"
    )
    with browser.browser(tmp_path / "chromium") as opened:
        opened.open(path.as_uri())
        # Halfway between 0 and 0.99, and between 0 and -0.5.
        opened.evaluate("show(0.5)")
        for place, value in (((0, 0.6), 0.495), ((0.6, 0.6), -0.25), ((-0.6, 0.6), 1)):
            found = opened.evaluate(f"{read}({list(place)})")
            expected = 255 * np.array(plt.get_cmap(CELLS)((value + 1) / 2))
            assert found == pytest.approx(expected, abs=4)
        # Names of rows stand to the left.
        assert opened.evaluate("view(100 + NAMES)([-1, -1])[0] == NAMES")
        # The same with names of its coordinates: from a corner, with room for these.
        opened.evaluate(
            "Object.assign(told, {cells: null, axes: ['across', 'up'], reach: 3}); show(0)"
        )
        assert opened.evaluate("[view(100)([0, 0]), view(100)([1, 1])]") == [[34, 66], [92, 8]]
        assert opened.errors == []


@pytest.mark.parametrize(("decays", "alive"), [((0.1, 0.05), True), ((4.0, 0.3), False)])
def test_the_frame_of_the_flow_is_where_it_rests(decays, alive):
    length = optimal_length(*decays)
    assert (length is not None) == alive
    if alive:
        weight_decay, feature_decay = decays
        # Each class alone, W eliminated: what a longer mean saves of the fit it pays in decay.
        mean = np.linspace(0.9, 1.1, 201) * length
        cost = weight_decay / (mean**2 + weight_decay) + feature_decay * mean**2
        assert mean[cost.argmin()] == pytest.approx(length)
    assert optimal_length(0.1, 0.0) is None


def test_residuals_are_those_of_the_targets_at_every_step():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(6, 2)) + 3
    states = [
        {"W1": rng.normal(size=(2, 4)), "H": rng.normal(size=(4, 6)), "bias": rng.normal(size=2)}
        for _ in range(3)
    ]
    residuals = [(state["W1"] @ state["H"]).T + state["bias"] - targets for state in states]
    centred = targets - targets.mean(0)
    columns = {"sample": np.repeat(range(6), 2), "output": np.tile(range(2), 6)}
    own = np.cov(centred.T, bias=True)
    measured = {
        (7, "all", f"target_covariance[{i},{j}]"): own[i, j] for i in (0, 1) for j in (0, i)
    }
    run = results({"weight_decay": 0.5, "feature_decay": 0.08}, [({"seed": 0}, measured, {})])
    points = pd.concat(
        pd.DataFrame(
            {"seed": 0, "step": step, "layer": "all", "probe": "residuals", **columns}
            | {"target": centred.ravel(), "residual": found.ravel()}
        )
        for step, found in ((0, residuals[0]), (7, residuals[2]))
    )
    shown = regression.scene(states, replace(run, samples=points))
    (layer,) = shown.layers
    assert np.allclose(layer.at, residuals)
    # Circles of sqrt(c) and twice that.
    assert np.allclose([np.linalg.norm(line, axis=1) for line in shown.theory], [[0.2], [0.4]])


def test_cosines_of_every_layers_inputs_are_shown_as_blocks_of_classes():
    rng = np.random.default_rng(0)
    matrices = {1: rng.uniform(-1, 1, (4, 4)), 2: rng.uniform(-1, 1, (4, 4))}
    row, column = np.triu_indices(4)
    classes = np.array([0, 0, 0, 1])
    frames = [
        pd.DataFrame(
            {"row": row, "column": column, "row_class": classes[row], "value": m[row, column]}
        ).assign(step=step, layer=layer, probe="gram", seed=0)
        for (step, m), layer in [
            *((pair, "X") for pair in matrices.items()),
            ((2, -rng.random((4, 4))), "Phi"),
        ]
    ]
    run = results({}, [({"seed": 0}, {}, {})])
    shown = deep_rfm.scene([{}, {}], replace(run, samples=pd.concat(frames).sample(frac=1)))
    upper = np.triu(np.ones((4, 4), bool))
    for found, matrix in zip(shown.cells.at, matrices.values(), strict=True):
        assert np.array_equal(found, found.T) and np.array_equal(found[upper], matrix[upper])
    assert [np.ptp(line, 0).tolist() for line in shown.theory] == [[1.5, 1.5], [0.5, 0.5]]


@pytest.mark.parametrize("held", [None, 0.6])
def test_latents_end_on_the_lines_of_their_closed_forms(held):
    problem = {
        "kind": "linear_vae", "covariance_eigenvalues": [6.0, 4.0, 2.5, 1.5], "latent_dim": 3,
        "beta": 3.0, "decoder_std": 1.0, "prior_std": 1.0, "encoder_std": held,
    }  # fmt: skip
    closed = of_closed_form({"problem": problem}, {})
    lists = {name: value for name, value in closed.items() if isinstance(value, list)}
    numbers = {
        f"{name}[{i}]": each for name, values in lists.items() for i, each in enumerate(values)
    }
    run = results({"problem": problem}, [({"seed": 0}, {}, numbers)])
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(4, 3)))[0]
    stds = np.array(closed["encoder_std"])
    states = [
        {"U1": rng.normal(size=(4, 3)), "log_std": rng.normal(size=3)},
        {"U1": basis * closed["decoder_singular_values"], "log_std": np.log(stds)},
    ]
    for state in states if held else ():
        del state["log_std"]
    shown = posterior_collapse.scene(states, run)
    (latents,) = shown.layers
    for latent in range(3):
        start = np.sqrt((states[0]["U1"][:, latent] ** 2).sum())
        assert latents.at[0, latent, 0] == pytest.approx(start)
        low, high = shown.theory[latent]
        assert latents.at[1, latent] == pytest.approx(high) and low == pytest.approx([high[0], 0])
    if held:
        assert (latents.at[..., 1] == pytest.approx(held)) and len(shown.theory) == 3
        return
    assert latents.at[0, :, 1] == pytest.approx(np.exp(states[0]["log_std"]))
    # The last one has collapsed to the prior, and all are on the curve.
    curve = shown.theory[3]
    assert latents.at[1, 2] == pytest.approx([0, 1]) and latents.at[1, 1, 0] == pytest.approx(1)
    across, up = latents.at[1].T[:, ::-1]
    assert np.interp(across, *curve.T) == pytest.approx(up, abs=1e-3)
    assert curve[-1, 0] == pytest.approx(shown.layers[0].at[..., 0].max())


def test_words_stand_in_the_order_of_frequency_and_heads_are_rows():
    rng = np.random.default_rng(0)
    matrices = rng.uniform(-1, 1, (3, 2, 2))
    row, column = np.indices((2, 2)).reshape(2, -1)
    names = np.array(["the", "\n"])
    points = pd.concat(
        pd.DataFrame(
            {"row": row, "column": column, "row_name": names[row], "value": m.ravel()}
        ).assign(step=step, layer="H1", probe="duality", seed=0)
        for step, m in zip((0, 1, 5), matrices, strict=True)
    )
    run = results({}, [({"seed": 0}, {}, {})])
    shown = linguistic.scene([{}] * 3, replace(run, samples=points.sample(frac=1, random_state=0)))
    assert np.array_equal(shown.cells.at, matrices) and shown.cells.labels == ("the", "'\\n'")
    assert [np.ptp(line, 0).tolist() for line in shown.theory] == [[1, 1], [1, 1]]
