"""`collapse predict`: its arguments, its JSON and its help."""

import argparse
import json
import math
import re

import numpy as np
import pytest

from collapse.errors import InputError
from collapse.stages import predict as stage
from collapse.theory import deep_linear


def command(*words):
    parser = argparse.ArgumentParser(prog="collapse predict", description=stage.__doc__)
    stage.add_arguments(parser)
    stage.run(parser.parse_args(words))


def predicted(capsys, *words):
    command(*words)
    return json.loads(capsys.readouterr().out)


SETTINGS = ["class_sizes=[4,2]", "weight_decay=1e-2", "feature_decay=1e-2"]
IMBALANCED = ["imbalanced", "--set", "weight_decay=[1e-2,1e-2]", "feature_decay=1e-2"]


def test_prints_the_prediction_as_indented_json(capsys):
    command("deep_linear", "--set", *SETTINGS)
    text = capsys.readouterr().out
    expected = deep_linear.predict(class_sizes=[4, 2], weight_decay=1e-2, feature_decay=1e-2)
    assert json.loads(text) == expected
    assert text == json.dumps(expected, indent=2) + "\n"


def test_set_is_repeatable_and_takes_bare_words(capsys):
    repeated = [word for setting in SETTINGS for word in ("--set", setting)]
    plain = predicted(capsys, "deep_linear", *repeated)
    assert predicted(capsys, "deep_linear", *repeated, "--set", "loss=mse") == plain
    assert predicted(capsys, "deep_linear", *repeated, "--set", 'loss="mse"') == plain
    narrow = ["--set", "class_sizes=[4, 4]", "weight_decay=[0.01, 0.01]", "feature_decay=1e-2"]
    assert predicted(capsys, "deep_linear", *narrow, "widths=1")["feature_norms_squared"] is None
    assert set(predicted(capsys, "deep_linear", *narrow, "loss=ce")) >= {"loss_etf"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["deep_liner"],
            'unknown study with a closed form "deep_liner" (did you mean deep_linear?)',
        ),
        (["hyperparameters"], 'unknown study with a closed form "hyperparameters", allowed: '),
        (["../deep_linear"], 'unknown study with a closed form "../deep_linear"'),
        (["deep_liner", "--help"], "unknown study with a closed form"),
        (["deep_linear"], "class_sizes: missing, allowed: a list"),
        (["deep_linear", "--set", "depth"], "--set: found 'depth', allowed: KEY=VALUE"),
        (["deep_linear", "--set", "=3"], "--set: found '=3', allowed: KEY=VALUE"),
        (["deep_linear", "--set", *SETTINGS, "loss=mse", "loss=ce"], "--set loss: given twice"),
        (["deep_linear", "--set", *SETTINGS, "depht=2"], 'unknown hyperparameter "depht" (did'),
        (["deep_linear", "--set", *SETTINGS, "depth=NaN"], 'depth: found "NaN", allowed'),
        (["deep_linear", "--set", *SETTINGS, "depth=1e999"], "depth: found Infinity, allowed"),
        (["deep_linear", "--set", *SETTINGS, "widths=[1,"], 'widths: found "[1,", allowed'),
        (["deep_linear", "--set", *SETTINGS, "depth=" + "[" * 9999], 'depth: found "[[['),
        ([*IMBALANCED, "class_sizes=[]"], "class_sizes: found [], allowed: a list of at least 2"),
        ([*IMBALANCED, "class_sizes=[5]"], "class_sizes: found [5], allowed: a list of at least 2"),
        ([*IMBALANCED, "class_sizes=[5,0]"], "class_sizes: found [5, 0], allowed"),
        ([*IMBALANCED, "class_sizes=[5,-2]"], "class_sizes: found [5, -2], allowed"),
        ([*IMBALANCED, "class_sizes=[5,2.5]"], "class_sizes: found [5, 2.5], allowed"),
        ([*IMBALANCED, "class_sizes=many"], 'class_sizes: found "many", allowed'),
        ([*IMBALANCED, "class_sizes=[4,2]", "depth=3"], "depth: found 3, allowed: 2, the length"),
        ([*IMBALANCED, "class_sizes=[4,2]", "widths=[5]"], "widths: found 1 numbers, allowed"),
        ([*IMBALANCED, "class_sizes=[4,2]", "loss=ce"], "class_sizes: found unequal sizes"),
        (["imbalanced", "--set", *SETTINGS[::2], "weight_decay=-1"], "weight_decay: found -1, al"),
        (["imbalanced", "--set", *SETTINGS[::2], "weight_decay=[]"], "weight_decay: found [], al"),
    ],
)
def test_errors_are_one_line(words, message, capsys):
    with pytest.raises(InputError) as error:
        command(*words)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_help_of_a_study_lists_keys_defaults_and_objective(capsys):
    with pytest.raises(SystemExit) as status:
        command("deep_linear", "--help")
    assert status.value.code == 0
    text = capsys.readouterr().out
    assert deep_linear.OBJECTIVE in text
    for name, key in deep_linear.KEYS.items():
        assert f"  {name} (" in text
        assert key.description in text
        assert f"allowed: {key.kind.allowed}" in text
    assert "class_sizes (required)" in text
    assert "loss (default mse)" in text
    assert "bias (default false)" in text
    assert "depth (optional)" in text


def test_help_of_a_study_says_what_is_printed(capsys):
    with pytest.raises(SystemExit):
        command("deep_linear", "--help")
    _, _, told = capsys.readouterr().out.partition("prints:\n")
    for loss in ("mse", "ce"):
        for depth in (1, 2):
            given = {"class_sizes": [4, 4], "depth": depth, "weight_decay": 1e-2, "loss": loss}
            printed = deep_linear.predict(**given, feature_decay=1e-2)
            assert printed and all(re.search(rf"\b{name}\b", told) for name in printed)
    assert "is null" in told and "`" not in told and "None" not in told
    # It ends with what is returned.
    assert "Raises" not in told and "---" not in told


@pytest.mark.parametrize("name", stage.studies())
def test_every_study_says_what_it_prints(name, capsys):
    with pytest.raises(SystemExit):
        command(name, "--help")
    assert "\nprints:\n  " in capsys.readouterr().out


def test_help_without_a_study_names_the_studies(capsys):
    with pytest.raises(SystemExit):
        command("--help")
    text = capsys.readouterr().out
    assert "deep_linear" in text
    assert "feature_decay" not in text


def test_studies_are_the_theory_modules_that_predict():
    assert "deep_linear" in stage.studies()
    assert "hyperparameters" not in stage.studies()
    for name in stage.studies():
        module = stage.study(name)
        assert "\n" not in module.OBJECTIVE
        assert all(key.description and key.kind.allowed for key in module.KEYS.values())


def test_json_has_no_nan_and_no_numpy():
    value = {"a": np.array([1.0, math.nan]), "b": (np.int64(2), math.inf), "c": None, "d": True}
    assert stage.to_json(value) == {"a": [1.0, None], "b": [2, None], "c": None, "d": True}
