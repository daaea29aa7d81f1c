# Needs only Go, a C compiler and make.

GO ?= go
FUZZTIME ?= 30s
FUZZBUILD ?= -fuzz .
ROUNDS ?= 200
TORTURE ?= 30m
SEED ?= 1

# What `make build` makes. A new product is one word here and one rule below.
PRODUCTS := bin/tidings library

.PHONY: build library gen generate test demo fuzz soak torture torture-kills torture-histories clean FORCE

build: $(PRODUCTS)

# Go knows best what is out of date, so every product's rule always runs.
FORCE:

bin/tidings: FORCE
	@[ -e $@ ] || echo "Building $@. If SQLite was not compiled here before, that takes about a minute."
	$(GO) build -o $@ ./cmd/tidings

# The C library, with what programs need to build against it. The folder may be copied anywhere.
LIB ?= lib
STRIP ?= -s -w
LIB_VERSION := $(shell sed -n 's/^const Version = "\(.*\)"/\1/p' client/version.go)

# SQLite is compiled once more, with other flags: with the server's flags the library would be half a megabyte larger, and with the library's flags
# the server would be slower. For size: SQLite is a third of the code, and the client does not need JSON in it. -g costs nothing, STRIP removes it.
library: export CGO_CFLAGS = -g -Os -DSQLITE_OMIT_JSON -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections
library:
	@[ -e $(LIB)/libImSDK.so ] || echo "Building $(LIB)/libImSDK.so, with a SQLite that is compiled for size: another minute the first time."
	@mkdir -p $(LIB)/include $(LIB)/pkgconfig $(LIB)/cmake/ImSDK
	$(GO) build -buildmode=c-shared -trimpath -tags tidings_plain -o $(LIB)/libImSDK.so \
		-ldflags "$(STRIP) -extldflags '-Wl,-soname,libImSDK.so -Wl,--version-script=$(CURDIR)/capi/libImSDK.map -Wl,--gc-sections'" ./capi
	@rm -f $(LIB)/libImSDK.h
	@cp capi/include/TIMCloud.h $(LIB)/include/
	@sed 's/@VERSION@/$(LIB_VERSION)/' capi/package/libImSDK.pc.in >$(LIB)/pkgconfig/libImSDK.pc
	@cp capi/package/ImSDKConfig.cmake $(LIB)/cmake/ImSDK/
	@sed 's/@VERSION@/$(LIB_VERSION)/' capi/package/ImSDKConfigVersion.cmake.in >$(LIB)/cmake/ImSDK/ImSDKConfigVersion.cmake
	@for file in ImSDKConfig ImSDKConfigVersion; do \
		echo "include(\"\$${CMAKE_CURRENT_LIST_DIR}/ImSDK/$$file.cmake\")" >$(LIB)/cmake/$$file.cmake; \
	done

# Regenerates code and pages. The result is committed.
gen generate:
	$(GO) run ./internal/gen
	for page in configuration group-types; do \
		$(GO) run ./cmd/tidings reference $$page > docs/reference/$$page.md.new && mv docs/reference/$$page.md.new docs/reference/$$page.md || exit 1; \
	done

# TESTFLAGS are flags of `go test`. Installs nothing. Without CI=true, tests that lack a program are skipped. `go vet` checks all that `go test` would check by itself.
test:
	@packages=$$(echo $$(.ci/missing)); [ -z "$$packages" ] || [ "$$CI" = true ] || \
		echo "Not all tests run here: some need $$packages, and are skipped. To run them, too: apt-get install $$packages"
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -race -vet=off -timeout 25m $(TESTFLAGS) ./...

demo: build
	$(GO) run ./examples/demo
	@GO="$(GO)" sh examples/c/demo.sh

# Runs every fuzz target of every package for FUZZTIME. `go test -fuzz` builds the test again for every target and runs one, so each package's test is
# built once here, in the same way; without FUZZBUILD coverage does not guide the inputs, and all are built at once. When the time ends while a worker is being asked, Go
# sometimes reports "context deadline exceeded" as a failure although no input failed: such a target runs again.
fuzz:
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; cache=$$($(GO) env GOCACHE)/fuzz; \
	pkgs=$$($(GO) list $$(grep -rl --include='*_test.go' '^func Fuzz' . | sed 's,/[^/]*$$,,' | sort -u)); \
	[ -n "$(FUZZBUILD)" ] || $(GO) test -c -ldflags '-s -w' -o "$$dir/" $$pkgs; \
	for pkg in $$pkgs; do \
		test="$$dir/$${pkg##*/}.test"; \
		[ -z "$(FUZZBUILD)" ] || $(GO) test -c $(FUZZBUILD) -o "$$test" $$pkg; \
		folder=$$($(GO) list -f '{{.Dir}}' $$pkg); \
		targets=$$(cd "$$folder" && "$$test" -test.list '^Fuzz'); \
		for target in $$targets; do \
			for try in 1 2 3; do \
				echo "$$pkg $$target"; code=0; \
				(cd "$$folder" && exec "$$test" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) \
					-test.fuzzcachedir "$$cache/$$pkg") >"$$dir/log" 2>&1 || code=$$?; \
				cat "$$dir/log"; [ $$code -ne 0 ] || break; \
				grep -q '^ *context deadline exceeded$$' "$$dir/log" && ! grep -q -e 'Failing input' -e 'seed corpus' "$$dir/log" || exit $$code; \
			done; \
			[ $$code -eq 0 ] || exit $$code; \
		done; \
	done

# Runs the long form of every test that has one (package internal/testing/soak), then kills, histories and fuzz targets.
soak:
	TIDINGS_SOAK=1 $(GO) test -race -count=1 -timeout 4h ./...
	$(MAKE) torture fuzz

torture: torture-kills torture-histories

# Kills servers, stores and clients with SIGKILL, ROUNDS times each, in the middle of what they acknowledge; `make test` does 2 to 5 rounds.
torture-kills:
	TIDINGS_KILL_ROUNDS=$(ROUNDS) TIDINGS_TORTURE_ROUNDS=$(ROUNDS) $(GO) test -race -count=1 -timeout 4h -v -run 'Kill' ./cmd/tidings ./internal/store/... ./client

# Random histories of messages, relations and groups, beside each other, against servers and clients that are killed, for TORTURE, from SEED on. The last lines say how many kills there were and what was
# wrong.
torture-histories:
	$(GO) test ./internal/testing/histcheck -count=1 -run 'Test(Relation|Group)?History$$' -v -timeout 0 -histcheck.time $(TORTURE) -histcheck.kill -histcheck.bounces 40 -histcheck.parallel 1 -histcheck.seed $(SEED)

clean:
	rm -rf bin lib
