# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types soak fuzz docs picture wheel bench tiny clean

help:
	@echo "make demo    install, and make a depth picture of a real photo"
	@echo "make test    install, and run the tests"
	@echo "make check   format, lint, types and tests"
	@echo "make soak    the proofs that take half an hour: 200 kills, 10,050 pictures, hostile files; figures in build/soak/"
	@echo "make fuzz    throw mutated pictures at the reader for FUZZ_SECONDS (300); Linux"
	@echo "make docs    write the generated pages of docs/ again"
	@echo "make picture write the picture of the README again"
	@echo "make wheel   build the wheel into dist/"
	@echo "make bench   the measurements of docs/performance.md, about an hour on an idle machine"
	@echo "make tiny    train the bundled model anew; DATA=DIR has the real pairs (docs/training.md)"
	@echo "make clean   remove the virtual environment and everything built"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-to-run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV) (torch is large; this happens once)"
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.ready-to-develop: $(VENV)/.ready-to-run
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

demo: $(VENV)/.ready-to-run
	$(BIN)/glpn predict examples/coffee.png -o demo/ --overwrite
	@echo "the photo:         $(CURDIR)/examples/coffee.png"
	@echo "its depth picture: $(CURDIR)/demo/coffee.depth.png"

test: $(VENV)/.ready-to-develop
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4

check: format lint types test

format: $(VENV)/.ready-to-develop
	$(BIN)/ruff format .

lint: $(VENV)/.ready-to-develop
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.ready-to-develop
	$(BIN)/mypy

soak: $(VENV)/.ready-to-develop
	@echo "kills, memory and hostile files; half an hour on an idle machine, figures at the end and in build/soak/"
	$(BIN)/python -m pytest -v -m soak

FUZZ_SECONDS ?= 300

fuzz: $(VENV)/.ready-to-develop
	$(PIP_INSTALL) -e '.[fuzz]'
	mkdir -p build/fuzz
	$(BIN)/python -W ignore tests/fuzz/fuzz_reader.py -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1500 \
		-max_len=8192 -artifact_prefix=build/fuzz/crash- build/fuzz tests/fuzz/seeds

docs: $(VENV)/.ready-to-run
	$(BIN)/python docs/generate_cli.py

picture: $(VENV)/.ready-to-run
	$(BIN)/python docs/make_readme_picture.py

wheel: $(VENV)/.ready-to-develop
	$(BIN)/python -m build --wheel --no-isolation

# BENCH_FLAGS=--quick tries the scripts in minutes; the page stays as it is, and a copy goes to build/quick/.
BENCH_FLAGS ?=

bench: $(VENV)/.ready-to-develop
	@echo "about an hour on an idle machine of two cores; times mean little on one that does other things too"
	$(PIP_INSTALL) openvino
	$(BIN)/python benchmarks/speed.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/memory.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/whole.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/growth.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/gpu.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/report.py $(BENCH_FLAGS)

# The real pairs, the folders below build/, how many scenes, and whatever else `glpn train` is told.
TINY_OUT ?= build/tiny
TINY_SCENES ?= 22000
TINY_MORE_SCENES ?= 7000
TINY_LAST_SCENES ?= 8900
TINY_SCENES_OUT ?= build/scenes
TINY_FLAGS ?=
# Two processes with a thread each are a third faster than one with two threads. With one GPU it has to be one.
TINY_PROCESSES ?= 2
TINY_PAIRS = tum_fr1_rpy tum_fr2_pioneer tum_fr3_cabinet aims_lab
TINY_SCENE_OPTIONS = --size 192x256 $(foreach name,$(TINY_PAIRS),--textures $(DATA)/$(name)) --textures examples
TINY_TRAIN = $(BIN)/python -m torch.distributed.run --standalone --nproc-per-node $(TINY_PROCESSES) -m glpn_cli train \
	--threads 1 --workers 0 --name tiny --units-per-metre 1000
# Each with how often its samples are seen while those of the scenes are seen once.
TINY_REAL = $(addprefix --data=$(DATA)/,$(join $(TINY_PAIRS:%=%=),7 18 9 13))
TINY_REAL_AT_LAST = $(addprefix --data=$(DATA)/,$(join $(TINY_PAIRS:%=%=),9 22 11 16))

# First small pictures, long and from nothing; then larger ones, with more of what the lesson before left unlearnt; at last
# all of it once more.
tiny: $(VENV)/.ready-to-run
	@test -n "$(DATA)" || { echo "make tiny DATA=DIR: DIR has tum_fr1_rpy, tum_fr2_pioneer, tum_fr3_cabinet and aims_lab"; exit 2; }
	$(BIN)/glpn scenes --out $(TINY_SCENES_OUT)/1 --count $(TINY_SCENES) $(TINY_SCENE_OPTIONS)
	$(BIN)/glpn scenes --out $(TINY_SCENES_OUT)/2 --count $(TINY_MORE_SCENES) $(TINY_SCENE_OPTIONS) --seed 1 \
		--kind meal=30 --kind room=22 --kind street=17 --kind jam=15 --kind tabletop=8 --kind park=8
	$(BIN)/glpn scenes --out $(TINY_SCENES_OUT)/3 --count $(TINY_LAST_SCENES) $(TINY_SCENE_OPTIONS) --seed 2 \
		--kind traffic=28 --kind square=16 --kind evening=14 --kind portrait=22 --kind street=6 --kind room=14
	$(TINY_TRAIN) $(TINY_REAL) --recipe recipes/tiny-1.json --out $(TINY_OUT)/1 --data $(TINY_SCENES_OUT)/1 --until 19240 $(TINY_FLAGS)
	$(BIN)/python docs/check_trained.py $(TINY_OUT)/1/last 19240
	$(TINY_TRAIN) $(TINY_REAL) --recipe recipes/tiny-2.json --out $(TINY_OUT)/2 --data $(TINY_SCENES_OUT)/1=0.5 \
		--data $(TINY_SCENES_OUT)/2=2 --init $(TINY_OUT)/1/last $(TINY_FLAGS)
	$(BIN)/python docs/check_trained.py $(TINY_OUT)/2/last
	$(TINY_TRAIN) $(TINY_REAL) --recipe recipes/tiny-3.json --out $(TINY_OUT)/3 --data $(TINY_SCENES_OUT)/1=0.35 \
		--data $(TINY_SCENES_OUT)/2=1.2 --data $(TINY_SCENES_OUT)/3=2 --init $(TINY_OUT)/2/best $(TINY_FLAGS)
	$(BIN)/python docs/check_trained.py $(TINY_OUT)/3/last
	$(TINY_TRAIN) $(TINY_REAL_AT_LAST) --recipe recipes/tiny-4.json --out $(TINY_OUT)/4 --data $(TINY_SCENES_OUT)/1=0.6 \
		--data $(TINY_SCENES_OUT)/2=2 --data $(TINY_SCENES_OUT)/3=1.5 --init $(TINY_OUT)/3/best $(TINY_FLAGS)
	$(BIN)/python docs/check_trained.py $(TINY_OUT)/4/last
	$(BIN)/python docs/pack_tiny.py $(TINY_OUT)/4/best $(TINY_OUT)/glpn-tiny.safetensors

clean:
	rm -rf $(VENV) dist build demo .mypy_cache .ruff_cache .pytest_cache
