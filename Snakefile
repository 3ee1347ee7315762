from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/compute.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/table.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/reference.smk"
include: "workflow/rules/notebooks.smk"
include: "workflow/rules/benchmarks.smk"


rule all:
    default_target: True
    input:
        experiment_files(),
        figure_files(),
        moving_files(),
        notebook_files(),
        claims_files(),
        reference_files(),


for study in ATLAS.studies:

    rule:
        name:
            study
        input:
            experiment_files(study),
            figure_files(study),
            moving_files(study),
            notebook_files(study),
            claims_files(study),


report: "workflow/report/workflow.rst"
