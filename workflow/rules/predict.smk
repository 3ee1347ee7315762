rule predictions:
    input:
        data=lambda wildcards: jobs.data_read(
            ATLAS, wildcards.study, wildcards.experiment
        ),
    output:
        "results/{study}/{experiment}/predictions.parquet",
    log:
        "results/logs/{study}/{experiment}/predictions.log",
    cache: True
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        spec=spec_of("predictions"),
        code=code_of("predictions"),
        data=lambda wildcards, input: f"--data {input.data}" if input.data else "",
    message:
        "Predicting {wildcards.study} {wildcards.experiment}"
    shell:
        "collapse predictions --spec {params.spec:q} --expect {params.code}"
        " {params.data} --out {output:q} > {log:q} 2>&1"
