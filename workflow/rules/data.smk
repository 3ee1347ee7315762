rule data:
    output:
        "results/data/{dataset}.safetensors",
    log:
        "results/logs/data/{dataset}.log",
    cache: True
    localrule: True
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        spec=spec_of("data"),
        code=code_of("data"),
    message:
        "Fetching {wildcards.dataset}"
    shell:
        "collapse data --spec {params.spec:q} --expect {params.code}"
        " --out {output:q} > {log:q} 2>&1"
