# Recipes are the gates of CI, by the same names. `just check` is what must pass before a commit.

default:
    @just --list

# Formatting, lints, tests and documentation.
check: fmt lint test doc

# Every gate, as CI runs them.
ci:
    .ci/run

# Is the source formatted?
fmt:
    .ci/run fmt

# Clippy over everything, warnings are errors.
lint:
    .ci/run lint

# Everything that needs only Rust and redis-server.
test:
    cargo test --locked

# All tests, the ones with other people's clients too; installs what they need.
test-all:
    ./test

# Layers, file lengths, reasons.
tidy:
    cargo test --locked --test tidy

# Coverage-guided fuzzing of everything that parses input, ten seconds for each.
fuzz:
    .ci/run fuzz

# The documentation builds, private items too.
doc:
    .ci/run doc

# Licences, bans, sources, advisories of the dependencies.
deny:
    .ci/run deny

# The chart: lint, render, validate.
helm:
    .ci/run helm

# The Dockerfile: hadolint; built on stand-ins for its bases, and run. Wants root.
image:
    .ci/run image

# The systemd unit: known to systemd, and its exposure.
unit:
    .ci/run unit

# The shell scripts.
shell:
    .ci/run shell

# The commands that README names.
readme:
    .ci/run readme

# One round against the built-in simulator.
demo:
    .ci/run demo

# The cache and the lease of the store, each through thousands of orders of events.
model:
    .ci/run model

# A storm of faults over the real binaries for about a minute; longer: tests/tools/soak.py --seconds 3600.
soak:
    .ci/run soak
