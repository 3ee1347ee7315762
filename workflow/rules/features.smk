rule features:
    input:
        data=lambda wildcards: jobs.data_read(
            ATLAS, wildcards.study, wildcards.experiment
        ),
        model="results/{study}/{experiment}/{run}/model.safetensors",
    output:
        features="results/{study}/{experiment}/{run}/features.safetensors",
        metrics="results/{study}/{experiment}/{run}/metrics.parquet",
    log:
        "results/logs/{study}/{experiment}/{run}/features.log",
    cache: True
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=60,
    params:
        spec=spec_of("features"),
        code=code_of("features"),
    message:
        "Measuring {wildcards.study} {wildcards.experiment} {wildcards.run}"
    shell:
        "collapse features --spec {params.spec:q} --expect {params.code}"
        " --data {input.data:q} --model {input.model:q}"
        " --features {output.features:q} --metrics {output.metrics:q} > {log:q} 2>&1"
