# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The dependencies alone, over an empty crate: this layer is rebuilt only when the manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs \
 && cargo build --release --locked --features jemalloc \
 && rm -r src
COPY . .
# COPY keeps old time stamps; cargo must see that the crate is not the empty one.
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --features jemalloc --bin aquila

# glibc, libgcc, CA certificates and a user without a shell: what a PKCS#11 module needs to load, and nothing to log in to.
FROM gcr.io/distroless/cc-debian12:nonroot
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
