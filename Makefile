# Two commands do all the set-up: `make demo` and `make test`. Both need Python 3.11+ and a package index.

PYTHON ?= $(firstword $(shell sh tools/interpreters.sh))
OURS = -e '.[cli,httpx2,requests]' \
  $(patsubst %,-e contrib/%,auth circuit-breaker devstack ldap metrics retry tracing)
INPUTS = pyproject.toml constraints.txt tests/requirements.txt $(wildcard contrib/*/pyproject.toml)
OIDC = contrib/auth/tests/oidc
PIP = -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint mutants compare bench bench-check constraints clean

demo: .venv/demo
	.venv/bin/flext-devstack demo

# Four at a time on any machine: the tests wait more than they work. What is marked `once` one interpreter shows for all,
# and what plugins do the first and the last.
test: .venv/test $(OIDC)/node_modules/.package-lock.json
	@sh tools/servers.sh
	@set -e; for python in $$(sh tools/interpreters.sh); do \
	  folder=.venv; chosen=; only=; \
	  if ! [ "$$python" = "$(PYTHON)" ]; then \
	    chosen="not once"; \
	    [ "$$python" = "$(lastword $(shell sh tools/interpreters.sh))" ] || only=tests; \
	    folder=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    $(MAKE) --no-print-directory $$folder/test PYTHON="$$python"; \
	  fi; \
	  echo "== $$($$folder/bin/python --version)"; \
	  $$folder/bin/python -m pytest -q -n 4 --dist loadfile -m "$$chosen" $$only; \
	done

lint: .venv/test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy flext_plugins
	.venv/bin/mypy --ignore-missing-imports --explicit-package-bases benchmarks
	@set -e; for folder in contrib/*/; do (cd $$folder && ../../.venv/bin/mypy --config-file ../../pyproject.toml .); done

mutants: .venv/test
	PYTHONPATH=tests .venv/bin/python -m mutants

$(OIDC)/node_modules/.package-lock.json: $(OIDC)/package-lock.json
	@sh tools/oidc-server.sh $(OIDC)
	@touch -c $@

# Prints how other libraries do; RECORD=1 also writes it into docs/explanation/comparison.md.
compare: .venv-compare/peers
	.venv-compare/bin/python -m benchmarks.compare $(if $(RECORD),record)

# Prints what things cost beside other libraries; RECORD=1 also writes results.json, the page and its chart.
bench: .venv-speed/peers
	@sh tools/servers.sh
	.venv-speed/bin/python -m benchmarks.speed $(if $(RECORD),record)

# A minute of it: whether the targets are kept.
bench-check: .venv-speed/peers
	@sh tools/servers.sh
	.venv-speed/bin/python -m benchmarks.speed check

# The newest Python, since one peer asks for 3.12; which of them this one cannot have is noted, and why.
.venv-%/peers: $(INPUTS) benchmarks/%/requirements.txt
	@$(MAKE) --no-print-directory .venv-$*/pip PYTHON="$(lastword $(shell sh tools/interpreters.sh))"
	.venv-$*/bin/python $(PIP) install -c constraints.txt $(OURS) pytest h11
	@rm -rf .venv-$*/not-installed && mkdir .venv-$*/not-installed
	@for pin in $$(cat benchmarks/$*/requirements.txt); do \
	  note=.venv-$*/not-installed/$${pin%%==*}; \
	  if .venv-$*/bin/python $(PIP) install -c constraints.txt $$pin 2>$$note; then rm $$note; \
	  else grep '^ERROR' $$note | tail -n 1 | cut -c 8-100 >$$note.short; mv $$note.short $$note; fi; \
	done
	@touch $@

%/demo: $(INPUTS)
	@$(MAKE) --no-print-directory $*/pip
	$*/bin/python $(PIP) install -c constraints.txt $(OURS)
	@touch $@

%/test: $(INPUTS)
	@$(MAKE) --no-print-directory $*/pip
	$*/bin/python $(PIP) install -c constraints.txt $(OURS) -r tests/requirements.txt
	@touch $@ $*/demo

%/pip:
	@sh tools/interpreters.sh check $(PYTHON)
	$(PYTHON) -m venv $*
	@touch $@

constraints:
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python $(PIP) install $(OURS) -r tests/requirements.txt
	.venv-constraints/bin/python $(PIP) freeze --exclude-editable | grep '==' > constraints.txt
	rm -rf .venv-constraints

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache
