# Parity Suite.  `make` alone lists the targets.
PYTHON ?= python3
CORE := .envs/core/bin/python
LOCK := .envs/uv/bin/uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	--custom-compile-command "make lock" --quiet --upgrade
LOCKED := $(filter-out base,$(basename $(notdir $(wildcard docker/locks/*.in))))
# A framework has a runner and a lock of its name.
EVERY := $(sort $(filter $(notdir $(patsubst %/runner.py,%,$(wildcard suite/runners/*/runner.py))),$(basename $(notdir $(wildcard docker/locks/*.txt)))))
# FRAMEWORKS="torch jax" names those to install, to test and to compare, and all is every one.  Without it they are torch
# and tf; another that is installed already is kept, and tested as well.
USUAL := tf torch
FRAMEWORKS ?=
ASKED := $(if $(filter all,$(FRAMEWORKS)),$(EVERY),$(sort $(or $(FRAMEWORKS),$(USUAL))))
TESTED := $(ASKED)$(if $(FRAMEWORKS),, $(filter-out $(ASKED),$(filter $(EVERY),$(notdir $(wildcard .envs/*)))))
COMPARED := $(if $(filter-out $(USUAL),$(ASKED))$(filter-out $(ASKED),$(USUAL)),all $(if $(filter-out $(ASKED),$(EVERY)),$(ASKED:%=-r %)),quick)

# An image has a Dockerfile of its name.
IMAGES := $(sort $(patsubst Dockerfile.%,%,$(notdir $(wildcard Dockerfile.* docker/Dockerfile.*))))
comma := ,
space := $(subst ,, )

.DEFAULT_GOAL := help
.PHONY: help preflight envs bench bench-pytest test gpu-check identity identity-all lint docs-check format faults faults-own faults-all schema lock clean docker-images docker-build docker-bench docker-sizes docker-lint test-docker

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

preflight:  ## can this machine run the suite, and what will it cost?
	@PARITY_FRAMEWORKS="$(FRAMEWORKS)" $(PYTHON) -m suite.install.preflight

envs:  ## install the environments, one per framework, from the lock files
	@PARITY_FRAMEWORKS="$(FRAMEWORKS)" $(PYTHON) -m suite.install.bootstrap

bench: envs  ## compare the frameworks on this machine: about seven minutes, then a report
	@$(CORE) -m suite run $(COMPARED)

# The core comes first: it fetches the data.  SPECS="digits-cnn mnist-cnn" names other benchmarks, and TIMED= runs each call once.
TIMED := yes
PYTEST_JSON := reports/pytest-benchmark
bench-pytest: envs  ## time the runners' calls with pytest-benchmark, and show them beside the latest run
	@mkdir -p $(PYTEST_JSON)
	@$(foreach name,core $(TESTED),$(MAKE) --no-print-directory bench-pytest-$(name) &&) true
	@$(if $(TIMED),$(CORE) -m suite report $(PYTEST_JSON) $(wildcard reports/latest))

bench-pytest-%:
	@TF_CPP_MIN_LOG_LEVEL=3 .envs/$*/bin/python -m pytest benchmarks $(SPECS:%=--spec %) \
		$(if $(TIMED),--benchmark-json $(PYTEST_JSON)/$*.json,--benchmark-disable)

test: envs  ## the core's tests without any framework, then each framework's
	$(CORE) -m pytest tests -m "not cuda and not docker $(EVERY:%=and not %)"
	@$(foreach name,$(TESTED),$(MAKE) --no-print-directory test-$(name) &&) true

test-%:
	.envs/$*/bin/python -m pytest -m "$* and not cuda" $$(grep -lE 'mark\.$*\b|\bof_each_' -r --include='test_*.py' tests)

# MINUTES=10 is the time for all together.
MINUTES := 10
gpu-check: envs  ## on a machine with a GPU: prove, measure and test what only a GPU shows, within MINUTES=10
	@$(CORE) -m benchmarks.gpu_check --minutes $(MINUTES) $(TESTED)

gpu-check-%:
	.envs/$*/bin/python -m pytest -m "$* and cuda" $$(grep -l 'mark\.cuda\b' -r --include='test_*.py' tests)

identity: envs  ## prove a selection of the catalogue, each kind of layer, loss and stage, in every mode; minutes
	@$(CORE) -m suite run identity-ci

identity-all: envs  ## prove the whole catalogue in every mode; ResNet-50 takes its time
	@$(CORE) -m suite identity --all

lint: envs docker-lint docs-check  ## style, types and documents
	$(CORE) -m ruff check . && $(CORE) -m ruff format --check . && $(CORE) -m mypy

docs-check: envs  ## do the documents' links, commands, paths and words hold?
	@$(CORE) -m pytest -q tests/test_docs.py

format: envs  ## bring the code into its standard form
	$(CORE) -m ruff check --fix-only . && $(CORE) -m ruff format .

faults: envs  ## plant faults in the reference and count how many the gate catches
	$(CORE) -m tests.faults

# A fault in the protocol or in a spec is caught in one runner as in another; what replaces a runner's own code is not.
faults-own: faults  ## faults in the reference, and in each framework those of its own code
	@$(foreach name,$(TESTED),.envs/$(name)/bin/python -m tests.faults --runner $(name) --only $(name): &&) true

faults-all: faults  ## the same in every framework as well, each in its own environment
	@$(foreach name,$(TESTED),$(MAKE) --no-print-directory faults-$(name) &&) true

faults-%:
	.envs/$*/bin/python -m tests.faults --runner $*

# Ask the gate about 500 drawn networks in a framework as it is: whatever it objects to is a false alarm.  COUNT=100 asks
# about fewer, and MODES=graph,xla in other modes than the first.
alarms-%: envs
	.envs/$*/bin/python -W ignore -m tests.faults.alarms --runner $* $(if $(COUNT),--count $(COUNT)) $(if $(MODES),--modes $(MODES))

schema: envs  ## write the JSON Schema of a spec, for editors
	$(CORE) -m suite schema

# The locks with CUDA come last: they take the versions of those without.
lock: envs  ## renew the lock files from docker/locks/*.in
	cd docker/locks && for name in $(filter-out %-cuda,$(LOCKED)) $(filter %-cuda,$(LOCKED)); do \
		../../$(LOCK) $$name.in -o $$name.txt || exit; done

docker-images:  # as a workflow's step takes it: the service that builds the image of each Dockerfile
	@echo 'images=["$(subst $(space),"$(comma)",$(patsubst report,prepare,$(IMAGES)))"]'

docker-build:  ## build the images, one per framework and the reporter's; LOCAL=1 without a container registry
	@docker/compose.sh build

docker-bench: docker-build  ## compare the frameworks in containers, in turns; without a GPU it is left out
	@docker/compose.sh up

docker-sizes:  ## the sizes of the images
	@docker images --filter reference='parity-*' --format 'table {{.Repository}}\t{{.Tag}}\t{{.Size}}\t{{.CreatedSince}}'

docker-lint: envs  ## style of the Dockerfiles, and whether Compose can read its files
	.envs/core/bin/hadolint Dockerfile.* docker/Dockerfile.*
	@docker compose version >/dev/null 2>&1 || { echo "docker-lint: Compose is not here, so its files are unread"; exit 0; }; \
	for device in cpu cuda; do for own in "" 1; do for files in "" benchmarks; do \
		PARITY_DEVICE=$$device LOCAL=$$own PARITY_FILES=$$files docker/compose.sh config --quiet || exit; done; done; done

test-docker: envs  ## the tests that need a Docker engine: on Debian one is brought up, and ended if it was
	@end=true; docker info >/dev/null 2>&1 || { docker/engine.sh && end="docker/engine.sh stop"; }; \
	$(CORE) -m pytest tests/docker -m docker; status=$$?; $$end; exit $$status

clean:  ## remove the environments, data and caches; reports stay
	rm -rf .envs .cache .*_cache .benchmarks .hypothesis
