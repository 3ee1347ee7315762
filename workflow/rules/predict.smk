rule predictions:
    input:
        reads("predictions", "data"),
    output:
        predictions=f"{RESULTS}/{{experiment}}/predictions.parquet",
        frames=f"{RESULTS}/{{experiment}}/frames.parquet",
    log:
        f"{RESULTS}/logs/{{experiment}}/predictions.log",
    wildcard_constraints:
        experiment=ANY,
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("predictions"),
        upstream=upstream_of("predictions"),
    message:
        "Predicting {wildcards.experiment}"
    shell:
        "collapse predictions --spec {log:q}.json --expect {params.digest}"
        " --predictions {output.predictions:q} --frames {output.frames:q} > {log:q} 2>&1"
