rule metrics:
    input:
        "results/{study}/{experiment}/{run}/features.safetensors",
    output:
        "results/{study}/{experiment}/{run}/metrics.parquet",
    log:
        "results/logs/{study}/{experiment}/{run}/metrics.log",
    cache: True
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        spec=spec_of("metrics"),
        code=code_of("metrics"),
    message:
        "Measuring {wildcards.study} {wildcards.experiment} {wildcards.run}"
    shell:
        "collapse metrics --spec {params.spec:q} --expect {params.code}"
        " --features {input:q} --out {output:q} > {log:q} 2>&1"


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
