rule figure:
    input:
        reads("figure", "tables"),
    output:
        pdf=f"{RESULTS}/figures/{{study}}/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{study}}/{{figure}}.png",
            caption="../report/figure.rst",
            category=planned("{study}", "figure"),
            labels={"figure": "{figure}"},
        ),
        csv=f"{RESULTS}/figures/{{study}}/{{figure}}.csv",
        rst=f"{RESULTS}/figures/{{study}}/{{figure}}.rst",
        digest=f"{RESULTS}/figures/{{study}}/{{figure}}.digest.json",
    log:
        f"{RESULTS}/logs/figures/{{study}}/{{figure}}.log",
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("figure"),
        upstream=upstream_of("figure"),
    message:
        "Drawing {wildcards.study} {wildcards.figure}"
    shell:
        "collapse figure --spec {log:q}.json --expect {params.digest}"
        " --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q} --rst {output.rst:q} > {log:q} 2>&1"


# The metrics of any experiment, asked for by name: no target of the whole.
rule picture:
    input:
        reads("picture", "tables"),
    output:
        pdf=f"{RESULTS}/figures/{{study}}/experiment/{{experiment}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{study}}/experiment/{{experiment}}.png",
            caption="../report/figure.rst",
            category=planned("{study}", "picture"),
            labels={"figure": "{experiment}"},
        ),
        csv=f"{RESULTS}/figures/{{study}}/experiment/{{experiment}}.csv",
        rst=f"{RESULTS}/figures/{{study}}/experiment/{{experiment}}.rst",
        digest=f"{RESULTS}/figures/{{study}}/experiment/{{experiment}}.digest.json",
    log:
        f"{RESULTS}/logs/figures/{{study}}/experiment/{{experiment}}.log",
    wildcard_constraints:
        experiment="[^/]+",
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("picture"),
        upstream=upstream_of("picture"),
    message:
        "Drawing {wildcards.study} {wildcards.experiment}"
    shell:
        "collapse picture --spec {log:q}.json --expect {params.digest}"
        " --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q} --rst {output.rst:q} > {log:q} 2>&1"


# The recorded states of one run of a study, one after the other.
rule moving:
    input:
        reads("moving", "states"),
        reads("moving", "tables"),
    output:
        page=report(
            f"{RESULTS}/moving/{{study}}.html",
            caption="../report/moving.rst",
            category=planned("{study}", "moving"),
            labels={"figure": "moving"},
        ),
        gif=f"{RESULTS}/moving/{{study}}.gif",
        digest=f"{RESULTS}/moving/{{study}}.digest.json",
    log:
        f"{RESULTS}/logs/moving/{{study}}.log",
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("moving"),
        upstream=upstream_of("moving"),
    message:
        "Moving {wildcards.study}"
    shell:
        "collapse moving --spec {log:q}.json --expect {params.digest}"
        " --page {output.page:q} --gif {output.gif:q} > {log:q} 2>&1"
