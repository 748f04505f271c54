# Knight Omega: `make help` lists what can be done. Needs make, git and Python 3.11 or
# later; everything else is installed into .venv.

.DEFAULT_GOAL := help
.PHONY: help install run test services services-stop lint format manual bench bench-rows clean

VENV := .venv
PY := $(VENV)/bin/python

help: ## this list
	@echo "Knight Omega. What make can do:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) \
	    | awk -F'|' '{ printf "%-22s%s\n", $$1, $$2 }'
	@echo
	@echo "PORT=4000 make run          another port (default 3000)"
	@echo "make test T=tests.test_x    one module, class or method"
	@echo "make bench BENCH=--quick    a short run; make bench-rows BENCH='--rows 1000000'"
	@echo "PYTHON=/path/to/python3     the interpreter .venv is made with"

install: ## make .venv and install the gateway into it
	@scripts/install.sh

run: ## start the gateway on PORT (3000) with its data in data/
	@scripts/install.sh
	@exec $(VENV)/bin/knight run

test: ## run the tests; engines that are not there are left out, and named
	@scripts/install.sh test
	@$(PY) scripts/run_tests.py $(T)

services: ## start private PostgreSQL, MariaDB and Redis for the tests
	@scripts/services.sh start

services-stop: ## stop them
	@scripts/services.sh stop

lint: ## check style, formatting, types and news fragments
	@scripts/install.sh dev
	@status=0; \
	echo "== ruff check"; $(VENV)/bin/ruff check . || status=1; \
	echo "== ruff format"; $(VENV)/bin/ruff format --check . || status=1; \
	echo "== mypy --strict"; $(VENV)/bin/mypy knight_tw benchmarks scripts || status=1; \
	echo "== news"; $(PY) scripts/check_news.py || status=1; \
	exit $$status

format: ## put the code into its form
	@scripts/install.sh dev
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

manual: ## rewrite what is made from the code: tables of the manual, fields of the API
	@scripts/install.sh
	@$(PY) -m scripts.manual

bench: ## measure the gateway beside nginx; results in benchmarks/results/
	@scripts/install.sh
	@$(PY) -m benchmarks $(BENCH)

bench-rows: ## time the log and account pages on ten million rows
	@scripts/install.sh
	@$(PY) -m benchmarks.rows $(BENCH)

clean: ## remove .venv and every cache; data/ stays
	rm -rf $(VENV) build .mypy_cache .ruff_cache .hypothesis _trial_temp* \
	    *.egg-info twisted/plugins/dropin.cache
