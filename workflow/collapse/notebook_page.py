"""A notebook with its outputs as a web page that needs no network: formulas are MathML."""

from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

HIDDEN = "remove_cell"
"""Tag of the cells that a page leaves out."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2, h3 {{ line-height: 1.25; }}
img {{ max-width: 100%; }}
pre {{ overflow-x: auto; margin: 0; font-size: 13px; }}
.input_area {{ background: #f6f6f6; border-left: 3px solid #c8c8c8; }}
.input_area {{ padding: .5rem .7rem; margin: .8rem 0 .4rem; }}
.output {{ margin: .4rem 0 1rem; overflow-x: auto; }}
.prompt {{ display: none; }}
table {{ border-collapse: collapse; font-size: 13px; }}
th, td {{ text-align: left; vertical-align: top; padding: .25rem .6rem; }}
tr {{ border-bottom: 1px solid #ddd; }}
math[display="block"] {{ margin: .8rem 0; }}
{code}
</style>
</head>
<body>
{body}
</body>
</html>
"""


class _Renderer(IPythonRenderer):
    """Turns TeX into MathML where the page is made: a browser would need a program for it."""

    def block_math(self, body: str) -> str:
        return convert(body, display="block")

    def inline_math(self, body: str) -> str:
        return convert(body)


def _html(markdown: str) -> str:
    renderer = _Renderer(escape=False, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(markdown)


def page(notebook: NotebookNode, title: str) -> str:
    """Return the page of a notebook, without the cells that are tagged `HIDDEN`."""
    hiding = {"enabled": True, "remove_cell_tags": [HIDDEN]}
    exporter = HTMLExporter(template_name="basic", config=Config(TagRemovePreprocessor=hiding))
    exporter.register_filter("markdown2html", _html)
    body, _ = exporter.from_notebook_node(notebook)
    code = HtmlFormatter().get_style_defs(".highlight")
    return _PAGE.format(title=title, code=code, body=body)
