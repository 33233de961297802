# Every target works on a fresh machine with Python >= 3.11, pip and make: it creates .venv/ when
# it is missing, installs the project into it (editable), and reuses it afterwards.
PYTHON ?= $(firstword $(foreach p,python3 python3.11 python3.12 python3.13 python,$(if $(shell $(p) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(p))))
VENV := .venv
PY := $(VENV)/bin/python
PYTEST := . ./.env.compile && $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
ARGS ?=

.PHONY: backtest signals live test test-slow check wheel clean

backtest: $(VENV)/.installed
	. ./.env.compile && $(PY) -m engine.backtest $(ARGS)

signals: $(VENV)/.installed
	. ./.env.compile && $(PY) -m engine.signals --as-of $(or $(AS_OF),2012-06-29) $(ARGS)

live: $(VENV)/.installed
	. ./.env.compile && $(PY) -m engine.live $(ARGS)

# What a developer runs.
test: $(VENV)/.installed-test
	$(PYTEST) $(ARGS)

# Wheel, empty environments, documented commands, clusters that are killed.
test-slow: $(VENV)/.installed-test
	$(PYTEST) -m slow -rs $(ARGS)

# Style and types alone, in seconds.
check: $(VENV)/.installed-test
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

# Without what an earlier build left: setuptools would pack it again.
wheel: | $(PY)
	rm -rf build dist
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

$(PY):
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 found; set PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  $(PYTHON) -m venv --without-pip $(VENV) && \
	  $(PYTHON) -m pip --disable-pip-version-check --python $(PY) install --quiet pip; }

$(VENV)/.installed: pyproject.toml setup.py constraints.txt | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml setup.py constraints.txt | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
