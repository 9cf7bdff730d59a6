# Three commands do all the set-up: `make wheels`, `make demo` and `make test`. They need Python 3.11+ and an index.

PYTHON ?= $(shell sh tools/interpreters.sh first)
OURS = -e '.[aiohttp,cli,httpx2,requests]' \
  $(patsubst %,-e contrib/%,auth circuit-breaker devstack[demo] ldap meltano metrics oracle retry tracing)
CONSTRAINTS = constraints.txt
INPUTS = pyproject.toml constraints.txt $(wildcard tests/requirements*.txt contrib/*/pyproject.toml)
OIDC = contrib/auth/tests/oidc
PIPELINE = examples/pipeline/.meltano/installed
PIP = -m pip --disable-pip-version-check --quiet
# Installs the checkout's distributions and more. What builds them comes first, in a version that can: otherwise pip makes
# an environment to build in for each of them.
BACKEND = hatchling editables
INSTALL = $(@D)/bin/python $(PIP) install -c constraints.txt $(BACKEND) && \
  $(@D)/bin/python $(PIP) install --no-build-isolation
MORE = $(MAKE) --no-print-directory
DIST = dist
# Four at a time on any machine, since the tests wait more than they work; in the order of their names, for the longest
# file has few tests, and by their number it would begin last.
FOUR = -q -n 4 --dist loadfile --no-loadscope-reorder
TESTED = $(patsubst %,.venv-%,$(shell sh tools/interpreters.sh tested))

.PHONY: wheels check-wheels demo test test-all test-slow test-others test-lowest test-setup environments servers
.PHONY: .venv-lowest $(TESTED)
.PHONY: lint types-here types-win32 types-darwin mutants compare bench bench-check soak constraints clean

# Every distribution in dist/, sdist and wheel, and one line, which installs them.
wheels: .venv-build/build
	@sh tools/wheels.sh .venv-build/bin/python $(DIST)

# Whether an index would take them.
check-wheels: .venv-build/twine
	.venv-build/bin/twine check --strict $(DIST)/*

# The Oracle-compatible server's environment only where it has a PostgreSQL to answer from. FULL=1 installs all that the
# last act needs, which is a pipeline; without, the act is shown where all that is there already.
demo: .venv/demo $(if $(FULL),servers) $(if $(FULL)$(wildcard $(PIPELINE)),$(PIPELINE)) \
  $(if $(wildcard /usr/share/postgresql/*/extension/orafce.control),.venv-seerdb/installed)
	PATH="$(CURDIR)/.venv-meltano/bin:$(CURDIR)/.venv-dbt/bin:$$PATH" .venv/bin/flext-devstack demo \
	  $(if $(FULL)$(wildcard $(PIPELINE)),--pipeline examples/pipeline)

# Everything on one interpreter, apart from what is marked `slow`: it needs minutes or an environment of its own.
test: test-setup
	@.venv/bin/python --version
	@sh tools/tests.sh .venv/bin/python $(FOUR) -m "not slow"

# The rest.
test-all: test-slow test-aiohttp test-others test-lowest

test-slow: test-setup $(PIPELINE)
	@sh tools/tests.sh .venv/bin/python $(FOUR) -n 2 --dist worksteal -m slow

# The rules of the contract over aiohttp, apart from three cases of which tests/test_aiohttp.py shows what happens instead.
test-aiohttp: test-setup
	@sh tools/tests.sh .venv/bin/python $(FOUR) --flext-transport aiohttp -m "contract and not slow" -k "httpx and async and not httpx2" \
	  --deselect 'tests/test_messages.py::test_where_libraries_encode_in_their_own_way_a_plugin_sees_it[httpx async-/a?]' \
	  --deselect 'tests/test_failures.py::test_the_same_event_is_the_same_failure_in_each_library[httpx async-the proxy stalls]' \
	  --deselect 'tests/test_hooks.py::test_who_watches_a_body_finds_the_exchange_as_it_was[httpx async-no chunk]' tests

# The other tested interpreters: the oldest and the newest run everything but what is marked `once`, which one
# interpreter shows for all, and the plugins' conformance; those between them show the rules of the contract, in httpx
# and requests. (What is marked with a rule is in `tests`: tests/contract.py looks nowhere else.)
test-others: test-setup
	@set -e; for version in $$(sh tools/interpreters.sh tested); do \
	  if ! python=$$(sh tools/interpreters.sh find $$version); then \
	    echo "Python $$version is not on this machine: nothing was run with it."; \
	  elif ! .venv/bin/python --version | grep -q " $$version[.]"; then \
	    $(MORE) .venv-$$version; \
	    .venv-$$version/bin/python --version; \
	    case "$$python" in \
	      "$$(sh tools/interpreters.sh oldest)" | "$$(sh tools/interpreters.sh newest)") only= without="not (contrib and conformance)" where= ;; \
	      *) only="contract and" without="not httpx2" where=tests ;; \
	    esac; \
	    sh tools/tests.sh .venv-$$version/bin/python $(FOUR) -m "$$only not once and not slow" -k "$$without" $$where; \
	  fi; \
	done

# Every dependency at the minimum that a pyproject.toml declares, on the oldest interpreter: the rules of the contract and
# the plugins, which is where other libraries are met. (`-k` knows folders and marks as well.)
test-lowest: test-setup .venv-lowest
	@echo "$$(.venv-lowest/bin/python --version) with the lowest versions"
	@sh tools/tests.sh .venv-lowest/bin/python $(FOUR) -m "not once and not slow" -k "contract or (contrib and not conformance)"

# What `.ci/run` needs, two environments at a time: pip works on one core. (A `+` hands make's two jobs on.)
environments: servers
	@$(MORE) -s -j 2 .venv/test $(OIDC)/node_modules/.package-lock.json .venv-lowest .venv-speed/peers $(TESTED) \
	  $(PIPELINE)

# One that `test-others` runs with, unless it is that of .venv or not on this machine.
$(TESTED): .venv-3.%:
	+@python=$$(sh tools/interpreters.sh find 3.$*) || exit 0; \
	case "$$($(PYTHON) --version)" in \
	  "Python 3.$*."*) ;; \
	  *) sh tools/stopwatch.sh "set-up of $@" $(MORE) -s $@/test PYTHON="$$python" ;; \
	esac

.venv-lowest:
	+@sh tools/stopwatch.sh "set-up of $@" \
	  $(MORE) -s $@/test PYTHON="$$(sh tools/interpreters.sh oldest)" CONSTRAINTS=constraints-lowest.txt

test-setup:
	@sh tools/stopwatch.sh "set-up of .venv" $(MORE) -s .venv/test $(OIDC)/node_modules/.package-lock.json servers

servers: .venv-seerdb/installed
	@sh tools/servers.sh

# The program that speaks Oracle's protocol, apart from what it is asked by.
.venv-seerdb/installed: contrib/devstack/seerdb.txt
	@$(MORE) -s .venv-seerdb/pip
	@.venv-seerdb/bin/python $(PIP) install --no-deps -r $<
	@touch $@

# Meltano and dbt, each apart from everything else, as the plugin `meltano` runs them.
.venv-meltano/installed .venv-dbt/installed: .venv-%/installed: contrib/meltano/tests/%.txt
	+@$(MORE) -s .venv-$*/pip
	@.venv-$*/bin/python $(PIP) install -r $<
	@touch $@

# The tap and the target of the example, in environments of their own. By pip, which everything else here is installed by,
# and not by Meltano's uv: it does not know what pip is told of indexes.
$(PIPELINE): .venv-meltano/installed .venv-dbt/installed examples/pipeline/meltano.yml $(wildcard examples/pipeline/tap-customers/*.*)
	@cd examples/pipeline && MELTANO_VENV_BACKEND=virtualenv ../../.venv-meltano/bin/meltano --log-level error install --clean
	@touch $@

# Types are checked two platforms at a time, since mypy works on one core.
lint: .venv/test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@$(MORE) -j 2 types-here types-win32 types-darwin

types-here: .venv/test
	.venv/bin/mypy flext_plugins
	.venv/bin/mypy --ignore-missing-imports --explicit-package-bases benchmarks
	@set -e; for folder in contrib/*/; do \
	  (cd $$folder && ../../.venv/bin/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache/contrib .); \
	done

types-win32 types-darwin: types-%: .venv/test
	.venv/bin/mypy --platform $* --cache-dir .mypy_cache/$* flext_plugins contrib/*/flext_plugins_*

mutants: .venv/test servers
	PYTHONPATH=tests .venv/bin/python -m mutants

$(OIDC)/node_modules/.package-lock.json: $(OIDC)/package-lock.json
	@sh tools/oidc-server.sh $(OIDC)
	@touch -c $@

# Prints how other libraries do; RECORD=1 also writes it into docs/explanation/comparison.md.
compare: .venv-compare/peers
	.venv-compare/bin/python -m benchmarks.compare $(if $(RECORD),record)

# Prints what things cost beside other libraries; RECORD=1 also writes results.json, the page and its chart, with
# ONLY=mix,many the tables whose names begin so among those that are there.
bench: .venv-speed/peers servers
	.venv-speed/bin/python -m benchmarks.speed $(if $(RECORD),record) $(if $(ONLY),--only $(ONLY))

# Some minutes of it: whether what is held is kept.
bench-check: .venv-speed/peers servers
	.venv-speed/bin/python -m benchmarks.speed check

# Whether anything grows in a million exchanges, in each world: an hour and more.
soak: .venv-speed/peers
	.venv-speed/bin/python -m benchmarks.soak $(if $(EXCHANGES),--exchanges $(EXCHANGES))

# The newest Python, since one peer asks for 3.12; which of them this one cannot have is noted, and why.
.venv-%/peers: $(INPUTS) benchmarks/%/requirements.txt
	+@$(MORE) .venv-$*/pip PYTHON="$$(sh tools/interpreters.sh newest)"
	$(INSTALL) -c constraints.txt $(OURS) pytest h11
	@rm -rf .venv-$*/not-installed && mkdir .venv-$*/not-installed
	@.venv-$*/bin/python $(PIP) install -c constraints.txt $$(cat benchmarks/$*/requirements.txt) 2>/dev/null || \
	for pin in $$(cat benchmarks/$*/requirements.txt); do \
	  note=.venv-$*/not-installed/$${pin%%==*}; \
	  if .venv-$*/bin/python $(PIP) install -c constraints.txt $$pin 2>$$note; then rm $$note; \
	  else grep '^ERROR' $$note | tail -n 1 | cut -c 8-100 >$$note.short; mv $$note.short $$note; fi; \
	done
	@touch $@

%/demo: $(INPUTS)
	+@$(MORE) $*/pip
	$(INSTALL) -c constraints.txt $(OURS)
	@touch $@

.venv-build/build: constraints.txt
	+@$(MORE) -s .venv-build/pip
	@.venv-build/bin/python $(PIP) install -c constraints.txt build hatchling
	@touch $@

.venv-build/twine: .venv-build/build
	@.venv-build/bin/python $(PIP) install -c constraints.txt twine
	@touch $@

.venv-lowest/test: constraints-lowest.txt

.venv/test: ONCE = -r tests/requirements-once.txt

%/test: $(INPUTS)
	+@$(MORE) $*/pip
	$(INSTALL) -c $(CONSTRAINTS) $(OURS) -r tests/requirements.txt $(ONCE)
	@touch $@ $*/demo

%/pip:
	@sh tools/interpreters.sh check $(PYTHON)
	$(PYTHON) -m venv $*
	@touch $@

constraints:
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python $(PIP) install $(BACKEND) $(OURS) $(patsubst %,-r %,$(wildcard tests/requirements*.txt)) twine
	.venv-constraints/bin/python $(PIP) freeze --exclude-editable | grep '==' > constraints.txt
	rm -rf .venv-constraints

clean:
	rm -rf dist .venv .venv-* examples/pipeline/.meltano .mypy_cache .ruff_cache .pytest_cache
