# GlobalNet. `make` alone lists what there is; BUILD.md and HACKING.md say more.

GO       ?= go
TAGS     := nethttpomithttp2
VERSION  ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags $(TAGS) -ldflags "$(LDFLAGS)"
# Only what moves packets and cells is inlined: docs/decisions/0002-build-flags.md.
HOT      := internal/bytealg internal/poll crypto/aes crypto/cipher crypto/sha256 crypto/sha512 \
	$(addprefix crypto/internal/fips140/,aes/... alias bigmod ecdh edwards25519/... hmac mlkem sha256 sha3 sha512 subtle) \
	crypto/internal/fips140deps/... filippo.io/... \
	$(addprefix golang.org/x/crypto/,argon2 blake2b blake2s chacha20/... chacha20poly1305 curve25519 internal/...) \
	$(addprefix golang.zx2c4.com/wireguard/,conn device replay tun) \
	globalnet/internal/chacha globalnet/mesh/kernel globalnet/onion/cell globalnet/onion/layer \
	globalnet/onion/channel globalnet/onion/relay globalnet/onion/stream globalnet/onion/circuit
FUZZTIME ?= 1m
PKG      ?= ./...
TARGETS  ?= mips mipsle arm5 arm6 arm7 arm64 amd64 386

export GOFLAGS ?= -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help build man run test leak-test race lint fuzz lab interop cover bench compare service-load mips-count build-all sizes packages imagebuilder repro vm-test vm-test-short vm-test-all vm-memory vm-power vm-kernel-mips mips-machine-test mips-test mips-test-all check clean \
	bin/globalnet bin/lab $(TARGETS:%=dist/globalnet-%)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: bin/globalnet bin/lab ## build the workstation binaries into bin/

bin/globalnet bin/lab:
	$(BUILD) -o $@ ./cmd/$(@F)

run: build ## start a neighbourhood of five routers and watch it (ONCE=1: end when all reach all)
	bin/lab run $(if $(ONCE),--once) $(if $(NAME),--name $(NAME)) $(FILE)

test: ## run the tests (LAB=required: fail where a privilege is missing)
	$(GO) test -timeout 20m -tags $(TAGS) $(PKG)

leak-test: ## 76 events of a router, after none of which a LAN client's packet leaves in clear (needs user namespaces)
	LAB=required LEAK_ROUNDS=4 $(GO) test -timeout 20m -count=1 -tags $(TAGS) -run NothingLeaves ./lab/scenario/lan

race: ## run the tests with the race detector (needs a C compiler for the detector)
	CGO_ENABLED=1 $(GO) test -race -tags $(TAGS) $(PKG)

ON_MIPS  := GOOS=linux GOARCH=mips GOMIPS=softfloat CGO_ENABLED=0
lint: ## gofmt, vet (for 32 bits too, and what atomics must be aligned to), staticcheck; flash builds for Windows and macOS
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet -tags $(TAGS) $(PKG)
	$(GO) build -o bin/vetalign ./internal/vetalign
	$(ON_MIPS) $(GO) vet -vettool=$(CURDIR)/bin/vetalign -tags $(TAGS) $(PKG)
	$(ON_MIPS) GOFLAGS='$(GOFLAGS) -tags=$(TAGS)' bin/vetalign -test=false \
		$$($(ON_MIPS) $(GO) list -deps -tags $(TAGS) -f '{{if not .Standard}}{{.ImportPath}}{{end}}' ./cmd/globalnet)
	GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/flash
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/flash
	$(GO) tool staticcheck -tags $(TAGS) $(PKG)

fuzz: ## run every fuzzer for FUZZTIME (1m)
	@for dir in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			echo "== $$dir $$name"; \
			$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; \
	done

lab: build ## run the tests that need namespaces, and fail where they are forbidden
	LAB=required $(GO) test -timeout 20m -tags $(TAGS) ./lab/... ./mesh/... ./agent/...

interop: build ## run the tests against babeld, avahi and tshark
	LAB=required $(GO) test -tags $(TAGS) -count 1 -v ./lab/interop

man: bin/globalnet ## write the manual page to dist/globalnet.8
	@mkdir -p dist
	bin/globalnet manual >dist/globalnet.8

cover: ## show the coverage of each function, and the sum
	@mkdir -p dist
	$(GO) test -tags $(TAGS) -coverpkg=./... -coverprofile=dist/cover.out $(PKG)
	$(GO) tool cover -func=dist/cover.out

bench: build ## measure the mesh, one JSON object
	bin/lab bench mesh -json

compare: build ## measure beside babeld and yggdrasil, the hash table beside anacrolix/dht, the onion and its services beside tor
	cd lab/peers/anacrolix && $(GO) build -o ../../../bin/dht-anacrolix .
	bin/lab bench compare
	bin/lab bench compare-dht
	bin/lab bench compare-onion
	bin/lab bench compare-service

service-load: ## download 1 GB from a hidden service while relays are killed one after another (SERVICE_BYTES: how much)
	SERVICE_BYTES=$(or $(SERVICE_BYTES),1000000000) LAB=required $(GO) test -tags $(TAGS) -count 1 -timeout 30m -v -run TestServiceDownload ./lab/scenario

mips-count: ## count the instructions of a cell's layer on mips (needs qemu-mips-static)
	$(GO) run ./lab/mipscount

build-all: $(TARGETS:%=dist/globalnet-%) ## cross-compile the router binary for all architectures

dist/globalnet-mips:   export GOARCH = mips
dist/globalnet-mips:   export GOMIPS = softfloat
dist/globalnet-mipsle: export GOARCH = mipsle
dist/globalnet-mipsle: export GOMIPS = softfloat
dist/globalnet-arm5:   export GOARCH = arm
dist/globalnet-arm5:   export GOARM = 5
dist/globalnet-arm6:   export GOARCH = arm
dist/globalnet-arm6:   export GOARM = 6
dist/globalnet-arm7:   export GOARCH = arm
dist/globalnet-arm7:   export GOARM = 7
dist/globalnet-arm64:  export GOARCH = arm64
dist/globalnet-amd64:  export GOARCH = amd64
dist/globalnet-386:    export GOARCH = 386

$(TARGETS:%=dist/globalnet-%): export GOOS = linux
$(TARGETS:%=dist/globalnet-%):
	@mkdir -p dist
	@echo "building $@"
	@$(BUILD) -gcflags=all=-l $(HOT:%='-gcflags=%=') -o $@ ./cmd/globalnet

sizes: ## print the size of each router binary against its budget (after build-all)
	$(GO) run ./internal/sizes $(TARGETS:%=dist/globalnet-%)

packages: build-all ## build .ipk and .apk for all architectures (APK_SIGN_KEY, USIGN_KEY: files to sign with)
	$(GO) run ./cmd/packages -o dist/packages -binaries dist $(if $(ARCH),-arch $(ARCH)) $(if $(RELEASE),-version $(RELEASE))

imagebuilder: ## build an image with the agent inside, by the ImageBuilder in DIR for PROFILE (MORE=packages OPTIONS="-mesh-radio auto")
	$(GO) run ./openwrt/imagebuilder -dir "$(DIR)" -profile "$(PROFILE)" $(if $(MORE),-more "$(MORE)") $(OPTIONS)

repro: ## build packages of this commit twice, in different folders and caches, and compare (ARCH=..., TARGETS=...)
	internal/repro.sh "$(ARCH)" "$(TARGETS)"

vm-test: ## test kernel WireGuard and simulated Wi-Fi in a virtual machine (docs/lab-vm.md)
	LAB_VM=1 $(GO) test -tags $(TAGS) -count 1 -timeout 40m -v ./lab/vm

vm-test-short: ## the part of vm-test that continuous integration runs: radios, a hidden service over them, flash
	LAB_VM=1 LAB_VM_ARGS="'-test.run=TestLine|TestJoinAgain|TestRadiosHearAgain|TestService|TestFlash|TestReload'" \
		$(GO) test -tags $(TAGS) -count 1 -timeout 15m -v -run TestRadios ./lab/vm

vm-test-all: ## vm-test, and agents on emulated little-endian MIPS and ARM machines (qemu-system-mips, qemu-system-arm)
	LAB_VM=1 LAB_VM_ALL=1 $(GO) test -tags $(TAGS) -count 1 -timeout 90m -v ./lab/vm

vm-memory: ## measure an agent with four neighbours on an emulated MIPS machine of 64 MiB (qemu-system-mips)
	LAB_VM=1 LAB_VM_ALL=1 $(GO) test -tags $(TAGS) -count 1 -timeout 30m -v -run TestMemoryMIPS ./lab/vm

CUTS     ?= 50
vm-power: ## kill virtual machines CUTS times on each of ext4, jffs2 and UBIFS, while they write identity, state and configuration
	LAB_VM=1 LAB_VM_CUTS=$(CUTS) $(GO) test -tags $(TAGS) -count 1 -timeout 2h -v -run TestPower ./lab/vm

vm-kernel-mips: ## build the kernel of the big-endian MIPS machine into the cache, once (docs/lab-vm.md: what it takes)
	$(GO) run ./lab/vm/kernel mips

mips-machine-test: ## run the tests that need a kernel in the big-endian MIPS machine (after vm-kernel-mips; UNITS="mesh/kernel ...": these)
	LAB_VM=1 LAB_VM_UNITS="$(or $(UNITS),all)" $(GO) test -tags $(TAGS) -count 1 -timeout 2h -v -run TestUnits ./lab/vm

# Tests on MIPS by an emulator of user mode: the instructions are MIPS', the kernel is this
# machine's. Tests that need namespaces skip there and say why: it makes none, even where
# LAB=required. What else it does not translate is left out by name:
#   PowerCutIdentity, …        strace cannot start a program of MIPS
#   MetricsOfTheProcess        /proc/self/stat is its own, and has no memory in it
#   NotARadio, StationChange   netlink's answers come in the byte order of the host
#   StreamEnds, Loops, LogsNothingOfClients
#                              errors of connections have the host's numbers (ECONNREFUSED is
#                              111 instead of MIPS' 146), so that nobody can tell them apart
# and these packages, which start programs of the host all the time, or are about them.
NOT_MIPS := PowerCut(Identity|State|Service|Setup)|MetricsOfTheProcess|NotARadio|StationChange|StreamEnds|TestLoops|LogsNothingOfClients
HOSTS    := ^globalnet$$|^globalnet/(lab|cmd/lab|cmd/packages|internal/(chromium|sizes|vetalign))(/|$$)|/openwrt/(flash|imagebuilder|pack|upgrade)$$

# What continuous integration runs of them: codecs, cryptography, configuration, and of what
# remains the tests that move little data and wait for nobody: the emulator is slow, and now and
# then a program that makes many connections stands still in it.
PURE     := internal/blind internal/chacha internal/gate internal/identity mesh/babel/wire mesh/dht/wire mesh/peers \
	onion/cell onion/layer onion/ntor onion/path onion/policy onion/service/key onion/service/intro \
	onion/service/desc onion/service/pow openwrt openwrt/uci openwrt/usign board agent/config
SOME     := Contact|Diversity|Expiry|ExtendAfter|Forgeries|HopErrors|Interval|Key|NodeRecord|Puzzle|Resolve|Responsib|Sealing|Segments|Store(Rules|Needs)|ThreeHops|Validators
mips      = LAB= GOOS=linux GOARCH=$(1) GOMIPS=softfloat CGO_ENABLED=0 $(GO) test -short -vet=off -tags $(TAGS) -exec $(2)
tested    = $$($(GO) list -tags $(TAGS) -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | grep -vE '$(1)')

mips-test: ## run the tests of the pure packages on big- and little-endian MIPS, emulated (qemu-user-static)
	$(call mips,mips,qemu-mips-static) -skip '$(NOT_MIPS)' $(PURE:%=./%)
	$(call mips,mips,qemu-mips-static) -skip 'Model|Floods|Memory' ./mesh/babel
	$(call mips,mips,qemu-mips-static) -run '$(SOME)' ./mesh/dht ./onion/circuit
	$(call mips,mipsle,qemu-mipsel-static) -skip '$(NOT_MIPS)' $(PURE:%=./%)

mips-test-all: ## run all tests that an emulator can, on big- and on little-endian MIPS; the long ones too
	@echo "left out, as the Makefile explains: tests named $(NOT_MIPS), packages named $(HOSTS)"
	$(call mips,mips,qemu-mips-static) -p 1 -timeout 1h -skip '$(NOT_MIPS)' $(call tested,$(HOSTS))
	$(call mips,mipsle,qemu-mipsel-static) -p 1 -timeout 1h -skip '$(NOT_MIPS)' $(call tested,$(HOSTS))

check: ## what continuous integration runs
	.ci/run

clean: ## remove what was built
	rm -rf bin dist
