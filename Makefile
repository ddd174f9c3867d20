# hubflight: every target sets up what it needs. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Only used to make the virtual environment; everything else runs inside it.
PYTHON ?= python3
VENV := .venv
PY := $(CURDIR)/$(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check -c pyclient/constraints.txt
BINARY := $(CURDIR)/bin/hubflight

# Two packages of Go tests at a time, as many as the smallest machine has cores: race-instrumented tests are hungry.
GO_TEST_FLAGS ?= -race -timeout 15m
PYTEST_FLAGS ?=
# Tests that take minutes are begun first, so that at the end no core waits for one of them.
LONGEST := ./source/scan ./writer/writertest ./source/dataset ./flightsrv

# A user's own Hub must never be touched by a test or a demo: both bring their own.
unexport $(filter HF_% HUGGING% TRANSFORMERS_OFFLINE $(addprefix HUBFLIGHT_,SERVER% AUTH_% HUB_% LOCAL_% PLAN_% SCAN_% MEMORY_% CACHE_% \
  WRITE_% LOG_% TLS_% EMBEDDED_% SHARED_MEMORY),$(.VARIABLES))
export HF_HUB_DISABLE_TELEMETRY := 1
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## list the targets
	@bold=; plain=; if [ -t 1 ]; then bold=$$'\e[1m'; plain=$$'\e[0m'; fi; \
	awk -v "bold=$$bold" -v "plain=$$plain" 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %s%-17s%s %s\n", bold, $$1, plain, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build data venv ## the main job end to end, on real data, with real Spark: no account, no internet beyond the package registries
	@$(PY) -m benchmarks.demo --hubflight $(BINARY) --goclient bin/demo-goclient --data demo-data

.PHONY: test
test: build data venv ## the whole test suite: Go with -race, then pytest against the real server with real PySpark
	@status=0; \
	export HUBFLIGHT_PYTHON=$(PY) HUBFLIGHT_BINARY=$(BINARY); \
	echo "== go test $(GO_TEST_FLAGS) ./..."; \
	go test $(GO_TEST_FLAGS) $(LONGEST) ./... || status=1; \
	[ -d ../shared/corpora ] || echo "== skipped: tests that read published Parquet and IPC files, for which ../shared/corpora is missing"; \
	echo "== pytest pyclient benchmarks"; \
	(cd pyclient && $(PY) -m pytest $(PYTEST_FLAGS) tests) || status=1; \
	(cd benchmarks && $(PY) -m pytest $(PYTEST_FLAGS) tests) || status=1; \
	if [ $$status = 0 ]; then echo "== all tests passed"; else echo "== some tests FAILED: see above"; fi; \
	exit $$status

# Node is no part of the project's needs: this is for the machine that runs the nightly checks, and for whoever changes the embedded Hub.
.PHONY: test-npm
test-npm: build ## the official JavaScript client against the embedded Hub; needs Node 20 or newer and npm
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "make test-npm needs Node 20 or newer (https://nodejs.org) and npm"; exit 1; }
	@rm -rf .cache/npm && mkdir -p .cache/npm && cp pyclient/tests/npm/package.json pyclient/tests/npm/hub.test.mjs .cache/npm/
	@cd .cache/npm && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --silent
	@cd .cache/npm && HUBFLIGHT_BINARY=$(BINARY) node --test hub.test.mjs

# nightly: what CI runs with reduced counts, in full. Seeds go on from HUBFLIGHT_ORACLE_FIRST, so that every night can be another one.
ORACLE_CASES ?= 60000
.PHONY: nightly-exact
nightly-exact: venv ## the scan against pyarrow, Spark, DuckDB and Polars with full counts (ORACLE_CASES=)
	@HUBFLIGHT_PYTHON=$(PY) HUBFLIGHT_ORACLE_CASES=$(ORACLE_CASES) go test -timeout 4h -run 'Pyarrow|Spark|Foreign|Skip' -v ./source/scan | grep -Ev '^ *(=== RUN|--- PASS)'

.PHONY: nightly-memory
nightly-memory: venv ## a row group of 2 GiB of Arrow streams in the memory of a small one; released columns are overwritten under many readers
	@HUBFLIGHT_ROWGROUP_MIB=2048 go test -timeout 1h -run MemoryIsFlat -v ./source/scan
	@HUBFLIGHT_PYTHON=$(PY) HUBFLIGHT_POISON=50 go test -timeout 2h -run 'Overwritten|Stalled' ./flightsrv

# FUZZ_TIME is how long each parser of what comes in files is fuzzed.
FUZZ_TIME ?= 15m

# MUTATIONS files are damaged, each night others; MUTATION_FIRST, which is printed, repeats a night.
MUTATIONS ?= 1000000
MUTATION_FIRST ?= $(shell expr $$(date +%s) / 86400 \* $(MUTATIONS))
.PHONY: nightly-column
nightly-column: ## the page decoder: many generated files, a million damaged chunks, and an hour of fuzzing (MUTATIONS= MUTATION_FIRST=)
	@echo "== mutations from $(MUTATION_FIRST) on"
	@HUBFLIGHT_COLUMN_CASES=5000 HUBFLIGHT_MUTATIONS=$(MUTATIONS) HUBFLIGHT_MUTATION_FIRST=$(MUTATION_FIRST) go test -timeout 8h ./source/scan/column
	@go test -run FuzzChunk -fuzz FuzzChunk -fuzztime 1h -fuzzminimizetime 10x ./source/scan/column

# Making an input of many KB smaller would take all the time, because goroutines make no two runs cover the same.
.PHONY: nightly-mutations
nightly-mutations: ## a million damaged files, and fuzzing of files, footers and snappy's blocks (MUTATIONS= MUTATION_FIRST= FUZZ_TIME=)
	@echo "== mutations from $(MUTATION_FIRST) on"
	@HUBFLIGHT_MUTATION_CAMPAIGN=$(MUTATIONS) HUBFLIGHT_MUTATION_FIRST=$(MUTATION_FIRST) \
	  go test -timeout 24h -run '^TestMutationCampaign$$' -v ./source/scan
	@for target in FuzzFile FuzzFooter; do \
	  go test -run "^$$target\$$" -fuzz "^$$target\$$" -fuzztime $(FUZZ_TIME) -fuzzminimizetime 10x ./source/scan || exit 1; done
	@go test -run '^FuzzDecode$$' -fuzz '^FuzzDecode$$' -fuzztime $(FUZZ_TIME) ./source/scan/snappy

.PHONY: nightly-hub
nightly-hub: venv ## listings of a million files, 200,000 damaged answers, 5,000 repositories against the datasets library, the JavaScript client
	@HUBFLIGHT_ANSWERS=200000 go test -timeout 2h -run DamagedAnswer -v ./source/hub | grep -Ev '^ *(=== |--- PASS)'
	@HUBFLIGHT_ENTRIES=1000000 go test -timeout 1h -run 'AMillion|BeyondTheBound' -v ./source/dataset | grep -Ev '^ *(=== |--- PASS)'
	@HUBFLIGHT_PYTHON=$(PY) HUBFLIGHT_DIFFERENTIAL=5000 go test -timeout 2h -run DatasetsLibrary -v ./source/dataset | grep -Ev '^ *(=== |--- PASS)'
	@$(MAKE) test-npm

.PHONY: nightly-prune
nightly-prune: ## queries with every layer of pruning off and on, streams cut and resumed in every way, and the parsers of indexes, bloom filters and dictionaries (FUZZ_TIME=)
	@HUBFLIGHT_PRUNING_FILES=2000 HUBFLIGHT_COMBINED_FILES=500 go test -timeout 4h -run 'NoLayerLeavesOut|NoCombination|Trap' ./source/scan
	@for target in FuzzOffsetIndex FuzzColumnIndex FuzzBloomFilter FuzzDictionaryPredicate; do \
	  go test -run "^$$target\$$" -fuzz "^$$target\$$" -fuzztime $(FUZZ_TIME) ./source/scan || exit 1; done

# The write protocol: KILLS is how many times a server is killed, each time at another step.
KILLS ?= 1800
.PHONY: nightly-kill
nightly-kill: ## servers that look for races, killed at every step of a write (KILLS=)
	@HUBFLIGHT_KILLS=$(KILLS) go test -race -timeout 4h -run KilledAnywhere -v ./cmd/hubflight | grep -Ev '^ *(=== |--- PASS)'

.PHONY: nightly-race
nightly-race: venv ## the Python clients with servers that look for races
	@go build -race -trimpath -o bin/race/hubflight ./cmd/hubflight
	@cd pyclient && HUBFLIGHT_BINARY=$(CURDIR)/bin/race/hubflight $(PY) -m pytest -q $(PYTEST_FLAGS) tests

.PHONY: nightly-write
nightly-write: venv ## write jobs that race, fail and are continued, with full counts; jobs of 10,000 files; what the datasets library makes of them
	@HUBFLIGHT_PYTHON=$(PY) HUBFLIGHT_WRITE=full go test -timeout 4h -v ./writer/writertest ./writer/localsink | grep -Ev '^ *(=== |--- PASS)'

.PHONY: nightly-encoder
nightly-encoder: venv ## the Parquet encoder: many made tables, read back by every reader, and fuzzing (FUZZ_TIME=)
	@HUBFLIGHT_PYTHON=$(PY) HUBFLIGHT_ENCODER_CASES=5000 go test -timeout 4h ./writer/parquetfile
	@go test -run '^FuzzWrite$$' -fuzz '^FuzzWrite$$' -fuzztime $(FUZZ_TIME) ./writer/parquetfile

# The suite runs with the PySpark of constraints.txt; here are the others, and a cluster.
SPARK_VERSIONS ?= 3.5.9 4.0.1 4.1.1
.PHONY: nightly-spark
nightly-spark: build venv ## Spark 3.5, 4.0 and 4.1, a standalone cluster of two workers, a small bench-spark (SPARK_VERSIONS=)
	@status=0; export HUBFLIGHT_BINARY=$(BINARY) PYTHONPATH=$(CURDIR)/pyclient/src; \
	for version in $(SPARK_VERSIONS); do \
	  home=$(CURDIR)/.cache/spark-$$version; \
	  if [ ! -f $$home/.ready ]; then \
	    $(PYTHON) -m venv --clear $$home; \
	    $$home/bin/python -m pip install --quiet --disable-pip-version-check \
	      pyspark==$$version 'pyarrow<23' 'pandas<3' setuptools huggingface_hub pytest tqdm; \
	    touch $$home/.ready; \
	  fi; \
	  tests="tests/test_spark_functions.py"; \
	  case $$version in 3.*) ;; *) tests="$$tests tests/test_spark_read.py tests/test_spark_write.py";; esac; \
	  echo "== Spark $$version: $$tests"; \
	  (cd pyclient && $$home/bin/python -m pytest -q -p no:cacheprovider $$tests) || status=1; \
	done; \
	echo "== a cluster, Spark of constraints.txt"; \
	(cd pyclient && HUBFLIGHT_SPARK_CLUSTER=1 $(PY) -m pytest -q tests/test_spark_cluster.py) || status=1; \
	echo "== bench-spark, small"; \
	(cd benchmarks && HUBFLIGHT_SPARK_CLUSTER=1 $(PY) -m pytest -q tests/test_spark_benchmark.py) || status=1; \
	exit $$status

# Settings of the benchmarks: fewer rounds, fewer rows, fewer repositories or files for a first look; with less than 9 rounds a verdict is only a hint.
ROUNDS ?= 9
SCALE ?= 1
REPOSITORIES ?= flights-small,chat-small,flights-large,chat-large
BENCH_FLAGS ?=

.PHONY: bench-hub
bench-hub: build venv ## reading from a Hub at 0 and 30 ms beside pyarrow, Polars, datasets and a plain download (ROUNDS= SCALE= REPOSITORIES=)
	@go build -trimpath -o bin/netdelay ./benchmarks/netdelay
	@$(PY) -m benchmarks.hub --hubflight $(BINARY) --netdelay bin/netdelay --cache .cache/bench-hub --results benchmarks/results \
	  --rounds $(ROUNDS) --scale $(SCALE) --repositories $(REPOSITORIES) $(BENCH_FLAGS)

SPARK_REPOSITORIES ?= flights-small,chat-small

.PHONY: bench-spark
bench-spark: build venv ## reading and writing with Spark at 0 and 30 ms beside pyspark_huggingface, local Parquet and ready batches (ROUNDS= SCALE= SPARK_REPOSITORIES=)
	@go build -trimpath -o bin/netdelay ./benchmarks/netdelay
	@$(PY) -m benchmarks.spark --hubflight $(BINARY) --netdelay bin/netdelay --cache .cache/bench-hub --results benchmarks/results \
	  --rounds $(ROUNDS) --scale $(SCALE) --repositories $(SPARK_REPOSITORIES) $(BENCH_FLAGS)

DATASETS ?= flights,flat,text,paged,chat,images,onepage

.PHONY: bench-scan
bench-scan: build venv ## scanning Parquet files beside pyarrow, pqarrow, DuckDB and Polars: time, CPU, memory (ROUNDS= SCALE= DATASETS=)
	@go build -trimpath -o bin/scanreader ./benchmarks/scan/reader
	@go build -trimpath -o bin/netdelay ./benchmarks/netdelay
	@$(PY) -m benchmarks.scan --reader bin/scanreader --hubflight $(BINARY) --netdelay bin/netdelay --cache .cache/bench-scan --results benchmarks/results \
	  --rounds $(ROUNDS) --scale $(SCALE) --datasets $(DATASETS) $(BENCH_FLAGS)

SHAPES ?= flights,chat

.PHONY: bench-write
bench-write: build venv ## writing to a Hub beside pyarrow with huggingface_hub: time, CPU, memory, requests (ROUNDS= SCALE= SHAPES=)
	@$(PY) -m benchmarks.write --hubflight $(BINARY) --cache .cache/bench-write --results benchmarks/results \
	  --rounds $(ROUNDS) --scale $(SCALE) --shapes $(SHAPES) $(BENCH_FLAGS)

.PHONY: wheel
wheel: build venv ## the Python wheels with the program inside, for Linux, macOS and Windows, in pyclient/dist (PLATFORMS=host for this machine's)
	@$(PY) pyclient/build_wheels.py --out pyclient/dist $(PLATFORMS)

.PHONY: nightly-wheels
nightly-wheels: wheel ## the wheels of all platforms, and whether each holds a program of its platform; vet for each system
	@HUBFLIGHT_WHEELS=$(CURDIR)/pyclient/dist HUBFLIGHT_BINARY=$(BINARY) $(PY) -m pytest -q pyclient/tests/test_wheel.py
	@for system in darwin windows; do CGO_ENABLED=0 GOOS=$$system go vet $$(go list ./... | grep -v /benchmarks/) || exit 1; done

.PHONY: lint
lint: venv ## go vet, golangci-lint, gofmt; ruff and mypy (strict)
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool -modfile=.ci/lint.mod golangci-lint run ./...
	cd pyclient && $(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy
	cd benchmarks && $(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

.PHONY: format
format: venv ## rewrite the sources the way lint wants them
	gofmt -w $$(git ls-files '*.go')
	cd pyclient && $(PY) -m ruff format . && $(PY) -m ruff check --fix .
	cd benchmarks && $(PY) -m ruff format . && $(PY) -m ruff check --fix .

.PHONY: build
build: tools ## the server (bin/hubflight) and the demo's Go client
	@go build -trimpath -o bin/ ./cmd/hubflight
	@go build -trimpath -o bin/demo-goclient ./benchmarks/demo/goclient

.PHONY: venv
venv: $(VENV)/.ready ## the Python environment in .venv, from the pinned versions

$(VENV)/.ready: pyclient/constraints.txt pyclient/pyproject.toml benchmarks/requirements.txt | tools
	@echo "making the Python environment in $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) pip setuptools wheel
	@# Without build isolation, so that what builds pyspark from its source distribution is pinned too.
	@$(PIP) --no-build-isolation -r benchmarks/requirements.txt
	@$(PIP) --no-build-isolation --no-deps -e pyclient
	@touch $@

.PHONY: data
data: demo-data/.ready ## the demo's two dataset repositories, as folders in demo-data

demo-data/.ready: $(wildcard benchmarks/data/*.py) $(VENV)/.ready
	@rm -rf demo-data && mkdir demo-data
	@$(PY) -m benchmarks.data.flights --out demo-data/flights
	@$(PY) -m benchmarks.data.instruct --out demo-data/instruct
	@touch $@

.PHONY: tools
tools:
	@command -v go >/dev/null || { echo "hubflight needs Go (https://go.dev/dl), the version of go.mod or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "hubflight needs Python 3.10 or newer: make PYTHON=/path/to/python3 …"; exit 1; }
	@command -v java >/dev/null || { echo "Spark needs Java 17 or newer on the PATH"; exit 1; }

.PHONY: clean
clean: ## remove everything that make made
	rm -rf bin $(VENV) demo-data .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
