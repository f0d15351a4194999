# make demo    runs the whole loop on this machine with real git, BuildKit and registry: a push becomes
#              an image and a successful status (ARGS=--once checks the results and exits)
# make test    runs every test, with the race detector if the package starts no builder, and writes
#              pictures of the pages to screenshots/. It names the skipped tests
# make lint    runs gofmt, go vet and golangci-lint, and checks go.mod
# make cover   runs every test and prints the statement coverage
# make trust   runs all tests with the race detector, then the long tests (more kills, more disorder),
#              then each fuzz target for a minute: hours
# make bench   runs the benchmarks
# make bench-gateway  compares acknowledgements of deliveries with a server that does only what they need
# make bench-scale  compares all pages, planning and an idle gateway on a large database with those on a small one
#              (ARGS="-databases sqlite" selects): minutes, and 16 GB of disk
# make bench-runner  compares the step with buildctl, and with buildah if it is installed, on the same
#              Dockerfiles (as root; ARGS="-rows tiny,dag -rounds 5" selects). The first run builds
#              buildkitd and a registry
# make build   builds bin/slipway, the runners' program bin/slipway-step, which is also the step of
#              the step's image, and bin/slipway-builder of that image
# make fmt     formats the code
# make docs    writes docs/settings.md and docs/step-settings.md from the settings in the code
# Each target installs the Debian packages that it needs (with sudo if not root), and prints their names.

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VERSION       := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
RELEASE       := -trimpath -tags nomsgpack -ldflags "-s -w -X slipway/config.Version=$(VERSION)"
GO_FILES      := $(shell git ls-files '*.go' 2>/dev/null)
RUNTIME       := ca-certificates git openssh-client runc busybox-static iptables containernetworking-plugins slirp4netns uidmap e2fsprogs
TESTING       := procps chromium nginx-light nodejs openjdk-17-jdk-headless postgresql docker-registry git-lfs skopeo curl openssl wget iproute2 sudo systemd strace

# Module of the tests with clients of Bitbucket.
CLIENTS       := plugin/bitbucket/bitbuckettest/clients

# Without the race detector in SQLite, which is C translated to Go. Tests are four times as fast, and
# our code is still checked.
RACE          := -race -gcflags=modernc.org/...=-race=false

# go test that names the skipped tests. SKIPS=-strict fails if .ci/allowed-skips does not have one. It runs
# no go vet: make lint runs it with all its checks.
SKIPTEST      := $(CURDIR)/bin/skiptest -allow $(CURDIR)/.ci/allowed-skips $(SKIPS) -- -vet=off

# Packages whose tests mount, make namespaces or start builders. They run as root. The longest comes first, so that
# it does not run alone at the end.
PRIVILEGED    := ./plugin/demo/crashtest ./runner ./runner/buildkit/... ./runner/sandbox/... ./runner/attemptserver/... ./plugin/engine/... ./plugin/demo/...

# Ordinary users of Debian do not find iptables and mkfs.ext4.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

ifneq ($(shell id -u),0)
AS_ROOT       := -exec "sudo -E env PATH=$$PATH"
else
OWN_MOUNTS    := unshare --mount # no mount remains, even after a crash
endif

# Directory for the pictures of the browser test.
test cover: export SLIPWAY_SCREENSHOTS ?= $(CURDIR)/screenshots

# Directory of the step's programs, for their test.
test cover trust: export SLIPWAY_TEST_STEP_PROGRAMS = $(CURDIR)/bin/test
test cover trust: bin/test
test: bin/skiptest

# Fuzz targets of make trust: package:target.
FUZZ := plugin/gitproxy:FuzzRoute runner/source:FuzzSameRepository config/secret:FuzzStream config/secret:FuzzMixed config:FuzzLoadGateway config:FuzzLoadGatewayWithoutABuilder \
	plugin/bitbucket/webhook:FuzzVerify plugin/bitbucket/webhook:FuzzParse plugin/catalog/rulesfile:FuzzDecode \
	plugin/rules:FuzzDecide plugin/rules:FuzzTags plugin/credentials:FuzzChoose runner/settings:FuzzReadPlugin runner/settings:FuzzLogins runner/settings:FuzzRead \
	plugin/accounts:FuzzS2ReturnTo runner/spec:FuzzDecodeSpec plugin/web/pages/loghtml:FuzzNothingButSpans plugin/web/pages/loghtml:FuzzPlain \
	plugin/bitbucket/bitbuckettest:FuzzFilter runner/tags:FuzzDecide runner/hints:FuzzFind \
	runner/registryproxy:FuzzParse runner/registryproxy:FuzzParseChallenge

.PHONY: demo test lint build fmt cover bench bench-gateway bench-scale bench-runner trust docs

demo: build
	./bin/slipway demo $(ARGS)

build: export CGO_ENABLED = 0
build:
	@./.ci/install $(RUNTIME)
	go build $(RELEASE) -o bin/slipway .
	go build $(RELEASE) -o bin/slipway-step ./runner/slipway
	go build $(RELEASE) -o bin/slipway-builder ./runner/slipway-builder

test:
	@./.ci/install $(RUNTIME) $(TESTING) gcc libc6-dev
	$(SKIPTEST) $(RACE) -timeout 15m $$(go list ./... | grep -vE '^slipway/(runner$$|runner/buildkit|runner/sandbox|runner/attemptserver|plugin/engine|plugin/demo)')
	$(SKIPTEST) -timeout 15m -p 4 $(AS_ROOT) $(PRIVILEGED)
	@command -v npm >/dev/null || ./.ci/install npm
	cd $(CLIENTS) && $(SKIPTEST) -timeout 15m ./...

bin/skiptest: FORCE
	go build -o bin/skiptest ./config/skiptest

bin/test: FORCE
	go build -o bin/test/ ./runner/slipway ./runner/slipway-builder

FORCE:

trust:
	@./.ci/install $(RUNTIME) $(TESTING) gcc libc6-dev
	go test $(RACE) -timeout 1h -p 1 $(AS_ROOT) $(PRIVILEGED)
	export PATH="$(CURDIR)/bin/bench/programs:$$PATH"; SLIPWAY_TRUST=1 go test -timeout 3h -p 1 $(AS_ROOT) ./...
	set -e; for target in $(FUZZ); do go test -run '^$$' -fuzz "^$${target#*:}$$" -fuzztime 1m "./$${target%:*}"; done

cover:
	@./.ci/install $(RUNTIME) $(TESTING)
	go test -timeout 15m -coverprofile coverage.out $(AS_ROOT) ./...
	go tool cover -func coverage.out | tail -1

docs:
	go test ./docs -run TestTheSettingsPagesAreCurrent -update

bench: build bench-scale
	go test -run '^$$' -bench . ./plugin/store/... ./plugin/gitproxy ./runner/registryproxy ./config/...
	go test -run '^$$' -bench . $(AS_ROOT) ./plugin/demo/crashtest ./runner/sandbox/disk ./runner/sandbox/guest ./runner/sandbox/container
	SLIPWAY_BENCH_PROGRAMS=$(CURDIR)/bin go test -run '^$$' -bench PushToRunner -benchtime 25x $(AS_ROOT) ./plugin/demo

bench-gateway: build
	go run ./plugin/benchtest $(ARGS)

bench-scale: build
	@./.ci/install postgresql
	go run ./plugin/benchtest/scaletest $(ARGS)

bench-runner:
	@./.ci/install $(RUNTIME) tar mount e2fsprogs
	$(OWN_MOUNTS) go run ./runner/benchtest $(ARGS)

lint: bin/golangci-lint
	@test -z "$$(gofmt -l $(GO_FILES))" || { gofmt -l $(GO_FILES); echo "run: make fmt"; exit 1; }
	go mod tidy -diff
	go mod verify
	go vet ./...
	./bin/golangci-lint run
	cd $(CLIENTS) && go mod tidy -diff && go mod verify && go vet ./... && $(CURDIR)/bin/golangci-lint run

bin/golangci-lint: Makefile
	@./.ci/install ca-certificates git
	@echo "building golangci-lint (about a minute)"
	GOBIN=$(CURDIR)/bin go install $(GOLANGCI_LINT)
	@touch $@

fmt: bin/golangci-lint
	./bin/golangci-lint fmt
	cd $(CLIENTS) && $(CURDIR)/bin/golangci-lint fmt
