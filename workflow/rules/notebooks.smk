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
        spec=spec_of("notebook"),
        code=code_of("notebook"),
    message:
        "Executing the notebook of {wildcards.study}"
    shell:
        "collapse notebook --spec {params.spec:q} --expect {params.code}"
        " {input.notebook:q} --notebook {output.notebook:q} --html {output.html:q}"
        " > {log:q} 2>&1"
