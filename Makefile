# Everything a developer or CI runs. `make demo` and `make test` work on a fresh Debian 12: they
# install the system packages listed in .ci/system-packages (saying which) and a .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo
STAMP := $(VENV)/.installed

.PHONY: setup fmt lint test demo demo-ceremony bench cases faults fuzz dist long-run modules check

setup: $(STAMP)

$(STAMP): pyproject.toml .ci/system-packages
	@bash .ci/system-packages
	@echo "setup: making $(VENV) with the packages of pyproject.toml"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(STAMP)

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup
	$(BIN)/pytest -n 2 --dist loadfile

demo: setup
	@$(BIN)/python -m demo --out "$(OUT)"

# Five people make a key together, one cheats, one loses his token, a sixth comes. In out/demo-ceremony,
# or OUT=DIR.
demo-ceremony: OUT = out/demo-ceremony
demo-ceremony: setup
	@$(BIN)/python -m demo.ceremony --out "$(OUT)"

bench: setup
	$(BIN)/python -m benchmarks --out benchmarks/results.json

# The token suite on every PKCS#11 module that Debian has for it, and how it went on each.
modules: setup
	CI=true $(BIN)/python -m pytest tests/token_suite -n 2 --dist loadfile \
	  -p tests.modules.count --module-results modules/results.json

# The long form of the fault tests: crashes, rolled-back folders, thousands of requests. Minutes.
faults: setup
	$(BIN)/python -m tests.faults --out faults/results.json

# Ten minutes of coverage-guided fuzzing of the parsers, and schemathesis on the agent's API.
FUZZ_SECONDS ?= 600
fuzz: setup
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# One line for each bad input that a test tries: its number, what it is, the test.
cases: setup
	@$(BIN)/pytest --cases --quiet --no-header --collect-only | grep -E '^[A-Z][0-9]+ '

# Wheel and sdist in dist/: the same bytes from the same commit, whoever builds them.
dist: setup
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m hatchling build --clean --directory dist

# Half an hour of five agents whose tokens misbehave, from a seed: LONG_RUN_SECONDS, LONG_RUN_SEED.
LONG_RUN_SECONDS ?= 1800
LONG_RUN_SEED ?= 1
long-run: setup
	$(BIN)/python -m tests.plugin.long_run --seconds $(LONG_RUN_SECONDS) --seed $(LONG_RUN_SEED)

check: lint test
