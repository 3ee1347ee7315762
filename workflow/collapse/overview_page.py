"""The first page of the report: what replicated, and what it was made of."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment

from collapse.studies import Study
from collapse.studies.verdicts import RULE, VERDICTS, as_word, counts

# It stands inside another page, too: no rule may reach beyond it.
_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Collapse Atlas</title>
</head>
<body>
<style>
.overview { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; }
.overview { max-width: 62rem; margin: 0 auto; padding: 1rem; }
.overview h1 { font-size: 1.6rem; margin: 0 0 .6rem; }
.overview h2 { font-size: 1.15rem; margin: 1.6rem 0 .4rem; }
.overview h3 { font-size: 1rem; margin: .8rem 0 .2rem; }
.overview table { border-collapse: collapse; }
.overview th, .overview td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
.overview tr { border-bottom: 1px solid #ddd; }
.overview td.number, .overview th[class] { text-align: right; white-space: nowrap; }
.overview ul { list-style: disc; padding-left: 1.3rem; margin: .2rem 0; }
.overview img { max-width: 100%; }
.overview .not-replicated { color: #a50f15; }
.overview .inconclusive { color: #6b6b6b; }
.overview .replicated { color: #14632d; }
.overview small { color: #555; }
.overview code { font-size: 13px; }
</style>
<div class="overview">
<h1>Collapse Atlas at {{ scale }} scale</h1>
<p>Replications of the neural-collapse literature. Claims are decided by code from the tables of
this run; beside them stand the verdicts of the reference runs at the papers' hyperparameters. In
the menu are all claims, of each study its figures and its notebook, and what every key, metric and
figure is. In figures measured values are lines with bands over seeds, theory is black and dashed,
the floor of the number format is grey.</p>
<h2>What replicated</h2>
<table>
<tr><th rowspan="2">Study</th>
{%- for source in sources %}<th colspan="{{ verdicts | length }}">{{ source }}</th>{% endfor %}</tr>
<tr>{% for source in sources %}{% for verdict in verdicts -%}
<th class="{{ verdict | word }}">{{ verdict }}</th>{% endfor %}{% endfor %}</tr>
{%- for study, row in rows %}
<tr><td>{{ study }}
{%- if study in studies %}<br><small>
{%- set before, sign, number = studies[study].paper.rpartition("arXiv ") %}{{ before }}
{%- if sign %} <a href="https://arxiv.org/abs/{{ number }}" target="_blank" rel="noopener">
{{- sign }}{{ number }}</a>{% else %}{{ number }}{% endif %}</small>{% endif %}</td>
{%- for count in row %}<td class="number">{{ count }}</td>{% endfor %}</tr>
{%- endfor %}
</table>
<p>{{ rule }}</p>
<h2>Where this differs from the papers</h2>
{%- for name, study in studies.items() if study.deviations %}
<h3>{{ name }}</h3>
<ul>{% for deviation in study.deviations %}<li>{{ deviation }}</li>{% endfor %}</ul>
{%- endfor %}
{%- if speed %}
<h2>Speed</h2>
<p>The engine against the textbook way of doing the same work, on the machines of the shipped
benchmarks (<code>make bench</code> measures yours).</p>
<img alt="Ratios of the time that the textbook way takes to the time taken here"
src="data:image/png;base64,{{ speed }}">
{%- endif %}
<h2>What this run was made of</h2>
<table>
{%- for name, value in facts.items() %}
<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{%- endfor %}
</table>
<p><code>collapse provenance FILE</code> tells all that one file was made of, <code>collapse
verify</code> whether each still is what it was made as.</p>
</div>
</body>
</html>
"""


def page(
    claims: pd.DataFrame,
    studies: Mapping[str, Study],
    history: Mapping[str, Any],
    speed: Path | None,
) -> str:
    """Return the page.

    Parameters
    ----------
    claims
        As in `collapse.claims_page.page`.
    studies
        Those of this run, by name.
    history
        What the claims were made from, see `collapse.lineage.history`.
    speed
        The picture of the benchmark, if there is one.
    """
    environment = Environment(autoescape=True)
    environment.filters["word"] = as_word
    table = counts(claims)
    return environment.from_string(_TEMPLATE).render(
        scale=", ".join(claims["scale"].unique()),
        verdicts=VERDICTS,
        sources=table.columns.unique(0),
        rows=zip(table.index, table.to_numpy().tolist(), strict=True),
        rule=RULE,
        studies=studies,
        speed=base64.b64encode(speed.read_bytes()).decode() if speed else None,
        facts=_facts(history),
    )


def _facts(history: Mapping[str, Any]) -> dict[str, str]:
    """Return what is worth knowing of all files behind the claims, by name."""
    files = {name: told for name, told in history["upstream"].items() if told}
    data = sorted(name for name, told in files.items() if told.get("stage") == "data")
    devices = sorted({told["device"] for told in files.values() if told.get("device")})
    packages = {f"{name} {version}" for name, version in history["packages"].items()}
    return {
        "Files behind the claims": f"{len(files)}, each with the digest of its content",
        "Data sets": ", ".join(
            f"{Path(name).stem} ({files[name]['digest'][:12]})" for name in data
        ),
        "Computed on": ", ".join(devices),
        "Python": history["python"],
        "Packages": ", ".join(sorted(packages)),
        "Digest of the claims": history["digest"],
    }
