"""The report as a reader sees it: in a browser, without a network."""

import re

import pytest

from browser import PROGRAM, browser
from collapse import config, jobs
from conftest import WITHOUT_CHROMIUM

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=WITHOUT_CHROMIUM)
SMOKE = config.load("config", {"scale": "smoke"})


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    """The report of the finished workflow in a browser."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    style = ["--report-stylesheet", "workflow/report/style.css"]
    done = finished.snakemake("--report", str(path), *style)
    assert done.returncode == 0, done.stderr
    with browser(tmp_path_factory.mktemp("browser")) as page:
        page.open(path.as_uri())
        yield page


@pytest.fixture(autouse=True)
def quiet(report):
    """Whatever a reader does asks no network for anything and makes no error."""
    yield
    assert not report.errors
    assert {url.split(":")[0] for url in report.requests} <= {"file", "data"}


def find(tag, text):
    """Return the JavaScript that finds the element of this text."""
    elements = f"[...document.querySelectorAll('#app {tag}')]"
    return f"{elements}.find(each => each.innerText.trim() === '{text}')"


def category(page, name):
    """Open a category of the menu, from wherever the page is."""
    page.evaluate(f"{find('nav a', 'Results')}?.click()")
    page.wait(find("nav a", name))
    page.evaluate(f"{find('nav a', name)}.click()")


def click(page, result, button):
    """Click on a button of a result in its category: 0 shows it, 1 tells of it."""
    page.wait(find("tr", result))
    page.evaluate(f"{find('tr', result)}.querySelectorAll('a')[{button}].click()")


def test_it_begins_with_what_replicated_and_what_differs(report):
    report.wait("document.querySelector('.overview')")
    text = report.evaluate("document.querySelector('.overview').innerText")
    assert "Collapse Atlas at smoke scale" in text
    for part in ("What replicated", "Where this differs", "What this run was made of"):
        assert part in text
    for study in SMOKE.studies:
        assert re.search(rf"^{study}\b", text, re.MULTILINE)


def test_the_claims_open_in_the_page(report):
    category(report, "claims")
    report.wait("document.querySelector('#app nav table a')")
    report.evaluate("document.querySelector('#app nav table a').click()")
    report.wait("document.querySelector('#app iframe')")
    report.wait_for_frame("Claims at smoke scale")


def test_what_can_be_set_opens_in_the_page(report):
    category(report, "reference")
    report.wait("document.querySelector('#app nav table a')")
    report.evaluate("document.querySelector('#app nav table a').click()")
    report.wait_for_frame("What can be set, is measured and is drawn")


@pytest.mark.parametrize("study", SMOKE.studies)
def test_a_study_shows_its_notebook_and_a_figure_with_what_it_measured(report, finished, study):
    category(report, study)
    click(report, "notebook", 0)
    report.wait_for_frame("What replicates")
    # Formulas are no TeX that waits for a program from the network.
    page = (finished.folder / f"results/notebooks/{study}.html").read_text()
    assert page.count("<math") > 10 and "$$" not in page

    name = jobs.drawn(SMOKE, study)[0]
    click(report, name, 0)
    report.wait("document.querySelector('#app .h-screen > .p-3 img')?.naturalWidth > 500")
    click(report, name, 1)
    report.wait("document.querySelector('#app nav').innerText.includes('Objective')")
    caption = (finished.folder / f"results/figures/{study}/{name}.rst").read_text()
    shown = report.evaluate("document.querySelector('#app nav').innerText")
    assert " ".join(caption.split("\n\n")[0].split()) in " ".join(shown.split())


def test_a_moving_picture_opens_in_the_page(report):
    category(report, "mixup")
    click(report, "moving", 0)
    report.wait_for_frame("where the slider stops")
    assert report.errors == []


@pytest.mark.parametrize("study", SMOKE.studies)
def test_a_notebook_is_small_enough_to_be_shown_inside_a_page(finished, study):
    # Chromium leaves a frame of 2 MB empty; pictures are larger at other scales.
    assert (finished.folder / f"results/notebooks/{study}.html").stat().st_size < 1.5e6
