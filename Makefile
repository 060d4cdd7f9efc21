# SPDX-License-Identifier: Apache-2.0
# make demo       a real OpenStack under the distribution, on this machine: traces and metrics of a server create
# make test       everything that is tested
# make coexist    the cloud beside each other tool that measures, one by one (half an hour); make test has all at once
# make collector  the OpenTelemetry Collector with a statsd exporter, into .cache/collector/
# make peers      Jaeger, Prometheus and statsd for the tests and for make demo OBSERVE=1, beside it
# make deb        a Debian package of it, beside it
# make check      what needs no server: style, types, generated files, instruction counts of the hot paths
# make bench      what it costs beside everything else there is, with a page of results; make bench-quick: minutes
# make upstream   the libraries' own unit tests with us and without, compared test by test
# make soak       an hour of server creates: does anything grow?
# make clean      remove what these made

PYTHON ?= python3
CONCURRENCY ?= threading
SERVERS ?= 1
COMPARE ?=
OBSERVE ?=
ROUNDS ?= 3
MINUTES ?= 60
CREATES ?=
VARIANTS ?= bare,up,blackhole

CLOUD := $(PYTHON) examples/minicloud
# Debian's python3 comes without ensurepip, others with it.
VENV_PACKAGE := $(shell $(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)
TEST_PACKAGES := rabbitmq-server mariadb-server memcached prometheus chromium chromium-driver valgrind openssl qemu-utils sudo \
	lintian mmdebstrap systemd-container buildah busybox-static iproute2 apache2-bin libapache2-mod-wsgi-py3 \
	$(VENV_PACKAGE)
PIP := -m pip install --quiet --no-input --disable-pip-version-check

.PHONY: demo test coexist collector peers deb check upstream soak apt clean bench bench-quick guard

demo:
	$(CLOUD) $(if $(COMPARE),compare --rounds $(ROUNDS),demo --servers $(SERVERS) $(if $(OBSERVE),--observe)) --concurrency $(CONCURRENCY)

# The collector is tested where there is Go to build it.
test: apt $(if $(shell command -v go),collector) .venv/installed .venv-sa20/installed
	$(CLOUD) install
	.venv/bin/python tests/run.py

coexist: apt .venv/installed
	$(CLOUD) install
	COEXIST=alone .venv/bin/python -m pytest tests/coexistence

collector:
	$(PYTHON) collector/build.py

# What it sends to: Jaeger and a Prometheus that takes OTLP, from their Go modules, and statsd from npm.
peers:
	$(PYTHON) collector/peers/build.py

deb: collector
	$(PYTHON) collector/packaging/deb.py

check: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python registry/generate.py --check
	.venv/bin/python docs/generate.py --check
	.venv/bin/python deploy/generate.py --check
	.venv/bin/python collector/capacity/gateways.py --check
	.venv/bin/python benchmarks/report.py --check
	.venv/bin/python benchmarks/guard.py
	.venv/bin/python -m pytest -q tests/test_architecture.py

# Stores the instruction counts that `make check` compares with, for this Python.
guard: .venv/installed
	.venv/bin/python benchmarks/guard.py --update

# Everything that the product costs, beside what else there is: about half an hour on a machine with two cores that does
# nothing else, results into benchmarks/results.json and docs/benchmarks.md. CREATES=30 measures the minimal cloud too.
bench: .venv-bench/installed
	$(if $(CREATES),$(CLOUD) install)
	.venv-bench/bin/python benchmarks/run.py $(if $(CREATES),--cloud .demo/venv --creates $(CREATES))

# Minutes: the same rows, fewer rounds, the most important variants; printed, and kept in .cache/bench.json.
bench-quick: .venv-bench/installed
	.venv-bench/bin/python benchmarks/run.py --quick

# Upstream's own unit tests, without us and with us at level deep.
upstream: apt .venv/installed
	.venv/bin/python tests/upstream/run.py

# SERVERS creates and deletes, or as many as MINUTES give, in each of VARIANTS.
soak:
	$(CLOUD) install
	$(CLOUD) soak --dir .cache/soak/cloud --venv .demo/venv --concurrency $(CONCURRENCY) --minutes $(MINUTES) \
	  --variants $(VARIANTS) --servers $(if $(filter file,$(origin SERVERS)),2000,$(SERVERS))

apt:
	@$(PYTHON) examples/minicloud/apt.py $(TEST_PACKAGES)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) -e '.[test,dev]'
	touch $@

# The environment in which contrib's SQLAlchemy instrumentor works: it refuses 2.1.
.venv-sa20/installed: pyproject.toml
	$(PYTHON) -m venv .venv-sa20
	.venv-sa20/bin/python $(PIP) -e '.[test-sqlalchemy20]'
	touch $@

# What the benchmark compares with: all of it, with the SQLAlchemy that contrib's instrumentor takes.
.venv-bench/installed: pyproject.toml benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(PIP) -e . -r benchmarks/requirements.txt
	touch $@

clean:
	-$(CLOUD) down
	-$(CLOUD) down --dir .cache/cloud
	-$(CLOUD) down --dir .cache/coexist/cloud
	-$(CLOUD) down --dir .cache/soak/cloud
	rm -rf .demo .cache .venv .venv-sa20 .venv-bench .mypy_cache .ruff_cache .pytest_cache
