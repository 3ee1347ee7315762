rule train:
    input:
        data=lambda wildcards: jobs.data_read(
            ATLAS, wildcards.study, wildcards.experiment
        ),
    output:
        model="results/{study}/{experiment}/{run}/model.safetensors",
        history="results/{study}/{experiment}/{run}/history.parquet",
    log:
        "results/logs/{study}/{experiment}/{run}/train.log",
    cache: True
    retries: 2
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        spec=spec_of("train"),
        code=code_of("train"),
    message:
        "Training {wildcards.study} {wildcards.experiment} {wildcards.run}"
    shell:
        "collapse train --spec {params.spec:q} --expect {params.code}"
        " --data {input.data:q} --model {output.model:q} --history {output.history:q}"
        " > {log:q} 2>&1"
