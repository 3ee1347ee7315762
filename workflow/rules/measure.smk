# A whole experiment in one job, which writes its table.
rule measure:
    input:
        states=reads("measure", "states"),
        histories=reads("measure", "histories"),
        frames=f"{RESULTS}/{{experiment}}/frames.parquet",
        data=reads("measure", "data"),
        references=reads("measure", "references"),
    output:
        metrics=f"{RESULTS}/{{experiment}}/metrics.parquet",
        samples=f"{RESULTS}/{{experiment}}/samples.parquet",
    log:
        f"{RESULTS}/logs/{{experiment}}/measure.log",
    wildcard_constraints:
        experiment=experiments(lambda experiment: not by_group(experiment)),
    cache: True
    retries: RETRIES
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=measuring("gpus"),
        # For clusters that hand GPUs out so: a profile sets it, and gpu to 0.
        gres="",
        mem_mb=measuring("memory"),
        runtime=measuring("minutes"),
        attempt=attempted,
    params:
        digest=digest_of("measure"),
        upstream=upstream_of("measure"),
    message:
        "Measuring {wildcards.experiment}"
    shell:
        "collapse measure_runs --spec {log:q}.json --expect {params.digest}"
        " --attempt {resources.attempt}"
        " --gpus {resources.gpu} --gres={resources.gres:q}"
        " --metrics {output.metrics:q} --samples {output.samples:q}"
        " > {log:q} 2>&1"


rule measure_group:
    input:
        states=f"{RESULTS}/{{experiment}}/{{group}}/states.safetensors",
        history=f"{RESULTS}/{{experiment}}/{{group}}/history.parquet",
        frames=f"{RESULTS}/{{experiment}}/frames.parquet",
        data=reads("measure_group", "data"),
        references=reads("measure_group", "references"),
    output:
        metrics=f"{RESULTS}/{{experiment}}/{{group}}/metrics.parquet",
        samples=f"{RESULTS}/{{experiment}}/{{group}}/samples.parquet",
        features=f"{RESULTS}/{{experiment}}/{{group}}/features.safetensors",
    log:
        f"{RESULTS}/logs/{{experiment}}/{{group}}/measure.log",
    wildcard_constraints:
        experiment=experiments(by_group),
    cache: True
    retries: RETRIES
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=measuring("gpus"),
        # For clusters that hand GPUs out so: a profile sets it, and gpu to 0.
        gres="",
        mem_mb=measuring("memory"),
        runtime=measuring("minutes"),
        attempt=attempted,
    params:
        digest=digest_of("measure_group"),
        upstream=upstream_of("measure_group"),
    message:
        "Measuring {wildcards.experiment} {wildcards.group}"
    shell:
        "collapse measure_runs --spec {log:q}.json --expect {params.digest}"
        " --attempt {resources.attempt}"
        " --gpus {resources.gpu} --gres={resources.gres:q}"
        " --metrics {output.metrics:q} --samples {output.samples:q}"
        " --features {output.features:q} > {log:q} 2>&1"
