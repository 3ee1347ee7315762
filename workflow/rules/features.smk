rule features:
    input:
        data=lambda wildcards: jobs.data_read(
            ATLAS, wildcards.study, wildcards.experiment
        ),
        model="results/{study}/{experiment}/{run}/model.safetensors",
    output:
        "results/{study}/{experiment}/{run}/features.safetensors",
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
        "Computing features of {wildcards.study} {wildcards.experiment} {wildcards.run}"
    shell:
        "collapse features --spec {params.spec:q} --expect {params.code}"
        " --data {input.data:q} --model {input.model:q} --out {output:q} > {log:q} 2>&1"
