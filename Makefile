# `make` alone prints the targets; each says what it does after its two hashes.
# PYTHON=python3.12 picks the interpreter, TORCH_INDEX=URL the index that torch comes from, ARGS="…" goes to the command,
# EXTRAS=dev,otel,silero says which of pyproject.toml's extras `make install` brings beside those that are there already,
# WORKERS=N how many processes run the tests.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
ARGS ?=
EXTRAS ?= dev,otel,silero
# What `make run` needs: a model for a machine without the hub, and the client of `fsmn-vad detect --url`.
SERVING := cli,silero
WORKERS ?= auto

# For pipefail: a failed pip must not hide behind what shows its progress.
SHELL := bash
.SHELLFLAGS := -o pipefail -c

COMMA := ,
BIN := $(VENV)/bin
# A file for each set of extras says that it was installed. `make run` is content with any.
INSTALLED := $(VENV)/.installed-$(subst $(COMMA),+,$(EXTRAS))
RUNNABLE := $(firstword $(wildcard $(VENV)/.installed-*) $(VENV)/.installed-$(subst $(COMMA),+,$(SERVING)))
TOOLS := .tools
PAGE := app/web/static/index.html
PAGE_SOURCES := app/texts/options.json $(shell [ -d web ] && find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*')
# The page is optional: without its sources or without npm the service runs all the same and says so at `/`.
HAVE_PAGE := $(if $(wildcard web/package.json),$(shell command -v npm 2>/dev/null))

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-14s %s\n", $$1, $$2 }'

# ---- run it

.PHONY: install
install: $(INSTALLED) ## make .venv and install the project and its tools, exact versions (TORCH_INDEX=URL for torch's index)

$(VENV)/.installed-%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; name one: make PYTHON=python3.12 …")'
	@[ -x $(BIN)/pip ] || { echo "making $(VENV) …"; $(PYTHON) -m venv $(VENV); }
	@[ -z "$(TORCH_INDEX)" ] || { echo "installing torch from $(TORCH_INDEX) …"; \
	  $(PIP) --no-deps --index-url "$(TORCH_INDEX)" -c constraints.txt torch $(PROGRESS); }
	@echo "installing into $(VENV), one or two minutes …"
	@$(PIP) -c constraints.txt -e '.[$(subst +,$(COMMA),$*)]' $(PROGRESS)
	@touch $@

PIP := $(BIN)/pip install --disable-pip-version-check --progress-bar off
# Of pip's hundreds of lines those about what takes long: megabytes that come, and the unpacking of all at the end.
PROGRESS := | { grep -oE --line-buffered 'Downloading [^ ]+ \([0-9.]+ [MG]B\)|Installing collected packages' || true; }

.PHONY: page
page: $(if $(HAVE_PAGE),$(PAGE)) ## build the web page (nothing to do without npm)

$(PAGE): $(PAGE_SOURCES)
	@echo "building the page …"
	@if npm --prefix web ci --silent --no-audit --no-fund && npm --prefix web run --silent build; then \
	  $(firstword $(wildcard $(BIN)/python) $(PYTHON)) web/sample.py app/web/static; touch $@; \
	else echo "the page could not be built; the service runs without it"; fi

.PHONY: page-types
page-types: install ## make the page's types of the service's documents anew, from its OpenAPI description
	@$(BIN)/python -c 'import json; from app.config import Settings; from app.main import create_app; print(json.dumps(create_app(Settings(model="unused")).openapi()))' > web/openapi.json
	@npm --prefix web run --silent types

.PHONY: run
run: $(RUNNABLE) page ## serve on 127.0.0.1:8000; gets the model at first start, else starts with Silero VAD (ARGS="--port 9000 …")
	@grep -qs '^VAD_FALLBACK_MODEL=' .env || export VAD_FALLBACK_MODEL="$${VAD_FALLBACK_MODEL-silero}"; \
	exec $(BIN)/fsmn-vad serve $(ARGS)

# ---- work on it

# At most four processes, because each holds torch; a file's tests stay together, because they share servers; the long
# files go first (tests/conftest.py). Python keeps what it compiles, whatever the environment says: pytest makes each module
# of tests anew otherwise, in every process and each time, which takes as long as all imports do.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: install ## run the tests but for those of test-full (ARGS="-k endpoint -x"; --cpu tells what each file costs)
	@$(PYTEST) -m "not full" $(ARGS)

.PHONY: node-clients
node-clients: ## install what some tests run with node (openai, @asyncapi/parser, orval, hey-api); without it they skip
	@npm --prefix tests/node ci --silent --no-audit --no-fund --ignore-scripts

.PHONY: agents
agents: ## build .agents, where tests find pipecat and LiveKit's agents (about 700 MB); without it they skip
	@$(PYTHON) -m venv .agents
	@.agents/bin/pip install -qq --disable-pip-version-check -r tests/agents.txt

.PHONY: generators
generators: ## build .generators, where tests find what makes Python clients of OpenAPI (about 230 MB); without it they skip
	@$(PYTHON) -m venv .generators
	@.generators/bin/pip install -qq --disable-pip-version-check -r tests/generators.txt

.PHONY: test-quick
test-quick: install ## run those that take no time, for the inner loop
	@$(PYTEST) -m "not full and not slow" $(ARGS)

.PHONY: test-full
test-full: install page ## run what test leaves out: the page and its parts, storms, peers, Ray and S3, nginx, promtool
	@[ ! -d web/node_modules ] || npm --prefix web run --silent test
	@$(BIN)/pytest -m full $(ARGS)

.PHONY: coverage
coverage: install ## run make test and tell how much of app/ it ran (artifacts/coverage; ARGS="tests/vad")
	@$(PYTEST) -m "not full" --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

.PHONY: golden
golden: ## make the reference data that tests use, in artifacts/golden: 2 GB, or ARGS="--audio DIR --models DIR" offline
	@PYTHON=$(PYTHON) TORCH_INDEX=$(TORCH_INDEX) $(PYTHON) tools/make_golden.py $(ARGS)

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
bench: install ## measure beside the peers, an hour (ARGS="--quick", "--only wav"; ARGS=--gate: beside the last measured commit)
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: plots
plots: install ## draw docs/figures anew from benchmarks/results (needs EXTRAS=accuracy)
	@$(BIN)/python -m benchmarks.plots

.PHONY: bench-peers
bench-peers: ## build the peers' environment in .peers (about 2 GB)
	@PYTHON=$(PYTHON) TORCH_INDEX=$(TORCH_INDEX) sh benchmarks/peers/setup.sh .peers

.PHONY: accuracy
accuracy: install ## measure accuracy on labelled audio (DATA=FOLDER, ARGS="--model silero --condition white:10")
	@[ -n "$(DATA)" ] || { echo "name a folder of audio with labels: make accuracy DATA=FOLDER (docs/accuracy.md)"; exit 2; }
	@$(MAKE) --no-print-directory install EXTRAS=accuracy
	@$(BIN)/python -m benchmarks.accuracy "$(DATA)" $(ARGS)

.PHONY: docs
docs: install ## make docs/api.md, the documents' tables and latencies from a running service (needs the reference data)
	@$(BIN)/python docs/make_docs.py
	@$(BIN)/python docs/latency.py

.PHONY: film
film: page ## draw the READMEs' moving picture anew, from the built page (needs Chromium and a Chinese font)
	@$(MAKE) --no-print-directory install EXTRAS=dev,silero,film
	@$(BIN)/python docs/make_film.py

.PHONY: site
site: ## build the documents as a site in build/site, searchable, offline; a link that leads nowhere ends it
	@$(MAKE) --no-print-directory install EXTRAS=site
	@$(BIN)/python docs/build_site.py

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
	rm -rf $(VENV) $(TOOLS) .agents .generators tests/node/node_modules dist build app/web/static web/node_modules web/dist artifacts
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find app tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
