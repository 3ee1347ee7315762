# `make` replicates every study at the default scale; `make test` runs the tests, `make test-full`
# those too that inject hundreds of faults or need a SLURM cluster, which it installs as root on
# Debian; `make bench` times the engine against the textbook ways, anew each time.
PYTHON ?= python3
BIN := .venv/bin
SCALE ?= laptop

# A virtual environment holds its own path: one that was moved is set up anew.
MOVED := $(shell [ ! -e .venv/installed ] || pwd -P | cmp -s - .venv/installed || echo moved)

.PHONY: all report bench test test-full slurm lint format lock $(if $(MOVED),.venv/installed)

all: .venv/installed
	$(BIN)/snakemake --config scale=$(SCALE)

report: all
	$(BIN)/snakemake --config scale=$(SCALE) --report report.html \
		--report-stylesheet workflow/report/style.css

bench: .venv/installed
	$(BIN)/snakemake --forcerun benchmark -- benchmarks

.venv/installed: envs/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "make: $(PYTHON) is not Python 3.11 to 3.13; name one with \`make PYTHON=...\`" >&2; exit 2; }
	$(if $(MOVED),rm -rf .venv)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@pwd -P > $@

test: .venv/installed lint
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(FAULTS)

# All faults, not the sample of `test`. The cluster has the machine for itself: its tests wait for
# jobs, and jobs for cores.
test-full: FAULTS := --faults
test-full: slurm test
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --slurm -m slurm

slurm:
	@tests/install_slurm.sh

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow/rules

# Needs uv. The file holds no address, so that it installs from any index.
lock:
	uv pip compile pyproject.toml --all-extras --universal --fork-strategy fewest --generate-hashes \
		--no-header --quiet --output-file envs/requirements.txt
