rule notebook:
    input:
        notebook=lambda wildcards: relative(f"notebooks/{wildcards.study}.ipynb"),
        claims=f"{RESULTS}/claims/{{study}}.csv",
        tables=lambda wildcards: experiment_files(wildcards.study),
        figures=lambda wildcards: figure_files(wildcards.study),
    output:
        notebook=f"{RESULTS}/notebooks/{{study}}.ipynb",
        html=report(
            f"{RESULTS}/notebooks/{{study}}.html",
            caption="../report/notebook.rst",
            category="{study}",
            labels={"figure": "notebook"},
        ),
    log:
        f"{RESULTS}/logs/notebooks/{{study}}.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        digest=digest_of("notebook"),
    message:
        "Executing the notebook of {wildcards.study}"
    shell:
        "collapse notebook --spec {log:q}.json --expect {params.digest}"
        " {input.notebook:q}"
        " --notebook {output.notebook:q} --html {output.html:q} > {log:q} 2>&1"
