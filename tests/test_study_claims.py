"""What all studies share: the files of their claims, and who sets their bounds."""

import argparse
import ast
import html
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from collapse import provenance, studies
from collapse.artifacts import stored_digest, verified, write_csv, write_digests
from collapse.errors import InputError
from collapse.stages import join_claims, overview
from collapse.studies.verdicts import BOUNDS, COLUMNS

HEADER = ",".join(COLUMNS) + "\n"
AWKWARD = {
    "claim": ["one", "two"],
    "source": ['a "paper"', "NA"],
    "statement": ["W, H and b; all", "in two\nlines"],
    "expected": ["", "None"],
    "tolerance": [1e-10, 0.1],
    "bound": ["theory", "project"],
    "measured": ["median 0.1, worst 0.30", "no run (μ)"],
    "seeds": [3, 1],
    "verdict": ["replicated", "inconclusive"],
}


def written(path, study):
    """Write the claims of a study as the stage does; return the text of the file."""
    frame = pd.DataFrame({"study": study, "scale": "007", **AWKWARD}, columns=COLUMNS)
    write_csv(path, frame)
    write_digests([path], {})
    return Path(path).read_text()


def joined(*paths, out, reference=()):
    reads = {"claims": [str(path) for path in paths]}
    spec = SimpleNamespace(reads=reads, provenance=lambda sources: {})
    files = {"out": str(out), "page": str(out.with_suffix(".html")), "reference": reference}
    join_claims.run(argparse.Namespace(spec=spec, **files))
    return Path(out).read_text()


def test_joined_claims_are_those_of_the_studies_in_order_byte_for_byte(tmp_path):
    paths = [tmp_path / name for name in ("b.csv", "a.csv")]
    texts = [written(path, path.stem) for path in paths]
    assert all(text.startswith(HEADER) for text in texts)
    text = joined(*paths, out=tmp_path / "claims.csv")
    assert verified(tmp_path / "claims.csv").read_text() == text
    assert text == HEADER + "".join(each.removeprefix(HEADER) for each in texts)
    assert joined(paths[1], out=tmp_path / "one.csv") == texts[1]


def test_the_overview_counts_verdicts_and_tells_of_data_and_deviations(tmp_path):
    data, claims, shipped = (tmp_path / name for name in ("data/d.csv", "claims.csv", "b.csv"))
    picture = tmp_path / "speed.png"
    picture.write_bytes(b"\x89PNG")
    write_digests([picture], {})
    written(data, "any")
    write_digests([data], {"stage": "data", "device": "a card"})
    written(claims, "mixup")
    made = {"packages": {"torch": "2.0"}, "python": "3.12", "device": "cpu"}
    write_digests([claims], made | {"inputs": [("data/d.csv", stored_digest(data))]})
    written(shipped, "mixup")
    spec = SimpleNamespace(
        reads={"claims": [str(claims)]}, job={"studies": ["mixup"]}, provenance=lambda sources: {}
    )
    out = tmp_path / "overview.html"
    files = {"out": str(out), "reference": [str(shipped)], "speed": str(picture)}
    overview.run(argparse.Namespace(spec=spec, **files))
    text = re.sub(r"\s+", " ", verified(out).read_text())
    counts = re.findall(r'<td class="number">(\d+)</td>', text)
    # Of the study and of all: not replicated, inconclusive, replicated, here and in the reference.
    assert counts == ["0", "1", "1"] * 4
    assert f"d ({stored_digest(data)[:12]})" in text and "a card" in text and "torch 2.0" in text
    assert all(each in html.unescape(text) for each in studies.load("mixup").deviations)
    assert "data:image/png;base64,iVBORw==" in text
    assert re.findall('https?://[^ "]*', text) == ["https://arxiv.org/abs/2402.06171"]


def test_the_page_shows_every_claim_beside_the_reference_runs(tmp_path):
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    for path in paths:
        written(path, "b" if path.stem == "c" else path.stem)
    joined(*paths[:2], out=tmp_path / "claims.csv", reference=[str(paths[2])])
    text = verified(tmp_path / "claims.html").read_text()
    # Undecided ones first; of study b the reference runs decide both.
    rows = re.findall('<tr data-study="(.)" data-verdict="([a-z ]+)"\n.*>\n(.*)\n(.*)', text)
    assert [row[:2] for row in rows] == [(s, v) for v in AWKWARD["verdict"][::-1] for s in "ab"]
    for study, verdict, *cells in rows:
        shown = [re.sub("<[^>]*>", "", cell) for cell in cells]
        assert shown == [verdict, verdict if study == "b" else "not decided"]
    assert "a &#34;paper&#34;" in text and "<td>W, H and b; all" in text
    # Nothing is fetched.
    assert not re.search("(src|href|url)[=(]", text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no such file"),
        ("", "columns are [], should be study, claim, source"),
        ("study,claim\na,b\n", "columns are ['study', 'claim'], should be study"),
        (",".join(COLUMNS[:-1]) + "\n", "columns are"),
        (HEADER + "a," * 30 + "\n", "row 1 has 31 of 11 columns"),
        (HEADER + "a," * 10 + "\na,b\n", "row 2 has 2 of 11 columns"),
        (HEADER + 'a,"b', "cannot be read as csv"),
        ("study\xff", "cannot be read as csv"),
    ],
)
def test_a_file_that_holds_no_claims_is_refused_in_a_line(tmp_path, text, told):
    path = tmp_path / "claims" / "x.csv"
    if text is not None:
        path.parent.mkdir()
        path.write_bytes(text.encode("latin-1"))
        write_digests([path], {})
    with pytest.raises(InputError) as error:
        joined(path, out=tmp_path / "claims.csv")
    message = str(error.value)
    assert message.startswith(str(path)) and told in message and "\n" not in message
    assert not (tmp_path / "claims.csv").exists()


def test_an_edited_verdict_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(written(path, "a").replace("inconclusive", "replicated"))
    with pytest.raises(InputError, match=f"{path}: digest .* found, a.digest.json says .* damaged"):
        joined(path, out=tmp_path / "claims.csv")


def test_joining_depends_on_no_study():
    modules = provenance.imported_modules(["collapse.stages.join_claims"])
    assert "collapse.studies.verdicts" in modules
    names = {folder.name for folder in folders()}
    assert not [name for name in modules if names & set(name.split("."))]


def folders():
    """Return the studies of the package by the folders that hold them."""
    return [path.parent for path in Path(studies.__file__).parent.glob("*/claims.py")]


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_every_bound_in_the_studies_is_a_word_that_claims_know(folder):
    import_module(f"collapse.studies.{folder.name}.claims")
    calls = [
        node
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Claim"
    ]
    words = [word.value for call in calls for word in call.keywords if word.arg == "bound"]
    assert len(calls) > 5 and words
    for word in words:
        assert ast.literal_eval(word) in set(BOUNDS) - {"project"}
