"""What `collapse describe` says: of every key, every metric of every table, every figure."""

import re

import pandas as pd
import pytest

from collapse import config, describing
from collapse.cli import main
from collapse.config.slots import kinds
from collapse.errors import InputError
from collapse.metrics.measure import functions
from conftest import ROOT

ATLAS = config.load(ROOT / "config", {"scale": "smoke"})


def declared(section, done):
    """Descriptions of a section's fields, and of the sections in them."""
    schema = section.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        for name, field in part.get("properties", {}).items():
            if "const" not in field:
                done.append((name, field.get("description", "")))
    return done


def test_every_key_of_the_config_is_described_with_its_type():
    texts = [entry.text for entry in describing.entries(ATLAS) if entry.category == "key"]
    shown = " ".join(" ".join(texts).split())
    for section in kinds("procedure").values():
        for name, description in declared(section, []):
            assert description and " ".join(description.split()) in shown, name
    assert all(text.splitlines()[0] and len(text.splitlines()) > 1 for text in texts)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("head.depth", ["head.depth  (key of", "an integer from 1 to 1000, default 1", "Number M"]),
        ("epochs", ["training.epochs  (key of", "an integer from 1"]),
        ("problem.loss", ["problem.loss  (key of", "mse or ce, default mse"]),
        ("optimiser", ["optimiser  (key of", "of kind flow, lbfgs, newton, sgd"]),
        ("model.hidden", ["model mlp", "a list of an integer from 1"]),
        ("NC1", ["NC1  (metric)", "``(1/K) tr(S_W S_B^+)`` (Papyan, Han & Donoho 2020"]),
        ("NC3_unweighted", ["About the unweighted mean", "NC3  (metric)"]),
        ("singular_value[0]", ["singular_value  (metric)", "``singular_value[i]`` of W_1"]),
        ("GNC2_log_variance", ["GNC2_log_variance  (metric)", "negative logarithm"]),
        ("geometry", ["geometry  (figure of deep_linear)", "Gram matrices", "Objective: 1/(2N)"]),
    ],
)
def test_what_is_declared_of_a_name_is_printed(capsys, name, lines):
    assert main(["describe", name]) == 0
    printed = capsys.readouterr().out
    for line in lines:
        assert line in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_a_name_that_is_not_there_is_refused_with_the_nearest(capsys):
    assert main(["describe", "head.depht"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert "no key, metric or figure 'head.depht', did you mean 'head.depth'?" in printed.err
    with pytest.raises(InputError):
        describing.find(ATLAS, "")


def test_all_names_are_listed_and_each_can_be_described(capsys):
    assert main(["describe"]) == 0
    names = re.findall(r"^  (\S+)$", capsys.readouterr().out, re.MULTILINE)
    entries = describing.entries(ATLAS)
    assert len(names) == len({(entry.category, entry.name) for entry in entries})
    assert {entry.name for entry in entries} == set(names)
    assert set(functions()) < set(names)


def test_every_metric_of_every_table_is_described(finished):
    known = {entry.name for entry in describing.entries(ATLAS) if entry.category == "metric"}
    tables = sorted((finished.folder / "results").glob("*/*/metrics.parquet"))
    assert len(tables) > 20
    for path in tables:
        metrics = pd.read_parquet(path, columns=["metric"])["metric"].unique()
        assert {re.sub(r"\[.*", "", name) for name in metrics} <= known, path
