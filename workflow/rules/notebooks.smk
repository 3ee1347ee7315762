rule notebook:
    input:
        notebook="notebooks/{study}.ipynb",
        claims="results/claims.csv",
        tables=lambda wildcards: experiment_files(wildcards.study),
        figures=lambda wildcards: figure_files(wildcards.study),
    output:
        notebook="results/notebooks/{study}.ipynb",
        html=report(
            "results/notebooks/{study}.html",
            caption="../report/notebook.rst",
            category="{study}",
            labels={"figure": "notebook"},
        ),
    log:
        "results/logs/notebooks/{study}.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        code=code_digest("collapse.artifacts", "collapse.plotting"),
    message:
        "Executing the notebook of {wildcards.study}"
    shell:
        "( jupyter nbconvert --to notebook --execute --output-dir results/notebooks"
        " --ExecutePreprocessor.record_timing=False {input.notebook:q}"
        " && jupyter nbconvert --to html {output.notebook:q} ) > {log:q} 2>&1"
