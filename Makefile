# Needs Go, a C compiler and make; nothing else.

GO ?= go
FUZZTIME ?= 30s

# What `make build` leaves behind. A new product is one word here and one rule below.
PRODUCTS := bin/tidings

.PHONY: build gen test demo fuzz clean FORCE

build: $(PRODUCTS)

# Go knows best what is out of date, so every product's rule always runs.
FORCE:

bin/tidings: FORCE
	$(GO) build -o $@ ./cmd/tidings

# Rewrites the generated code from api/. The result is committed.
gen:
	$(GO) run ./internal/gen

test:
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -race ./...

demo: build
	$(GO) run ./examples/demo

# Runs every fuzz target of every package for FUZZTIME; `go test -fuzz` itself takes only one target at a time.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		targets=$$($(GO) test -list '^Fuzz' $$pkg); \
		for target in $$(echo "$$targets" | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

clean:
	rm -rf bin lib
