"""The choices above a long table, as a browser makes them."""

import pytest

import browser
from collapse.filtered_page import render
from conftest import WITHOUT_CHROMIUM

TEMPLATE = """\
{%- extends frame %}
{%- block choices %}
<select id="category"><option></option><option>key</option><option>metric</option></select>
<select id="of"><option></option><option>A</option><option>B</option></select>
{%- endblock %}
{%- block table %}
<table><thead><tr><th>Name</th></tr></thead><tbody>
<tr data-category="key" data-of="A;B"><td>Width</td></tr>
<tr data-category="key" data-of="B"><td>decay</td></tr>
<tr data-category="metric" data-of=""><td>{{ name }}</td></tr>
</tbody></table>
{%- endblock %}
"""


@pytest.mark.skipif(browser.PROGRAM is None, reason=WITHOUT_CHROMIUM)
def test_rows_are_filtered_by_every_choice_and_by_text(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(render(TEMPLATE, {}, title="Names", name="NC1 <b>"))
    with browser.browser(tmp_path / "chromium") as opened:
        opened.open(path.as_uri())
        assert opened.evaluate("document.title") == "Names"

        def shown(**chosen):
            for name in ("category", "of", "text"):
                value = chosen.get(name, "")
                opened.evaluate(f"document.getElementById('{name}').value = '{value}'")
            opened.evaluate("document.querySelector('form').dispatchEvent(new Event('input'))")
            names = "rows.filter(row => !row.hidden).map(row => row.textContent)"
            count = opened.evaluate("document.getElementById('shown').textContent")
            return opened.evaluate(names), count

        assert shown() == (["Width", "decay", "NC1 <b>"], "3 of 3")
        assert shown(category="key") == (["Width", "decay"], "2 of 3")
        assert shown(of="B") == (["Width", "decay"], "2 of 3")
        assert shown(of="A") == (["Width"], "1 of 3")
        assert shown(text="nc1") == (["NC1 <b>"], "1 of 3")
        assert shown(category="metric", text="d") == ([], "0 of 3")
        assert opened.requests == [path.as_uri()] and opened.errors == []


def test_text_of_others_is_no_markup():
    page = render(TEMPLATE, {}, title="a < b", name="<script>")
    assert "<title>a &lt; b</title>" in page and "<td>&lt;script&gt;</td>" in page
