BENCHMARK_TABLES = {
    "speed": "results/benchmarks.csv",
    "scaling": "results/benchmarks/scaling.csv",
    "precision": "results/benchmarks/precision.csv",
}


rule benchmarks:
    input:
        multiext("results/figures/benchmarks/speed", ".pdf", ".png", ".csv"),
        multiext("results/figures/benchmarks/scaling", ".pdf", ".png", ".csv"),


rule precision:
    input:
        multiext("results/figures/benchmarks/precision", ".pdf", ".png", ".csv"),


# Timings are no function of code and config: never cached, and nothing may run beside them.
rule benchmark:
    output:
        table=BENCHMARK_TABLES["speed"],
        scaling=BENCHMARK_TABLES["scaling"],
    log:
        "results/logs/benchmarks/benchmark.log",
    conda:
        "../../envs/environment.yaml"
    threads: lambda wildcards: workflow.cores
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=60,
    params:
        spec=canonical_json({}),
        code=lambda wildcards: stage_digest("benchmark", {}),
    message:
        "Timing the engine against the textbook ways"
    # Alone on the machine, threads may spin while they wait.
    shell:
        "env -u OMP_WAIT_POLICY collapse benchmark --spec {params.spec:q} --expect {params.code}"
        " --out {output.table:q} --scaling {output.scaling:q} 2>&1 | tee {log:q}"


rule benchmark_precision:
    input:
        "results/data/fashion_mnist.safetensors",
    output:
        BENCHMARK_TABLES["precision"],
    log:
        "results/logs/benchmarks/precision.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=240,
    params:
        spec=canonical_json({}),
        code=lambda wildcards: stage_digest("benchmark_precision", {}),
    message:
        "Training at several precisions"
    shell:
        "collapse benchmark_precision --spec {params.spec:q} --expect {params.code}"
        " --data {input:q} --out {output:q} 2>&1 | tee {log:q}"


rule benchmark_figure:
    input:
        lambda wildcards: BENCHMARK_TABLES[wildcards.figure],
    output:
        pdf="results/figures/benchmarks/{figure}.pdf",
        png="results/figures/benchmarks/{figure}.png",
        csv="results/figures/benchmarks/{figure}.csv",
    log:
        "results/logs/figures/benchmarks/{figure}.log",
    wildcard_constraints:
        figure="|".join(BENCHMARK_TABLES),
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        spec=lambda wildcards: canonical_json({"figure": wildcards.figure}),
        code=lambda wildcards: stage_digest(
            "benchmark_figure", {"figure": wildcards.figure}
        ),
    message:
        "Drawing the benchmark's {wildcards.figure}"
    shell:
        "collapse benchmark_figure --spec {params.spec:q} --expect {params.code}"
        " --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q}"
        " {input:q} > {log:q} 2>&1"
