rule study_claims:
    input:
        reads("claims", "tables"),
    output:
        table=f"{RESULTS}/claims/{{study}}.csv",
        digest=f"{RESULTS}/claims/{{study}}.digest.json",
    log:
        f"{RESULTS}/logs/claims/{{study}}.log",
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("claims"),
        upstream=upstream_of("claims"),
    message:
        "Deciding the claims of {wildcards.study}"
    shell:
        "collapse claims --spec {log:q}.json --expect {params.digest}"
        " --out {output.table:q} > {log:q} 2>&1"


rule claims:
    input:
        reads("join_claims", "claims"),
    output:
        table=report(
            f"{RESULTS}/claims.csv",
            caption="../report/claims.rst",
            category=planned("claims", "join_claims"),
        ),
        digest=f"{RESULTS}/claims.digest.json",
    log:
        f"{RESULTS}/logs/claims.log",
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("join_claims"),
        upstream=upstream_of("join_claims"),
    message:
        "Joining the claims"
    shell:
        "collapse join_claims --spec {log:q}.json --expect {params.digest}"
        " --out {output.table:q} > {log:q} 2>&1"
