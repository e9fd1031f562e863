# The commands of the project. Thin on purpose: what they do is in scripts/, and CI calls the same (.ci/run).
.DEFAULT_GOAL := help
.PHONY: help demo up down test test-peers bench soak bench-peers lint fmt sqlx sqlx-check clean-local
MAKEFLAGS += --no-print-directory
export SQLX_OFFLINE ?= true

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## play the first story: a row in a table reaches people, with everything it needs
	@scripts/demo

up: ## start Switchboard and everything it needs, and leave it running
	@scripts/up

down: ## stop what `make up` started
	@scripts/down

test: ## check everything: format, lints, documentation, .sqlx, all tests
	@scripts/test

test-peers: ## check against others' programs: the providers' own libraries, and Debian's Kannel
	@scripts/peers/test

bench: ## measure against plain ways to do the same: CASE=name runs one, QUICK=1 is small and short
	@CASE='$(CASE)' QUICK='$(QUICK)' scripts/bench

bench-peers: ## measure beside others' programs that do the same: Celery, graphile-worker, Kannel, Jasmin
	@PEER='$(PEER)' QUICK='$(QUICK)' scripts/bench-peers

soak: ## campaign after campaign on one database: is the last as cheap as the first? MINUTES=10
	@MINUTES='$(MINUTES)' QUICK='$(QUICK)' scripts/bench soak

lint: ## clippy and rustdoc, warnings denied
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

fmt: ## format the code
	cargo fmt --all

sqlx: ## describe our SQL anew in .sqlx, after a change of a query or a migration
	@scripts/sqlx write

sqlx-check: ## does .sqlx describe the queries in the code?
	@scripts/sqlx check

clean-local: ## stop all private servers of this checkout and remove their data
	@scripts/down
	@scripts/sweep all
