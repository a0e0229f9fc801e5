# `make demo` and `make test` work on a fresh machine with Python 3.11 or newer.

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types soak fuzz docs image wheel bench tiny clean

help:
	@echo "make demo    install, and compute the depth of an example photo"
	@echo "make test    install, and run the tests"
	@echo "make check   format, lint, check types and run the tests"
	@echo "make soak    long reliability tests (half an hour): 200 kills, 10,050 images, hostile files"
	@echo "make fuzz    feed mutated images to the reader for FUZZ_SECONDS (300); Linux only"
	@echo "make docs    generate docs/cli.md"
	@echo "make image   generate the images of the README, of the model card and of docs/report.md"
	@echo "make wheel   build the wheel into dist/"
	@echo "make bench   measurements of docs/performance.md, two hours on an idle machine"
	@echo "make tiny    train the bundled weights again from the real data in DATA=DIR (recipes/tiny/README.md)"
	@echo "make clean   remove the virtual environment and all build outputs"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-to-run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV); torch is large, and this happens only once"
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.ready-to-develop: $(VENV)/.ready-to-run
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

demo: $(VENV)/.ready-to-run
	$(BIN)/glpn predict examples/coffee.png -f color,png --legend --side-by-side -o demo/ --overwrite
	@echo "photo and depth in colors: $(CURDIR)/demo/coffee.depth-color.png"
	@echo "depth in gray levels:      $(CURDIR)/demo/coffee.depth.png"

# Hundreds of tests start a process: without bytecode, each compiles the package again.
test: export PYTHONDONTWRITEBYTECODE =
# The loader of torch forks, so its tests run in processes in which nothing else has run.
test: $(VENV)/.ready-to-develop
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal --ignore=tests/training
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal tests/training
	$(BIN)/python -m pytest -q -m "ray and not soak"

check: format lint types test

format: $(VENV)/.ready-to-develop
	$(BIN)/ruff format .

lint: $(VENV)/.ready-to-develop
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.ready-to-develop
	$(BIN)/mypy

soak: $(VENV)/.ready-to-develop
	@echo "takes half an hour on an idle machine; figures are written to build/soak/"
	$(BIN)/python -m pytest -v -m soak

FUZZ_SECONDS ?= 300

fuzz: $(VENV)/.ready-to-develop
	$(PIP_INSTALL) -e '.[fuzz]'
	mkdir -p build/fuzz
	$(BIN)/python -W ignore tests/fuzz/fuzz_reader.py -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1500 \
		-max_len=8192 -artifact_prefix=build/fuzz/crash- build/fuzz tests/fuzz/seeds

docs: $(VENV)/.ready-to-run
	$(BIN)/python tools/generate_cli.py

image: $(VENV)/.ready-to-develop
	$(BIN)/python tools/make_readme_image.py
	$(BIN)/python tools/make_report_image.py

wheel: $(VENV)/.ready-to-develop
	$(BIN)/python -m build --wheel --no-isolation

# BENCH_FLAGS=--quick tests the scripts in minutes; it writes a copy of the page to build/quick/ and not the page itself.
BENCH_FLAGS ?=

bench: $(VENV)/.ready-to-develop
	@echo "takes two hours on an idle machine with two cores; times from a busy machine are not comparable"
	$(BIN)/python benchmarks/speed.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/memory.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/whole.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/busy.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/growth.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/scale.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/gpu.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/gpu_batch.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/report.py $(BENCH_FLAGS)

# TINY_FLAGS are further options of the script, for example --short.
TINY_FLAGS ?=

tiny: $(VENV)/.ready-to-run
	$(BIN)/python recipes/tiny/train.py $(DATA) $(TINY_FLAGS)

clean:
	rm -rf $(VENV) dist build demo .mypy_cache .ruff_cache .pytest_cache
