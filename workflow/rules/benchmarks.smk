BENCHMARK_TABLES = {
    "speed": f"{RESULTS}/benchmarks.csv",
    "scaling": f"{RESULTS}/benchmarks/scaling.csv",
    "precision": f"{RESULTS}/benchmarks/precision.csv",
}


rule benchmarks:
    input:
        benchmark_files("speed"),
        benchmark_files("scaling"),


rule precision:
    input:
        benchmark_files("precision"),


# Timings are no function of code and config: never cached, and nothing may run beside them.
rule benchmark:
    output:
        table=BENCHMARK_TABLES["speed"],
        scaling=BENCHMARK_TABLES["scaling"],
        digests=digests_of(BENCHMARK_TABLES["speed"], BENCHMARK_TABLES["scaling"]),
    log:
        f"{RESULTS}/logs/benchmarks/benchmark.log",
    conda:
        ENVIRONMENT
    threads: lambda wildcards: workflow.cores
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=60,
    params:
        digest=digest_of("benchmark"),
    message:
        "Timing the engine against the textbook ways"
    # Alone on the machine, threads may spin while they wait.
    shell:
        "env -u OMP_WAIT_POLICY collapse benchmark --spec {log:q}.json --expect {params.digest}"
        " --out {output.table:q} --scaling {output.scaling:q} 2>&1 | tee {log:q}"


rule benchmark_precision:
    input:
        reads("benchmark_precision", "data"),
    output:
        table=BENCHMARK_TABLES["precision"],
        digest=digests_of(BENCHMARK_TABLES["precision"]),
    log:
        f"{RESULTS}/logs/benchmarks/precision.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=240,
    params:
        digest=digest_of("benchmark_precision"),
        upstream=upstream_of("benchmark_precision"),
    message:
        "Training at several precisions"
    shell:
        "collapse benchmark_precision --spec {log:q}.json --expect {params.digest}"
        " --out {output.table:q} 2>&1 | tee {log:q}"


rule benchmark_figure:
    input:
        table=lambda wildcards: BENCHMARK_TABLES[wildcards.figure],
        digest=lambda wildcards: digests_of(BENCHMARK_TABLES[wildcards.figure]),
    output:
        pdf=f"{RESULTS}/figures/benchmarks/{{figure}}.pdf",
        png=f"{RESULTS}/figures/benchmarks/{{figure}}.png",
        csv=f"{RESULTS}/figures/benchmarks/{{figure}}.csv",
        digest=f"{RESULTS}/figures/benchmarks/{{figure}}.digest.json",
    log:
        f"{RESULTS}/logs/figures/benchmarks/{{figure}}.log",
    wildcard_constraints:
        figure="|".join(BENCHMARK_TABLES),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        digest=digest_of("benchmark_figure"),
    message:
        "Drawing the benchmark's {wildcards.figure}"
    shell:
        "collapse benchmark_figure --spec {log:q}.json --expect {params.digest}"
        " --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q}"
        " {input.table:q} > {log:q} 2>&1"
