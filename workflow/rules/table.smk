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
        "../../envs/environment.yaml"
    params:
        spec=spec_of("table", f"{RESULTS}/logs/{{experiment}}/table.log"),
        digest=digest_of("table"),
    message:
        "Joining what is measured of {wildcards.experiment}"
    shell:
        "collapse table --spec {params.spec:q} --expect {params.digest}"
        " --metrics {input.metrics:q} --samples {input.samples:q}"
        " --joined-metrics {output.metrics:q} --joined-samples {output.samples:q}"
        " > {log:q} 2>&1"
