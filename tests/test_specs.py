"""What a job is told: exactly what it reads, as a file that guards itself."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from collapse import jobs, specs
from collapse.artifacts import write_table
from collapse.config import load
from collapse.errors import InputError
from collapse.provenance import imported_modules, package_digest
from collapse.specs import Spec

MODULES = ("collapse.stages.table",)


def spec(**changes):
    code = jobs.code_digest(*MODULES)
    return Spec(
        **({"stage": "table", "modules": MODULES, "job": {"a": [1, 2]}, "code": code} | changes)
    )


@pytest.fixture(scope="module")
def atlas():
    return load("config", {"scale": "smoke"})


def test_a_spec_survives_its_file(tmp_path):
    inputs = {"tables": {"a/b.parquet": {"code": "0123", "config": "4567"}}}
    written = spec(inputs=inputs, package=package_digest())
    written.write(tmp_path / "spec.json")
    read = specs.read(tmp_path / "spec.json", "table")
    assert read == written and read.digest == written.digest
    read.check("spec.json", written.digest)
    assert json.loads((tmp_path / "spec.json").read_text())["job"] == {"a": [1, 2]}
    assert read.package == written.package == package_digest()


def test_the_code_of_inputs_does_not_enter_the_digest_and_all_else_does():
    digest = spec(inputs={"tables": {"a": {"code": "b"}}}).digest
    assert spec(inputs={"tables": {"a": {"code": "c"}}}, results="trial").digest == digest
    changes = ({"stage": "figure"}, {"job": {"a": [1, 3]}}, {"code": "other"})
    for change in (*changes, {"inputs": {"tables": {"b": {"code": "b"}}}}):
        assert spec(**({"inputs": {"tables": {"a": {"code": "b"}}}} | change)).digest != digest
    assert spec(job={"a": [1, 3]}).config != spec().config


def test_another_spec_than_planned_is_refused():
    with pytest.raises(InputError, match=r"^x.json: the spec or the code is not what .* 0123"):
        spec().check("x.json", "0123")


def test_other_code_than_planned_is_refused():
    with pytest.raises(InputError, match="the code changed since this job was planned"):
        spec(code="0123456789abcdef").check("x.json", None)


def test_code_is_parsed_only_where_a_source_of_the_package_changed(monkeypatch):
    asked = []
    monkeypatch.setattr(specs, "code_digest", lambda *modules: asked.append(modules) or "same")
    spec(code="same", package=package_digest()).check("x.json", None)
    assert not asked
    for package in ("", "another"):
        spec(code="same", package=package).check("x.json", None)
    assert asked == [MODULES] * 2
    with pytest.raises(InputError, match="the code changed since this job was planned"):
        spec(code="other", package="another").check("x.json", None)
    assert spec(package="another").digest == spec().digest


@pytest.mark.parametrize("what", ["code", "config"])
def test_inputs_of_other_code_or_config_than_planned_are_refused(tmp_path, what):
    name = "study/metrics.parquet"
    told = {"code": "same", "config": "same"}
    write_table(tmp_path / name, pd.DataFrame({"a": [1]}), told | {what: "new"})
    planned = spec(inputs={"tables": {name: told | {what: "old"}}}, results=str(tmp_path))
    with pytest.raises(InputError, match=f"metrics.parquet: made by other {what} .*old, found new"):
        planned.check_inputs()
    replace(planned, inputs={"tables": {name: told | {what: "new"}}}).check_inputs()
    with pytest.raises(InputError, match=r"elsewhere/study/metrics.parquet: no such file"):
        replace(planned, results=str(tmp_path / "elsewhere")).check_inputs()


def changed(**changes):
    whole = {"stage": "table", "code": "", "modules": [], "job": {}, "inputs": {}}
    return json.dumps(whole | {"results": "results"} | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("[1", "not JSON"),
        ("[" * 10_000, "not JSON (nested too deeply)"),
        (b"\xff", "not JSON"),
        ("[]", "not the spec of a job, its content"),
        ('{"stage": "table", "code": "a"}', "not the spec of a job, modules: Field required"),
        (changed(stage="figure"), "the spec of `collapse figure`, not of table"),
        (changed(modules=[5]), "modules.0: Input should be a valid string"),
        (changed(inputs={"tables": ["a"]}), "inputs.tables: Input should be"),
        (changed(inputs={"tables": {"a": {"code": 1}}}), "inputs.tables.a.code: Input should be"),
        (changed(job={"a": float("nan")}), "not JSON (Out of range float"),
    ],
)
def test_what_is_no_spec_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "spec.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        specs.read(path, "table")
    assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_modules_loaded_by_name_are_roots(atlas):
    group = next(iter(atlas.groups("deep_linear", "network_mlp")))
    training = jobs.compute(atlas, "deep_linear", "network_mlp", group).spec.modules
    assert {
        "collapse.procedures.network.compute",
        "collapse.models.mlp",
        "collapse.training.losses.mse",
        "collapse.training.inputs.plain",
        "collapse.training.update_rules.adam",
    } <= set(imported_modules(training))
    measuring = jobs.measure_group(atlas, "deep_linear", "network_mlp", group).spec.modules
    assert "collapse.probes.classifier" in measuring
    assert "collapse.training.update_rules.adam" not in measuring


def test_computing_is_told_nothing_of_measuring_and_the_other_way(atlas):
    group = next(iter(atlas.groups("deep_linear", "network_mlp")))
    where = "deep_linear", "network_mlp", group
    computed = jobs.compute(atlas, *where).told["config"]
    (measured,) = jobs.measure_group(atlas, *where).told["groups"]
    assert {"features", "probes"}.isdisjoint(computed) and "training" in computed
    assert "training" not in measured["config"] and "features" in measured["config"]


def test_a_metric_is_no_part_of_what_computes(atlas):
    for study, name in (("deep_linear", "direct_optimisation"), ("regression", "reacher")):
        group = next(iter(atlas.groups(study, name)))
        modules = imported_modules(jobs.compute(atlas, study, name, group).spec.modules)
        theories = {f"collapse.theory.{each}" for each in atlas.studies}
        theories |= {"collapse.theory.linear_head", "collapse.theory.direction"}
        assert "collapse.metrics.collapse" not in modules and theories.isdisjoint(modules)


def test_what_a_job_reads_names_its_makers(atlas):
    job = jobs.measure(atlas, "deep_linear", "frames")
    assert [path.rsplit("/", 1)[-1] for path in job.files("histories")] == ["history.parquet"] * 2
    planned = job.spec.inputs["frames"]["deep_linear/frames/frames.parquet"]
    maker = jobs.predictions(atlas, "deep_linear", "frames").spec
    assert planned == {"code": maker.code, "config": maker.config}
