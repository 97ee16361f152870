# The commands of this repository. `make demo` and `make test` work from a fresh clone.

CARGO ?= cargo
# How long `make torture` may take, minutes.
MINUTES ?= 60

.PHONY: help demo test test-packages torture perf clean

help:
	@echo 'make demo           build, then run customers, gateway and vendor against each other and check every message'
	@echo 'make test           every test; installs what the tests need; ends with "N passed, N failed"'
	@echo 'make test-packages  only that installation'
	@echo 'make torture        what takes long, over and over for MINUTES=$(MINUTES)'
	@echo 'make perf           the measurements, written to perf/'
	@echo 'make clean          remove all that was built'

demo:
	$(CARGO) build --release -p smpp-gateway -p smpp-bench
	$(CARGO) run --release -q -p smpp-bench -- demo

test: test-packages
	@CARGO=$(CARGO) .ci/test

test-packages:
	@engine/tests/interop/install.sh

torture: test-packages
	@CARGO=$(CARGO) MINUTES=$(MINUTES) .ci/torture

perf:
	@perf/run.sh

clean:
	$(CARGO) clean
