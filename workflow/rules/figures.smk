rule figure:
    input:
        lambda wildcards: tables_read(
            wildcards.study, checked("figure", wildcards)["experiments"]
        ),
    output:
        pdf="results/figures/{study}/{figure}.pdf",
        png=report(
            "results/figures/{study}/{figure}.png",
            caption="../report/figure.rst",
            category="{study}",
            labels={"figure": "{figure}"},
        ),
        csv="results/figures/{study}/{figure}.csv",
    log:
        "results/logs/figures/{study}/{figure}.log",
    cache: True
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        spec=spec_of("figure"),
        code=code_of("figure"),
        caption=lambda wildcards: STUDIES[wildcards.study]
        .figures[wildcards.figure]
        .caption,
        objective=lambda wildcards: STUDIES[wildcards.study].objective,
    message:
        "Drawing {wildcards.study} {wildcards.figure}"
    shell:
        "collapse figure --spec {params.spec:q} --expect {params.code}"
        " --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q}"
        " {input:q} > {log:q} 2>&1"
