# Bare `make` lists the targets. Every target that needs .venv makes it first (scripts/setup.sh).
PY := .venv/bin/python
BENCHMARKS = $(subst _,-,$(patsubst benchmarks/bench_%.py,bench-%,$(wildcard benchmarks/bench_*.py)))

# A caller's own Python settings must not reach the programs of .venv.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo dashboard setup programs test simulate fuzz audit faults rehearsal sam-local check format requirements clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo '  benchmarks:         $(or $(BENCHMARKS),none yet)'

demo: setup ## train a model on real digits with four workers on this machine
	.venv/bin/lambdafit train digits-mlp --workers 4
	@echo
	@echo 'Rounds and costs:     .venv/bin/lambdafit runs show latest'
	@echo 'Save the Keras model: .venv/bin/lambdafit export latest --to keras --output digits.keras'
	@echo 'Look at it:           make dashboard    (http://127.0.0.1:8501/convergence?run=latest)'

dashboard: setup ## open the dashboard on the newest run; DASHBOARD_ARGS='--port 9000 --read-only' passes through
	.venv/bin/lambdafit dashboard $(DASHBOARD_ARGS)

setup: ## find or fetch a Python, install everything into .venv
	@sh scripts/setup.sh

# SAM and checkov, each in an environment of its own, as they pin what the project pins otherwise. Not compiled ahead:
# a command of theirs imports a part of them.
programs: setup
	@UV_COMPILE_BYTECODE=0 sh scripts/setup.sh --peers .venv-sam requirements/sam.txt
	@UV_COMPILE_BYTECODE=0 sh scripts/setup.sh --peers .venv-checkov requirements/checkov.txt

# Side by side in a few processes, since tests wait much: tests/side_by_side.py shares them out. TESTS_BESIDE=0: in one.
TESTS_BESIDE ?= auto
test: programs ## run all tests; PYTEST_ARGS='-k shards -x' passes through
	$(PY) -m pytest -n $(TESTS_BESIDE) $(PYTEST_ARGS)

simulate: setup ## simulated schedules of faults, SEEDS=10000; SEED=17 replays one; MUTANTS=1: deliberate bugs, and what finds them
	PYTHONPATH=src:tests $(PY) -m simulation.explore $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) \
	    $(if $(MUTANTS),--mutants)

# The seed decides the inputs; a finding prints the arguments that repeat it.
fuzz: setup ## broken files and messages for every reader, on all processors; INPUTS=1000000, FUZZ_ARGS='--seed 1'
	PYTHONPATH=src:.:tests $(PY) -W ignore -m security.fuzz --inputs $(or $(INPUTS),100000) --jobs $$(getconf _NPROCESSORS_ONLN) $(FUZZ_ARGS)

# pip-audit in an environment of its own. Looks every pinned package up among the published vulnerabilities.
AUDITED = requirements/runtime.txt requirements/dev.txt requirements/sam.txt requirements/checkov.txt layer/requirements.txt \
    src/libraries/worker.txt
audit: setup ## known vulnerabilities of what is pinned; needs the network
	@sh scripts/setup.sh --peers .venv-audit requirements/audit.txt
	@failed=0; for lock in $(AUDITED); do echo "$$lock"; \
	    .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement "$$lock" $(AUDIT_ARGS) || failed=1; \
	done; exit $$failed

faults: setup ## SCHEDULES=200 randomised schedules of real faults on real processes; FAULTS_ARGS='--seed 7' plays one
	PYTHONPATH=src:tests:. $(PY) -m faults --schedules $(or $(SCHEDULES),200) $(FAULTS_ARGS)

rehearsal: setup ## whole runs in the stack of template.yaml, acted out on loopback; REHEARSAL_ARGS passes through
	PYTHONPATH=src:tests $(PY) -m rehearsal $(REHEARSAL_ARGS)

# `sam build` asks for python3.13 by that name, which .venv/bin has.
sam-local: programs ## every function in a container (needs Docker or its like); SAM_LOCAL_FLAGS, FUNCTIONS='Train …' pass through
	PATH="$(CURDIR)/.venv/bin:$$PATH" SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} \
	    .venv-sam/bin/sam build
	$(PY) tests/sam_local/run.py $(FUNCTIONS)

check: setup ## lint, format, types and import rules, changing nothing
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --num-workers 2
	.venv/bin/lint-imports

format: setup ## format the code and mend what ruff can mend
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench-%: setup ## run benchmarks/bench_<name>.py; BENCH_ARGS passes through
	@if [ -f 'benchmarks/requirements/$*.txt' ]; then \
	    sh scripts/setup.sh --peers 'benchmarks/.venv-$*' 'benchmarks/requirements/$*.txt'; fi
	$(PY) benchmarks/bench_$(subst -,_,$*).py $(BENCH_ARGS)

# uv keeps the pins that stand in the files: UPGRADE=--upgrade takes the newest of everything. The build backend is
# pinned with the rest, as the project is installed without build isolation.
COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make requirements'
requirements: setup ## pin requirements/*.txt again from pyproject.toml; UPGRADE=--upgrade for newer ones
	$(PY) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" | \
	    $(COMPILE) $(UPGRADE) pyproject.toml - --group dev --output-file requirements/dev.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(COMPILE) $(UPGRADE) --group pyproject.toml:light --constraint requirements/dev.txt --output-file layer/requirements.txt
	$(COMPILE) $(UPGRADE) --group pyproject.toml:worker --constraint requirements/dev.txt --output-file src/libraries/worker.txt
	$(COMPILE) $(UPGRADE) --group pyproject.toml:sam --output-file requirements/sam.txt
	$(COMPILE) $(UPGRADE) --group pyproject.toml:checkov --output-file requirements/checkov.txt
	$(COMPILE) $(UPGRADE) --group pyproject.toml:audit --output-file requirements/audit.txt
	$(COMPILE) $(UPGRADE) benchmarks/requirements/round.in --output-file benchmarks/requirements/round.txt
	$(COMPILE) $(UPGRADE) benchmarks/requirements/peers.in --constraint requirements/dev.txt \
	    --output-file benchmarks/requirements/peers.txt

clean: ## remove .venv, .python and caches; runs in .lambdafit stay
	rm -rf .venv .venv-* .python .aws-sam benchmarks/.venv-* build dist src/*.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
