rule reference_page:
    output:
        page=report(
            f"{RESULTS}/reference.html",
            caption="../report/reference.rst",
            category=planned("reference", "reference_page"),
        ),
        digest=f"{RESULTS}/reference.digest.json",
    log:
        f"{RESULTS}/logs/reference.log",
    cache: True
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("reference_page"),
        upstream=upstream_of("reference_page"),
    message:
        "Writing the reference of all that is declared"
    shell:
        "collapse reference_page --spec {log:q}.json --expect {params.digest}"
        " --out {output.page:q} > {log:q} 2>&1"
