rule table:
    input:
        metrics=reads("table", "metrics"),
        samples=reads("table", "samples"),
    output:
        metrics=f"{RESULTS}/{{experiment}}/metrics.parquet",
        samples=f"{RESULTS}/{{experiment}}/samples.parquet",
    log:
        f"{RESULTS}/logs/{{experiment}}/table.log",
    wildcard_constraints:
        experiment=all_but(lambda experiment: not by_group(experiment)),
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("table"),
        upstream=upstream_of("table"),
    message:
        "Joining what is measured of {wildcards.experiment}"
    shell:
        "collapse table --spec {log:q}.json --expect {params.digest}"
        " --metrics {output.metrics:q} --samples {output.samples:q}"
        " > {log:q} 2>&1"
