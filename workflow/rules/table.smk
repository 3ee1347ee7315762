rule table:
    input:
        unit_metrics,
    output:
        "results/{study}/{experiment}/metrics.parquet",
    log:
        "results/logs/{study}/{experiment}/table.log",
    cache: True
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        spec=spec_of("table"),
        code=code_of("table"),
    message:
        "Joining the metrics of {wildcards.study} {wildcards.experiment}"
    shell:
        "collapse table --spec {params.spec:q} --expect {params.code}"
        " --out {output:q} {input:q} > {log:q} 2>&1"
