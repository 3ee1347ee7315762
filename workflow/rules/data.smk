rule policy:
    output:
        "results/policies/{task}.safetensors",
    log:
        "results/logs/policies/{task}.log",
    wildcard_constraints:
        task="[A-Za-z0-9_]+",
    cache: True
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        spec=spec_of("policy"),
        code=code_of("policy"),
    message:
        "Searching a policy for {wildcards.task}"
    shell:
        "collapse policy --spec {params.spec:q} --expect {params.code}"
        " --out {output:q} > {log:q} 2>&1"


rule data:
    input:
        source=lambda wildcards: data_source(wildcards.dataset),
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
        "collapse data --spec {params.spec:q} --expect {params.code} --source {input.source:q}"
        " --out {output:q} > {log:q} 2>&1"
