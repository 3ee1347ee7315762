rule claims:
    input:
        [
            path
            for study in ATLAS.studies
            for path in tables_read(study, STUDIES[study].claims_read)
        ],
    output:
        report(
            "results/claims.csv",
            caption="../report/claims.rst",
            category="claims",
        ),
    log:
        "results/logs/claims.log",
    cache: True
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        spec=spec_of("claims"),
        code=code_of("claims"),
    message:
        "Deciding the claims"
    shell:
        "collapse claims --spec {params.spec:q} --expect {params.code}"
        " --out {output:q} {input:q} > {log:q} 2>&1"
