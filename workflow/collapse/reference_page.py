"""All that the code declares, as one page that needs nothing else."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

from collapse.describing import CATEGORIES, Entry
from collapse.filtered_page import render

_TEMPLATE = """\
{%- extends frame %}
{%- block style %}
th:first-child { width: 22%; }
th:nth-child(2) { width: 20%; }
td:first-child { overflow-wrap: anywhere; }
td p { margin: 0 0 .5em; }
td p:last-child { margin: 0; }
tr:target { background: #fff7d6; }
td a { color: inherit; text-decoration: none; }
td a:hover { text-decoration: underline; }
code { font-size: 13px; }
{%- endblock %}
{%- block head %}
<h1>What can be set, is measured and is drawn</h1>
<p>The studies and their figures; every key of the config with what it takes, the kinds that keys
may choose, the data sets; every metric of the tables and of <code>collapse measure</code> with its
formula and where it is from; every number that closed forms predict: what the code declares of
each, as <code>collapse describe NAME</code> prints it.</p>
{%- endblock %}
{%- block choices %}
<label>Show <select id="category"><option value="">all</option>
{%- for category, count in counts.items() %}
<option value="{{ category }}">{{ plurals[category] }} ({{ count }})</option>
{%- endfor %}</select></label>
<label>Of <select id="of"><option value="">all</option>
{%- for place in places %}<option>{{ place }}</option>{% endfor %}</select></label>
{%- endblock %}
{%- block table %}
<table>
<thead><tr><th>Name</th><th>Takes</th><th>What it is</th></tr></thead>
<tbody>
{%- for anchor, entry in entries %}
<tr id="{{ anchor }}" data-category="{{ entry.category }}"
data-of="{{ entry.places | join(';') }}">
<td><a href="#{{ anchor }}"><code>{{ entry.name }}</code></a>
<small>{{ entry.category }}{% if entry.of %} of {{ entry.of }}{% endif %}</small></td>
{%- if entry.takes %}
<td>{{ entry.takes }}</td>
<td>{{ entry | text }}</td>
{%- else %}
<td colspan="2">{{ entry | text }}</td>
{%- endif %}
</tr>
{%- endfor %}
</tbody>
</table>
{%- endblock %}
"""
_CODE = re.compile(r"``(.+?)``|`([^`\s][^`]*)`")


def page(entries: Sequence[Entry]) -> str:
    """Return the page of what is declared, in the order of the categories and their names."""
    order = list(CATEGORIES)
    ordered = sorted(entries, key=lambda e: (order.index(e.category), e.name.lower(), e.of))
    counts = {category: sum(e.category == category for e in ordered) for category in CATEGORIES}
    return render(
        _TEMPLATE,
        {"text": _text},
        title="What is declared",
        plurals=CATEGORIES,
        entries=_anchored(ordered),
        counts=counts,
        places=[place for category in CATEGORIES for place in _places(ordered, category)],
    )


def _places(entries: Sequence[Entry], category: str) -> list[str]:
    """Return where the entries of a category belong."""
    return sorted({place for each in entries if each.category == category for place in each.places})


def _anchored(entries: Sequence[Entry]) -> Iterator[tuple[str, Entry]]:
    """Yield entries with their places in the page: of those of one name the second has a number."""
    taken: Counter[str] = Counter()
    for entry in entries:
        # Studies may have figures of one name. A key is of many places.
        of = [] if entry.category == "key" else [entry.of]
        name = "-".join(filter(None, [entry.category.replace(" ", "-"), *of, entry.name]))
        taken[name] += 1
        yield name if taken[name] == 1 else f"{name}-{taken[name]}", entry


def _text(entry: Entry) -> Markup:
    """Return the paragraphs of an entry, what is between backticks as code."""
    blocks = [block for part in entry.paragraphs for block in re.split(r"\n\s*\n", part)]
    return Markup("").join(Markup("<p>{}</p>").format(_coded(block)) for block in blocks)


def _coded(block: str) -> Markup:
    """Return a paragraph in one line, whose quoted names are code."""
    parts, end = [], 0
    text = " ".join(block.split())
    for quoted in _CODE.finditer(text):
        code = quoted[1] or quoted[2]
        parts += [escape(text[end : quoted.start()]), Markup("<code>{}</code>").format(code)]
        end = quoted.end()
    return Markup("").join([*parts, escape(text[end:])])
