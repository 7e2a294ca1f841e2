# make demo: a generator trained here, served on PORT until ^C.      make test: what a change must pass.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 3000
ENGINE ?= $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
# For the CPU build of torch: make demo INSTALL="uv pip install --python .venv/bin/python --torch-backend=cpu"
INSTALL ?= $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
# Of tests: one more than a machine of two cores has, for a test that waits for its server leaves its core to others.
WORKERS ?= 3
# More options of the demo's training: make demo TRAIN="--set images=1000000"
TRAIN ?=
RUN = $(VENV)/bin

.PHONY: demo test test-full lint format docs bench sbom clean

demo: demo/bundle/manifest.json
	@echo
	@echo "  look      http://127.0.0.1:$(PORT)/"
	@echo "  samples   http://127.0.0.1:$(PORT)/v1/samples   (POST; see README.md)"
	@echo "  API page  http://127.0.0.1:$(PORT)/docs"
	@echo "  metrics   http://127.0.0.1:$(PORT)/metrics"
	@echo
	@exec $(RUN)/latentserve serve demo/bundle --port $(PORT)

demo/bundle/manifest.json: $(VENV)/.installed
	$(RUN)/latentserve train digits --out demo/run $(TRAIN)
	$(RUN)/latentserve export demo/run --name digits --out demo/bundle

# Python keeps what it has compiled, whatever the shell says: else each server that a test starts compiles it all anew.
test: $(VENV)/.installed
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not full and not docker"

test-full: $(VENV)/.installed
	$(RUN)/python -m pytest

lint: $(VENV)/.installed
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

format: $(VENV)/.installed
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

docs: $(VENV)/.installed
	$(RUN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet docs build/docs

bench: $(VENV)/.installed
	$(RUN)/python -m benchmarks serving $(BENCH)

# What a serving install consists of (CycloneDX), of an environment that holds nothing else.
sbom: $(VENV)/.installed
	$(RUN)/uv venv --quiet --clear build/serving
	$(RUN)/uv pip install --quiet --python build/serving/bin/python -c constraints.txt ".[$(ENGINE),tables,audio,otel,sign]"
	$(RUN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file build/sbom.cdx.json build/serving/bin/python

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: set PYTHON")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -c constraints.txt -e ".[$(ENGINE),training,tables,audio,otel,c2pa,sign,tensorboard,ray,docs,dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build dist
