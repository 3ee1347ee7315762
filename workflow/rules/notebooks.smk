rule notebook:
    input:
        notebook=lambda wildcards: relative(f"notebooks/{wildcards.notebook}.ipynb"),
        shown=lambda wildcards: jobs.shown(wildcards.notebook, relative("")),
        claims=reads("notebook", "claims"),
        tables=reads("notebook", "tables"),
        figures=reads("notebook", "figures"),
    output:
        notebook=f"{RESULTS}/notebooks/{{notebook}}.ipynb",
        html=report(
            f"{RESULTS}/notebooks/{{notebook}}.html",
            caption="../report/notebook.rst",
            category=planned("{notebook}", "notebook"),
            labels={"figure": "notebook"},
        ),
        digest=f"{RESULTS}/notebooks/{{notebook}}.digest.json",
    log:
        f"{RESULTS}/logs/notebooks/{{notebook}}.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("notebook"),
        upstream=upstream_of("notebook"),
    message:
        "Executing the notebook of {wildcards.notebook}"
    shell:
        "collapse notebook --spec {log:q}.json --expect {params.digest}"
        " {input.notebook:q} {input.shown:q}"
        " --notebook {output.notebook:q} --html {output.html:q} > {log:q} 2>&1"
