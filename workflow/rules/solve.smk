rule solve:
    output:
        "results/{study}/{experiment}/{unit}/states.safetensors",
    log:
        "results/logs/{study}/{experiment}/{unit}/solve.log",
    cache: True
    retries: 2
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        spec=spec_of("solve"),
        code=code_of("solve"),
    message:
        "Solving {wildcards.study} {wildcards.experiment} {wildcards.unit}"
    shell:
        "collapse solve --spec {params.spec:q} --expect {params.code}"
        " --out {output:q} > {log:q} 2>&1"
