.PHONY: help run test lint fmt fmt-check doc bench openapi deny ci clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: ## start the server on http://0.0.0.0:8000 with a SQLite file
	cargo run

test: ## install what the tests need and run all of them; ARGS goes to cargo test
	scripts/test $(ARGS)

lint: ## clippy, warnings are errors
	cargo clippy --workspace --all-targets -- -D warnings

fmt: ## format the code
	cargo fmt --all

fmt-check: ## fail when the code is not formatted
	cargo fmt --all --check

doc: ## build the documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

bench: ## measure speed and memory, as docs/performance.md reports them
	benches/log_load.sh
	benches/receipts.sh
	benches/mcp.sh

openapi: ## write the snapshot of the OpenAPI document anew
	LLMRING_TEST_UPDATE_OPENAPI=1 scripts/test -p integration --test it openapi

deny: ## check licenses, sources and bans (cargo install cargo-deny)
	cargo deny check bans licenses sources

ci: ## what continuous integration runs
	.ci/run

clean: ## remove what was built
	cargo clean
