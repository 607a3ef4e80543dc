# `make` alone prints the targets; each says what it does after its two hashes.
# PYTHON=python3.12 picks the interpreter, TORCH_INDEX=URL the index that torch comes from, ARGS="…" goes to the command,
# EXTRAS=dev,otel,silero says which of pyproject.toml's extras are installed, WORKERS=N how many processes run the tests.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
ARGS ?=
EXTRAS ?= dev,otel,silero
WORKERS ?= auto

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TOOLS := .tools
PAGE := app/web/static/index.html
PAGE_SOURCES := $(shell [ -d web ] && find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*')
# The page is optional: without its sources or without npm the service runs all the same and says so at `/`.
HAVE_PAGE := $(if $(wildcard web/package.json),$(shell command -v npm 2>/dev/null))

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-14s %s\n", $$1, $$2 }'

# ---- run it

.PHONY: install
install: $(INSTALLED) ## make .venv and install the project and its tools, exact versions (TORCH_INDEX=URL for torch's index)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; name one: make PYTHON=python3.12 …")'
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@[ -z "$(TORCH_INDEX)" ] || $(BIN)/pip install -qq --disable-pip-version-check --no-deps --index-url "$(TORCH_INDEX)" -c constraints.txt torch
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

.PHONY: page
page: $(if $(HAVE_PAGE),$(PAGE)) ## build the web page (nothing to do without npm)

$(PAGE): $(PAGE_SOURCES)
	@echo "building the page …"
	@if npm --prefix web ci --silent --no-audit --no-fund && npm --prefix web run --silent build; then touch $@; \
	else echo "the page could not be built; the service runs without it"; fi

.PHONY: page-types
page-types: install ## make the page's types of the service's documents anew, from its OpenAPI description
	@$(BIN)/python -c 'import json; from app.config import Settings; from app.main import create_app; print(json.dumps(create_app(Settings(model="unused")).openapi()))' > web/openapi.json
	@npm --prefix web run --silent types

.PHONY: run
run: install page ## serve on 127.0.0.1:8000; gets the model at first start, else starts with Silero VAD (ARGS="--port 9000 …")
	@grep -qs '^VAD_FALLBACK_MODEL=' .env || export VAD_FALLBACK_MODEL="$${VAD_FALLBACK_MODEL-silero}"; \
	exec $(BIN)/fsmn-vad serve $(ARGS)

# ---- work on it

# At most four processes, because each holds torch; a file's tests stay together, because they share servers; the long
# files go first (tests/conftest.py).
PYTEST := $(BIN)/pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: install ## run the tests but for those of test-full (ARGS="-k endpoint -x")
	@$(PYTEST) -m "not full" $(ARGS)

.PHONY: test-quick
test-quick: install ## run those that take no time, for the inner loop
	@$(PYTEST) -m "not full and not slow" $(ARGS)

.PHONY: test-full
test-full: install page ## run what test leaves out: the page and its parts, storms, peers, Ray and S3, nginx, promtool
	@[ ! -d web/node_modules ] || npm --prefix web run --silent test
	@$(BIN)/pytest -m full $(ARGS)

.PHONY: check
check: install ## lint, formatting, types, import direction; the page's too, where its tools are (make page)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@[ ! -d web/node_modules ] || npm --prefix web run --silent check

.PHONY: format
format: install ## put every file into the project's form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@[ ! -d web/node_modules ] || npm --prefix web run --silent format

# ---- measure it

.PHONY: bench
bench: install ## measure beside the peers, an hour (ARGS="--quick", "--only wav"; VAD_PEERS=DIR: their environment)
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-peers
bench-peers: ## build the peers' environment in .peers (about 2 GB)
	@PYTHON=$(PYTHON) TORCH_INDEX=$(TORCH_INDEX) sh benchmarks/peers/setup.sh .peers

.PHONY: docs
docs: install ## make docs/api.md and docs/options.md from a running service (needs the reference data)
	@$(BIN)/python docs/make_docs.py

.PHONY: soak
soak: install ## load with faults for minutes, then an account (ARGS="--model DIR --seconds 600")
	@$(BIN)/python -m tests.soak.soak $(ARGS)

.PHONY: fuzz
fuzz: install ## fuzz the decoders for long (EXAMPLES=20000)
	@VAD_FUZZ_EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/pytest tests/fuzz $(ARGS)

# ---- release it

$(TOOLS)/bin/pip:
	@$(PYTHON) -m venv $(TOOLS)

.PHONY: audit
audit: install $(TOOLS)/bin/pip ## look up known vulnerabilities of everything installed
	@$(TOOLS)/bin/pip install -qq --disable-pip-version-check pip-audit
	@$(TOOLS)/bin/pip-audit --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" --skip-editable $(ARGS)

.PHONY: sbom
sbom: install $(TOOLS)/bin/pip ## write dist/sbom.cdx.json (CycloneDX) of everything installed
	@$(TOOLS)/bin/pip install -qq --disable-pip-version-check cyclonedx-bom
	@mkdir -p dist
	@$(TOOLS)/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible -o dist/sbom.cdx.json
	@echo "dist/sbom.cdx.json"

.PHONY: release-check
release-check: check test test-full ## what must hold before a tag: one version, changelog, wheel and sdist that run
	@PYTHON=$(PYTHON) TOOLS=$(TOOLS) bash tests/install/release_check.sh

.PHONY: clean
clean: ## remove everything that was built, .venv too; models stay
	rm -rf $(VENV) $(TOOLS) dist build app/web/static web/node_modules web/dist artifacts
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find app tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
