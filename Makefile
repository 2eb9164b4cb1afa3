# Two commands matter on a fresh machine: `make demo` and `make test`. Needed beforehand: make and a CPython >= 3.11.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
# Where it is set, each of the hundreds of processes that tests start compiles the package anew, for 3 s of a processor.
unexport PYTHONDONTWRITEBYTECODE

VENV ?= .venv
BACKEND ?= sqlite
BIN := $(VENV)/bin
PY := $(BIN)/python
PYTEST := $(PY) -m pytest -q
TESTED := $(PY) -m tools.tested
# pyright's wheel is a launcher; what it fetches stays inside the environment.
PYRIGHT := PYRIGHT_PYTHON_CACHE_DIR=$(abspath $(VENV))/pyright PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
# Finds the packages by the interpreter that is first on the path, and fails where a public type has to be guessed.
VERIFY := PATH="$(abspath $(BIN)):$$PATH" $(PYRIGHT) --ignoreexternal --verifytypes
PUBLIC := aiohttp_cache_di aiohttp_cache_di_fastapi aiohttp_cache_di_web
CODE := aiohttp_cache_di integrations tests examples tools $(wildcard benchmarks)
LOWEST ?= tests
# The part of the suite that touches other people's packages most. What a report hides is found by no other package.
LOWEST_QUICK := tests/test_session.py tests/test_session_drop_in.py tests/test_middleware.py \
	$(filter-out tests/settings/test_report.py,$(wildcard tests/settings/test_*.py)) \
	tests/test_containers.py tests/typing/test_options.py tests/integrations tests/backends/redis/test_backend.py tests/backends/sqlite/test_backend.py

.PHONY: help docs-site demo test test-all test-lowest check faults programs others covered-stores covered-rest lint format types imports secrets workflows licences dist neighbours fuzz audit soak bench bench-quick docs clean

help:
	@echo 'make demo [BACKEND=…]      run two example services against a real origin and show what the cache does'
	@echo 'make test                  run every test'
	@echo 'make check                 all that CI does: format, lint, types, import contracts, tests with coverage'
	@echo 'make test-all              run the tests on every CPython >= 3.11 found on this machine'
	@echo 'make test-lowest           run the tests with the lowest versions of our dependencies'
	@echo 'make fuzz [EXAMPLES=20000] try what is generated for minutes rather than seconds'
	@echo 'make audit                 ask PyPI for known vulnerabilities of what is installed, where it can be asked'
	@echo 'make neighbours            run the tests with other libraries, in an environment that has them'
	@echo 'make dist                  build the wheel and the sdist, and check what is in them'
	@echo 'make licences              list the licences of all that an install brings along'
	@echo 'make soak                  inject faults for minutes rather than seconds, and print the figures'
	@echo 'make bench, bench-quick    measure'
	@echo 'make docs                  write docs/variables.md and the types of settings'
	@echo 'make docs-site             build the site of the documentation, into site/'
	@echo 'make format                rewrite the code in the one format'

$(PY):
	@python=$$(tools/pythons --one) && echo "creating $(VENV) with $$python" && "$$python" -m venv $(VENV)
	@$(PY) -m pip install -q 'pip>=25.1'

# Stamps, so that an environment that is up to date costs nothing; pyproject.toml is what makes it stale.
$(VENV)/.demo: pyproject.toml | $(PY)
	@echo 'installing what the demo needs'
	@$(PY) -m pip install -q -e '.[all]' --group demo
	@touch $@

$(VENV)/.dev: pyproject.toml | $(PY)
	@echo 'installing what development needs'
	@$(PY) -m pip install -q -e '.[all]' --group dev
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(PY) -m examples.demo --backend $(BACKEND)

test: $(VENV)/.dev
	$(TESTED) tests $(ARGS)

# What does not depend on one another runs side by side, on two processors. The tests that inject faults look at the
# clock, which coverage and thousands of other tests in the same process would hold up: they run by themselves, and
# their files are on the disk. They wait most of the time, which is left to what has no hurry, at a lower priority. What
# is left of that by then, such as the type checkers, goes on where the other tests wait. An environment that cannot be
# made fails what needs it, and nothing else.
check:
	-$(MAKE) -k -j3 $(VENV)/.dev $(VENV)-lowest/.ready $(VENV)-neighbours/.ready
	$(MAKE) -j4 faults programs others covered-stores covered-rest FIRST='faults programs'
	$(COVERAGE) combine --quiet .coverage.stores .coverage.rest
	$(COVERAGE) report

UNHURRIED := nice -n 19
faults:
	$(TESTED) faults tests/faults $(ARGS)
# Coverage would see nothing of these, since what they test are processes. The next tests wait for them.
PROGRAMS := tests/e2e tests/packaging tests/examples/test_demo.py tests/examples/test_script.py tests/test_deployment.py
programs:
	nice -n 10 $(TESTED) programs --in-memory $(PROGRAMS) $(ARGS)
others:
	+$(UNHURRIED) $(MAKE) --output-sync=target lint imports workflows licences audit test-lowest neighbours \
		types secrets docs-site ARGS= LOWEST="$(wildcard $(LOWEST_QUICK))"

COVERAGE := $(BIN)/coverage
COVERED := --cov --cov-report= --cov-fail-under=0
# What takes about half of the time.
FIRST_HALF := tests/backends tests/settings tests/cli
ELSEWHERE := tests/faults $(PROGRAMS) $(FIRST_HALF)
# Targets that these wait for.
FIRST ?=
covered-stores: $(FIRST)
	COVERAGE_FILE=.coverage.stores $(TESTED) stores --in-memory $(COVERED) $(FIRST_HALF) $(ARGS)
covered-rest: $(FIRST)
	COVERAGE_FILE=.coverage.rest $(TESTED) rest --in-memory $(COVERED) $(ELSEWHERE:%=--ignore=%) $(ARGS)

lint imports types secrets workflows licences: $(VENV)/.dev
lint:
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
types:
	$(BIN)/mypy
	$(PYRIGHT)
	@for package in $(PUBLIC); do $(VERIFY) $$package > $(VENV)/pyright.txt || { cat $(VENV)/pyright.txt; exit 1; }; done; rm $(VENV)/pyright.txt
imports:
	$(BIN)/lint-imports

# Tests plant secrets; elsewhere these are the words that stand for one.
secrets:
	git ls-files -z -- . ':!tests' | xargs -0 $(BIN)/detect-secrets-hook --no-verify --exclude-secrets '^password$$'

# What GitHub runs cannot run here: its schema, and the habits that have cost other projects a release.
workflows:
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(BIN)/zizmor --offline --no-progress --quiet .github

licences:
	$(PY) -m tools.licences

# The same bytes wherever the same commit is built: tests/packaging builds them once more.
dist: $(VENV)/.dev
	@$(PY) -m pip install -q --group dist
	rm -rf dist
	$(PY) -m hatchling build -d dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(PYTEST) tests/packaging

format: $(VENV)/.dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

test-all:
	@tools/test-all $(ARGS)

# Another environment is filled by the pip of the first: one of its own would take 10 s of a processor. What its tests
# do not import is not compiled.
INTO = $(PY) -m pip --python $(1)/bin/python install -q --no-compile

# An environment beside the first: the lowest direct versions, everything else as new as they allow. What old versions
# say of the new ones beside them, and what Starlette's old test client leaves unclosed, is not ours to mend.
OLD_NOISE := -W ignore::DeprecationWarning -W ignore::pytest.PytestUnraisableExceptionWarning
test-lowest: $(VENV)-lowest/.ready
	$(VENV)-lowest/bin/python -m tools.tested lowest --in-memory $(OLD_NOISE) $(LOWEST) $(ARGS)

$(VENV)-lowest/.ready: pyproject.toml tools/lowest.py | $(PY)
	@$(PY) -m venv --without-pip $(VENV)-lowest
	@$(PY) tools/lowest.py > $(VENV)-lowest/constraints.txt
	@$(call INTO,$(VENV)-lowest) pip -e '.[all]' --group test -c $(VENV)-lowest/constraints.txt
	@touch $@

# Another environment: what stands beside this package in an app, and must not come between us and what we develop with.
neighbours: $(VENV)-neighbours/.ready
	$(VENV)-neighbours/bin/python -m tools.tested neighbours $(NEIGHBOURS) $(ARGS)
	PYTHONPATH=$(VENV)-neighbours/older $(VENV)-neighbours/bin/python -m pytest -q tests/neighbours -k sentry
NEIGHBOURS := tests/neighbours $(wildcard tests/testing/test_neighbours.py)

$(VENV)-neighbours/.ready: pyproject.toml | $(PY)
	@$(PY) -m venv --without-pip $(VENV)-neighbours
	@$(call INTO,$(VENV)-neighbours) -e '.[all]' --group test --group neighbours
	@$(call INTO,$(VENV)-neighbours) --target $(VENV)-neighbours/older 'sentry-sdk<2'
	@touch $@

EXAMPLES ?= 20000
SECONDS ?= 60
fuzz: $(VENV)/.dev
	FUZZ_EXAMPLES=$(EXAMPLES) $(PYTEST) tests/fuzz $(ARGS)
	@$(PY) -m pip install -q --timeout 10 --retries 1 --group fuzz || echo 'fuzz: atheris cannot be installed'
	$(PY) -m tools.fuzz $(SECONDS)

# Where the service cannot be reached, it says that it has not been asked.
audit: $(VENV)/.dev
	$(PY) -m tools.audit $(ARGS)

soak: $(VENV)/.dev
	$(PYTEST) -m slow tests $(ARGS)

# The peers live in an environment of their own, so that they do not meet what we develop with.
$(VENV)-bench/.ready: pyproject.toml
	@python=$$(tools/pythons --one) && "$$python" -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip install -q 'pip>=25.1'
	@$(VENV)-bench/bin/python -m pip install -q -e '.[all]' --group bench
	@touch $@

bench: $(VENV)-bench/.ready
	$(VENV)-bench/bin/python -m benchmarks $(ARGS)

bench-quick: $(VENV)-bench/.ready
	$(VENV)-bench/bin/python -m benchmarks --quick $(ARGS)

docs: $(VENV)/.dev
	$(PY) -m tools.settings_table
	$(PY) -m tools.settings_types

# Warnings are errors: a link that leads nowhere, a parameter that is documented and not there.
docs-site: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf build dist site htmlcov .coverage* .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
