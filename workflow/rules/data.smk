rule policy:
    output:
        f"{RESULTS}/policies/{{task}}.safetensors",
    log:
        f"{RESULTS}/logs/policies/{{task}}.log",
    wildcard_constraints:
        task="[A-Za-z0-9_]+",
    cache: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        digest=digest_of("policy"),
    message:
        "Searching a policy for {wildcards.task}"
    shell:
        "collapse policy --spec {log:q}.json --expect {params.digest}"
        " --out {output:q} > {log:q} 2>&1"


rule data:
    input:
        source=lambda wildcards: or_refuse(
            jobs.source, ATLAS, wildcards.dataset, relative("")
        ),
    output:
        f"{RESULTS}/data/{{dataset}}.safetensors",
    log:
        f"{RESULTS}/logs/data/{{dataset}}.log",
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        digest=digest_of("data"),
    message:
        "Fetching {wildcards.dataset}"
    shell:
        "collapse data --spec {log:q}.json --expect {params.digest} --source {input.source:q}"
        " --out {output:q} > {log:q} 2>&1"
