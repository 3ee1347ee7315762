"""What pages with a long table share: how they look, and the choices above it that filter it."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment

# A page gives what stands before the table in its form: a select for each word of a row's data,
# whose id is the word's, an input ``text`` and a place ``shown``. Right behind comes the table.
_FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 80em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35em .7em; }
tr { border-bottom: 1px solid #ddd; }
form + table th { position: sticky; top: 0; background: #fff; }
small { color: #555; display: block; }
select, input { font: inherit; margin-right: 1em; }
{% block style %}{% endblock %}
</style>
</head>
<body>
{%- block head %}{% endblock %}
<form onsubmit="return false">
{%- block choices %}{% endblock %}
<label>Search <input id="text" type="search"></label>
<span id="shown"></span>
</form>
{%- block table %}{% endblock %}
<script>
const rows = [...document.querySelectorAll("form + table tbody tr")];
const choices = [...document.querySelectorAll("form select")];
function filter() {
  const text = document.getElementById("text").value.toLowerCase();
  let shown = 0;
  for (const row of rows) {
    // What a row is may be several things.
    const fits = ({id, value}) => !value || row.dataset[id].split(";").includes(value);
    row.hidden = !(choices.every(fits) && row.textContent.toLowerCase().includes(text));
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = shown + " of " + rows.length;
}
document.querySelector("form").addEventListener("input", filter);
filter();
</script>
</body>
</html>
"""


def render(template: str, filters: Mapping[str, Callable], **values: Any) -> str:
    """Return a page of the blocks ``style``, ``head``, ``choices`` and ``table`` of a template."""
    environment = Environment(autoescape=True)
    environment.filters |= filters
    frame = environment.from_string(_FRAME)
    return environment.from_string(template).render(frame=frame, **values)
