# syntax=docker/dockerfile:1

# Both bases by exact tag. Only a digest cannot be moved by the registry, and only who pulls a base can vouch for one: a
# release gives both with theirs, as in `--build-arg BUILD_BASE=rust:1.95.0-bookworm@sha256:…`.
ARG BUILD_BASE=rust:1.95.0-bookworm
# glibc, libgcc, CA certificates and a user without a shell: what a PKCS#11 module needs to load, and nothing to log in to.
ARG RUNTIME_BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_BASE} AS build
# It writes into the binary which crates it is made of, so that `cargo audit bin` can judge it in ten years. It runs for
# a second, so it is built to be built fast.
RUN CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 \
    cargo install --quiet --locked cargo-auditable@0.7.7
WORKDIR /src
# The dependencies alone, over an empty crate: this layer is rebuilt only when the manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs \
 && cargo auditable build --release --locked --features jemalloc --bin aquila \
 && rm -r src
COPY . .
# COPY keeps old time stamps; cargo must see that the crate is not the empty one.
RUN touch src/main.rs src/lib.rs \
 && cargo auditable build --release --locked --features jemalloc --bin aquila

FROM ${RUNTIME_BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aquila" \
      org.opencontainers.image.description="Salesforce token broker: holds the keys, mints and caches the tokens, hands them to callers that prove who they are" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build --chmod=0755 /src/target/release/aquila /usr/local/bin/aquila
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# Callers' door and ops door. Both listen on loopback until the configuration says otherwise.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/aquila", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/aquila"]
CMD ["serve", "--config", "/etc/aquila/aquila.toml"]
