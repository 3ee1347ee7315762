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
        claims=reads("join_claims", "claims"),
        # Not of this run: what is shipped, to stand beside its own.
        reference=lambda wildcards: with_digests(reference_claims()),
    output:
        table=f"{RESULTS}/claims.csv",
        page=report(
            f"{RESULTS}/claims.html",
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
        reference=lambda wildcards: reference_claims(),
    message:
        "Joining the claims"
    shell:
        "collapse join_claims --spec {log:q}.json --expect {params.digest}"
        " --out {output.table:q} --page {output.page:q} --reference {params.reference:q}"
        " > {log:q} 2>&1"


rule overview:
    input:
        claims=reads("overview", "claims"),
        reference=lambda wildcards: with_digests(reference_claims()),
        speed=lambda wildcards: with_digests(benchmark_picture()),
    output:
        page=report(
            f"{RESULTS}/overview.html",
            caption="../report/overview.rst",
            category=planned("overview", "overview"),
        ),
        digest=f"{RESULTS}/overview.digest.json",
    log:
        f"{RESULTS}/logs/overview.log",
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("overview"),
        upstream=upstream_of("overview"),
        reference=lambda wildcards: reference_claims(),
        speed=lambda wildcards: [f"--speed={path}" for path in benchmark_picture()],
    message:
        "Writing the overview"
    shell:
        "collapse overview --spec {log:q}.json --expect {params.digest}"
        " --out {output.page:q} --reference {params.reference:q} {params.speed:q}"
        " > {log:q} 2>&1"
