"""What `collapse describe` says: of every key, every number of every table, every figure."""

import re
from argparse import Namespace
from html.parser import HTMLParser

import pandas as pd
import pytest

from collapse import config, describing, jobs, specs
from collapse.cli import main
from collapse.config.slots import kinds
from collapse.describing import Entry
from collapse.errors import InputError
from collapse.metrics.measure import functions
from collapse.reference_page import page
from collapse.stages import reference_page
from collapse.theory.returned import definitions
from conftest import ROOT, Checkout, write_spec

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
    texts = [entry.text for entry in describing.entries(ATLAS.studies) if entry.category == "key"]
    shown = " ".join(" ".join(texts).split())
    for section in (*kinds("procedure").values(), *kinds("source").values()):
        for name, description in declared(section, []):
            assert description and " ".join(description.split()) in shown, name
    assert all(text.splitlines()[0] and len(text.splitlines()) > 1 for text in texts)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("head.depth", ["head.depth  (key of", "an integer from 1 to 1000, default 1", "Number M"]),
        ("epochs", ["training.epochs  (key of", "an integer from 1"]),
        ("problem.loss", ["problem.loss  (key of", "mse or ce, default mse"]),
        ("optimiser", ["optimiser  (key of", "of kind adam, flow, lbfgs,"]),
        ("test_share", ["datasets.NAME.test_share  (key of data sets (table))", "0 to 0.5"]),
        ("model.hidden", ["model mlp", "a list of an integer from 1"]),
        ("NC1", ["NC1  (metric)", "``(1/K) tr(S_W S_B^+)`` (Papyan, Han & Donoho 2020"]),
        ("NC3_unweighted", ["About the unweighted mean", "NC3  (metric)"]),
        ("layer_singular_values[0]", ["``layer_singular_values[i]`` of W_1"]),
        ("GNC2_log_variance", ["GNC2_log_variance  (metric)", "negative logarithm"]),
        ("geometry", ["geometry  (figure of deep_linear)", "Gram matrices", "Objective: 1/(2N)"]),
        ("adam", ["adam  (kind of optimiser)", "Full-batch", "adam  (kind of update_rule)"]),
        ("shuttle", ["shuttle  (data set)", "Statlog (Shuttle) of UCI"]),
        ("linguistic", ["linguistic  (study)", "2405.17767.\n", "Figures: progress,"]),
        ("critical_decay[1]", ["(prediction of imbalanced)", "With loss=mse", "class k is"]),
        ("alpha_etf", ["loss_etf, alpha_etf: Those", "  null where a family", "Objective: "]),
        ("factor_mean_rotation", ["(prediction of perturbation)", "for any beta."]),
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
    assert "nothing to describe called 'head.depht', did you mean 'head.depth'?" in printed.err
    with pytest.raises(InputError, match="did you mean 'NRC1'"):
        describing.find(ATLAS.studies, "nrc1")
    with pytest.raises(InputError):
        describing.find(ATLAS.studies, "")


def test_all_names_are_listed_and_each_can_be_described(capsys):
    assert main(["describe"]) == 0
    printed = capsys.readouterr().out
    names = re.findall(r"^  (\S+)$", printed, re.MULTILINE)
    entries = describing.entries(ATLAS.studies)
    assert len(names) == len({(entry.category, entry.name) for entry in entries})
    assert {entry.name for entry in entries} == set(names)
    assert set(functions()) < set(names)
    heads = re.findall(r"^(\w.*) \((\d+)\)$", printed, re.MULTILINE)
    assert [name for name, _ in heads] == [*describing.CATEGORIES.values()]
    assert sum(int(count) for _, count in heads) == len(names)


@pytest.mark.parametrize(
    ("table", "category"), [("metrics", "metric"), ("predictions", "prediction")]
)
def test_every_number_of_every_table_is_described(finished, table, category):
    entries = describing.entries(ATLAS.studies)
    known = {entry.name for entry in entries if entry.category == category}
    tables = sorted((finished.folder / "results").glob(f"*/*/{table}.parquet"))
    assert len(tables) > 20
    for path in tables:
        metrics = pd.read_parquet(path, columns=["metric"])["metric"].unique()
        # About another mean it is the same metric.
        assert {re.sub(r"\[.*|_unweighted$", "", name) for name in metrics} <= known, path


# The page of all


class Rows(HTMLParser):
    """The rows of the page's table by their place: what each cell says, and the row's data."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.cells, self.addresses = {}, None, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.addresses += [given[name] for name in ("src", "href") if name in given]
        if tag == "tr" and "id" in given:
            assert given["id"] not in self.rows
            self.cells = []
            self.rows[given["id"]] = (given["data-category"], given["data-of"], self.cells)
        elif tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data

    def handle_endtag(self, tag):
        if tag == "tr" and self.cells:
            self.cells[:] = map(str.strip, self.cells)
            self.cells = None


def test_the_page_holds_every_entry_once_and_needs_no_network():
    entries = describing.entries(ATLAS.studies)
    shown = Rows(page(entries))
    assert len(shown.rows) == len(entries) > 250
    for entry in entries:
        # Of some names there are several.
        rows = [cells for category, _, cells in shown.rows.values() if category == entry.category]
        found = [cells for cells in rows if cells[0].split()[0] == entry.name]
        said = "".join("".join(entry.paragraphs).replace("`", "").split())
        assert any(
            "".join(text.replace("`", "").split()) == said and "".join(takes) == entry.takes
            for _, *takes, text in found
        ), entry.name
    assert shown.rows["key-head.depth"][2][1:] == [
        "an integer from 1 to 1000, default 1", "Number M of linear layers W_1 to W_M.",
    ]  # fmt: skip
    assert shown.rows["figure-imbalanced-network_mlp"][1] == "imbalanced"
    assert all(address.startswith("#") for address in shown.addresses)


def test_the_page_shows_what_is_quoted_as_code_and_no_markup_of_others():
    text = "Its ``a < b`` and `c`.\n\nIn <b>two</b>\nlines."
    shown = page(
        [Entry("metric", "m", "", (text,)), Entry("key", "k", "A (x); B, y z", ("One.",), "text")]
    )
    assert (
        "<p>Its <code>a &lt; b</code> and <code>c</code>.</p>"
        "<p>In &lt;b&gt;two&lt;/b&gt; lines.</p>" in shown
    )
    assert 'id="key-k" data-category="key"\ndata-of="A (x);B"' in shown
    # Keys come first, and what entries belong to can be chosen.
    assert shown.index('id="key-k"') < shown.index('id="metric-m"')
    assert "<option>A (x)</option><option>B</option>" in shown


def test_a_docstring_that_changed_since_the_plan_is_refused(tmp_path):
    told = jobs.reference_page(ATLAS).told
    assert told["studies"] == list(ATLAS.studies)
    out = tmp_path / "reference.html"
    spec = write_spec(tmp_path, "reference_page", {**told, "docstrings": "0" * 16})
    with pytest.raises(InputError, match="docstrings changed since this job was planned"):
        reference_page.run(Namespace(spec=specs.read(spec[1], "reference_page"), out=str(out)))
    assert not out.exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "again"),
    [
        ("metrics/collapse.py", "NC1, within-class variability", "NC1, the variability", True),
        ("theory/linguistic.py", "The value below which", "What is above", True),
        ("metrics/collapse.py", "import torch\n", "# a comment\nimport torch\n", False),
        ("config/sections/problem/deep_linear.py", 'description="', 'description="Now: ', True),
        ("studies/mixup/__init__.py", "Left: amplification", "Left: the amplification", True),
    ],
)
def test_the_page_is_made_anew_when_what_it_says_changes(finished, file, old, new, again):
    path = finished.folder / "workflow/collapse" / file
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))
    try:
        planned = finished.planned("--", "results/reference.html")
    finally:
        path.write_text(before)
    assert planned == ({"reference_page": 1} if again else {})


def test_the_page_is_part_of_the_whole_and_verifies(finished, tmp_path):
    path = finished.folder / "results/reference.html"
    assert len(Rows(path.read_text()).rows) == len(describing.entries(ATLAS.studies))
    assert finished.run("collapse", "verify", str(path)).returncode == 0
    checkout = Checkout(tmp_path)
    assert checkout.planned("--", "results/reference.html") == {"reference_page": 1}


# What closed forms return


def returning():
    """Return what is predicted.

    Returns
    -------
    dict
        Those of ``another``.

        With a bias:

        ``one``, ``two``,
        ``three``
            Sums, in this
            order; None at 0.
        ``four``
            Their mean.

        All are above 0.

        Without:

        ``one``
            Nothing.

    Raises
    ------
    InputError
        Never.
    """


def test_definitions_of_what_is_returned_have_what_stands_around_them():
    bias, without = "With a bias:", "Without:"
    assert [
        (each.names, each.text, each.context, each.notes) for each in definitions(returning)
    ] == [
        (("one", "two", "three"), "Sums, in this order; null at 0.", bias, ("All are above 0.",)),
        (("four",), "Their mean.", bias, ("All are above 0.",)),
        (("one",), "Nothing.", without, ()),
    ]
    assert not list(definitions(None)) and not list(definitions(lambda: None))
