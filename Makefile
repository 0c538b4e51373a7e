# Choose another interpreter with PYTHON=python3.12; pass options to pip with PIP_FLAGS.

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test bench soak check format install help

demo: install  ## hear something in minutes: record, train, export, generate; open demo/page/index.html
	$(BIN)/slash demo --out demo --force

test: install  ## run the test suite, a process for each core
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

RESULTS := benchmarks/results

bench: install  ## measure speeds on this machine, alone on it, and rewrite the tables in the documents
	$(BIN)/python benchmarks/train_speed.py --preset live --precision fp32 --compile --json $(RESULTS)/train_speed_live_fp32.json
	$(BIN)/python benchmarks/generate_speed.py --preset live --rounds 7 --against "model.frame_sizes=[]" --against model.history=0 --json $(RESULTS)/generate_speed_live.json
	$(BIN)/python benchmarks/roofline.py --json $(RESULTS)/roofline.json
	$(BIN)/python benchmarks/scaling.py --json $(RESULTS)/scaling.json
	$(BIN)/python benchmarks/tables.py

soak: install  ## train and generate for an hour: memory, handles and threads must stay flat
	$(BIN)/python benchmarks/soak.py --json $(RESULTS)/soak.json

check: install  ## check style, types and import directions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## fix what ruff can fix, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

install: $(INSTALLED)  ## install everything into .venv

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@sed -n '1s/^# //p' $(firstword $(MAKEFILE_LIST))

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Slash needs Python 3.11 or newer; try make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[cpu,train,export,plot,play,loudness,decode,dev]'
	@touch $@
