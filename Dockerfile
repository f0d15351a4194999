# syntax=docker/dockerfile:1
# Targets:
#   gateway     the gateway for Drone, Woodpecker or a remote builder: only the binary
#   runner      the build step of a CI: its two programs, git and runc
#   all-in-one  the gateway with the embedded engine: the binary, the runners' program, git and runc
FROM golang:1.26-bookworm AS build
ENV GOCACHE=/go/cache
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/cache \
    export CGO_ENABLED=0 && \
    go build -trimpath -tags nomsgpack -ldflags "-s -w -X slipway/config.Version=${VERSION}" -o /slipway . && \
    go build -trimpath -tags nomsgpack -ldflags "-s -w -X slipway/config.Version=${VERSION}" -o /step/ ./runner/slipway ./runner/slipway-builder

FROM debian:bookworm-slim AS base
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["slipway"]

FROM base AS gateway
COPY --link --from=build /slipway /usr/local/bin/slipway
ENV SLIPWAY_DATA=/var/lib/slipway
VOLUME /var/lib/slipway
EXPOSE 8080
USER 65532:65532
CMD ["gateway"]

FROM base AS tools
RUN apt-get update && apt-get install -y --no-install-recommends git openssh-client runc iptables containernetworking-plugins && rm -rf /var/lib/apt/lists/*

FROM tools AS runner
COPY --link --from=build /step/ /usr/local/bin/
CMD ["runner"]

FROM tools AS all-in-one
COPY --link --from=build /slipway /usr/local/bin/slipway
COPY --link --from=build /step/slipway /usr/local/bin/slipway-step
ENV SLIPWAY_DATA=/var/lib/slipway
VOLUME /var/lib/slipway
EXPOSE 8080
CMD ["gateway"]
