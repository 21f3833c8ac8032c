# Two commands: `make demo` shows an event, `make test` runs all that CI runs.
SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help deps demo test lint bench clean

help:
	@echo 'make demo   render a patrol with a fire, serve it as RTSP streams, watch them, show what was found and when'
	@echo 'make test   all tests'
	@echo 'make lint   format, clippy and documentation, warnings denied'
	@echo 'make bench  throughput and latency on this machine'
	@echo 'make deps   install what is missing: packages, Rust, ONNX Runtime'

deps:
	@deploy/install.sh

demo: deps
	cargo build --release
	$${CARGO_TARGET_DIR:-target}/release/emberwatch demo

test: deps
	cargo test

lint: deps
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps

bench: deps
	cargo bench

clean:
	cargo clean
	rm -rf build
