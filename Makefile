# Parity Suite.  `make` alone lists the targets.
PYTHON ?= python3
CORE := .envs/core/bin/python
LOCK := .envs/uv/bin/uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	--custom-compile-command "make lock" --quiet --upgrade
# A framework has a runner and a lock of its name.
FRAMEWORKS := $(filter $(basename $(notdir $(wildcard suite/runners/*.py))),$(basename $(notdir $(wildcard docker/locks/*.txt))))

.DEFAULT_GOAL := help
.PHONY: help preflight envs bench test lint format faults schema lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

preflight:  ## can this machine run the suite, and what will it cost?
	@$(PYTHON) -m suite.preflight

envs:  ## install the environments, one per framework, from the lock files
	@$(PYTHON) -m suite.bootstrap

bench: envs  ## compare the frameworks on this machine: about twelve minutes, then a report
	@$(CORE) -m suite run quick

test: envs  ## the core's tests without any framework, then each framework's
	$(CORE) -m pytest tests -m "not torch and not tf and not cuda and not docker"
	@$(foreach name,$(FRAMEWORKS),$(MAKE) --no-print-directory test-$(name) &&) true

test-%:
	.envs/$*/bin/python -m pytest -m "$* and not cuda" $$(grep -l 'mark\.$*\b' tests/test_*.py)

lint: envs  ## style and types
	$(CORE) -m ruff check . && $(CORE) -m ruff format --check . && $(CORE) -m mypy

format: envs  ## bring the code into its standard form
	$(CORE) -m ruff check --fix-only . && $(CORE) -m ruff format .

faults: envs  ## plant faults in the runners and count how many the gate catches
	$(CORE) -m tests.faults

faults-%:
	.envs/$*/bin/python -m tests.faults --runner $*

schema: envs  ## write the JSON Schema of a spec, for editors
	$(CORE) -m suite schema

lock: envs  ## renew the lock files from docker/locks/*.in
	cd docker/locks && for name in *.in; do [ $$name = base.in ] || ../../$(LOCK) $$name -o $${name%.in}.txt || exit; done

clean:  ## remove the environments, data and caches; reports stay
	rm -rf .envs .cache .*_cache .benchmarks .hypothesis
