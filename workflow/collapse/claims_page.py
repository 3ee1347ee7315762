"""The decided claims as one page that needs nothing else: counts, and a table to filter."""

import pandas as pd

from collapse.filtered_page import render
from collapse.studies.verdicts import RULE, VERDICTS, as_word, counts

_TEMPLATE = """\
{%- extends frame %}
{%- block style %}
form + table td:nth-child(4) { width: 34%; }
#counts { width: auto; margin-bottom: 1em; }
#counts td + td { text-align: right; }
.verdict { white-space: nowrap; font-weight: 600; }
.not-replicated { color: #a50f15; }
.inconclusive { color: #6b6b6b; }
.replicated { color: #14632d; }
{%- endblock %}
{%- block head %}
<h1>Claims at {{ scales }} scale</h1>
<table id="counts">
<tr><th></th>
{%- for verdict in verdicts %}<th class="{{ verdict | word }}">{{ verdict }}</th>{% endfor %}</tr>
{%- for study, row in counts %}
<tr><td>{{ study }}</td>{% for count in row %}<td>{{ count }}</td>{% endfor %}</tr>
{%- endfor %}
</table>
<p>{{ rule }} A bound is set by the paper, by theory or by this project.</p>
{%- endblock %}
{%- block choices %}
<label>Study <select id="study"><option value="">all</option>
{%- for study in studies %}<option>{{ study }}</option>{% endfor %}</select></label>
<label>Verdict <select id="verdict"><option value="">all</option>
{%- for verdict in verdicts %}<option>{{ verdict }}</option>{% endfor %}</select></label>
<label>Reference <select id="reference"><option value="">all</option>
{%- for verdict in verdicts %}<option>{{ verdict }}</option>{% endfor %}</select></label>
{%- endblock %}
{%- block table %}
<table>
<thead><tr>
{%- for name in columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for claim in claims %}
<tr data-study="{{ claim.study }}" data-verdict="{{ claim.verdict }}"
data-reference="{{ claim.reference }}">
<td class="verdict {{ claim.verdict | word }}">{{ claim.verdict }}</td>
<td class="verdict {{ claim.reference | word }}">{{ claim.reference or "not decided" }}</td>
<td>{{ claim.claim }}<small>{{ claim.study }}</small></td>
<td>{{ claim.statement }}<small>{{ claim.source }}</small></td>
<td>{{ claim.measured }}<small>{{ claim.expected }}</small></td>
<td>{{ claim.tolerance }}<small>{{ claim.bound }}</small></td>
<td>{{ claim.seeds }}</td>
</tr>
{%- endfor %}
</tbody>
</table>
{%- endblock %}
"""


def page(claims: pd.DataFrame) -> str:
    """Return the page of decided claims, those first that did not replicate.

    `claims` has the columns of `collapse.studies.verdicts.COLUMNS` as text, and ``reference``, the
    verdict of the reference runs, empty where they decide none.
    """
    order = claims["verdict"].map({verdict: place for place, verdict in enumerate(VERDICTS)})
    ordered = claims.iloc[order.argsort(kind="stable")]
    table = counts(claims)["this run"]
    return render(
        _TEMPLATE,
        {"word": as_word},
        title="Claims",
        scales=", ".join(claims["scale"].unique()),
        verdicts=VERDICTS,
        counts=zip(table.index, table.to_numpy().tolist(), strict=True),
        studies=claims["study"].unique(),
        rule=RULE,
        columns=("Verdict", "Reference", "Claim", "Statement", "Measured", "Bound", "Seeds"),
        claims=ordered.to_dict("records"),
    )
