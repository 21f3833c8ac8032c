# Two commands: `make demo` shows an event, `make test` runs all that CI runs.
SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help deps demo test test-training lint bench clean

help:
	@echo 'make demo   render a patrol with a fire, serve it as RTSP streams, watch them, show what was found and when'
	@echo 'make test   all tests of the program'
	@echo 'make test-training   those of models/training; installs PyTorch (3 GB) into build/venv'
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

# pytest alone would leave out retraining: that test runs program and Python together.
test-training: deps
	python3 -m venv build/venv
	build/venv/bin/pip install -q -r models/training/requirements.txt
	cd models/training && ../../build/venv/bin/python -m pytest -q tests
	EMBERWATCH_PYTHON=$(CURDIR)/build/venv/bin/python cargo test retraining

lint: deps
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps

bench: deps
	cargo bench

clean:
	cargo clean
	rm -rf build
