from collapse.problems.chunks import usable_cores


rule solve:
    output:
        states="results/{study}/{experiment}/{group}/states.safetensors",
        metrics="results/{study}/{experiment}/{group}/metrics.parquet",
    log:
        "results/logs/{study}/{experiment}/{group}/solve.log",
    cache: True
    retries: 2
    conda:
        "../../envs/environment.yaml"
    threads: lambda wildcards: usable_cores(checked("solve", wildcards))
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        spec=spec_of("solve"),
        code=code_of("solve"),
    message:
        "Solving {wildcards.study} {wildcards.experiment} {wildcards.group}"
    shell:
        "collapse solve --spec {params.spec:q} --expect {params.code} --threads {threads}"
        " --states {output.states:q} --metrics {output.metrics:q} > {log:q} 2>&1"
