# One rule for each verb of a closed list, from which a procedure chooses: a new procedure is cached
# and goes to a cluster as these do.
COMPUTING = {"solve": "Solving", "train": "Training", "compute": "Computing"}


for verb in VERBS:

    rule:
        name:
            verb
        input:
            data=reads("compute", "data"),
            references=reads("compute", "references"),
        output:
            states=f"{RESULTS}/{{experiment}}/{{group}}/states.safetensors",
            history=f"{RESULTS}/{{experiment}}/{{group}}/history.parquet",
        log:
            f"{RESULTS}/logs/{{experiment}}/{{group}}/{verb}.log",
        wildcard_constraints:
            # The last verb takes what no other does, names of no experiment among it. The default
            # argument keeps this turn's verb; the bare name would be the last one by then.
            experiment=(
                all_but(lambda experiment: experiment.verb != VERBS[-1])
                if verb == VERBS[-1]
                else experiments(lambda experiment, verb=verb: experiment.verb == verb)
            ),
        cache: True
        retries: RETRIES
        conda:
            ENVIRONMENT
        threads: computing("cores")
        resources:
            gpu=computing("gpus"),
            # For clusters that hand GPUs out so: a profile sets it, and gpu to 0.
            gres="",
            mem_mb=computing("memory"),
            runtime=computing("minutes"),
            attempt=attempted,
        params:
            digest=digest_of("compute"),
            upstream=upstream_of("compute"),
        message:
            f"{COMPUTING[verb]} {{wildcards.experiment}} {{wildcards.group}}"
        shell:
            "collapse compute --spec {log:q}.json --expect {params.digest}"
            " --attempt {resources.attempt}"
            " --threads {threads} --gpus {resources.gpu} --gres={resources.gres:q}"
            " --states {output.states:q} --history {output.history:q} > {log:q} 2>&1"
