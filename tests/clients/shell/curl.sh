#!/bin/sh
set -eu
# docs: begin
# The key goes in through the standard input: what stands in the arguments, every user of the machine can read.
printf 'user = "%s:%s"\n' "$AQUILA_CALLER" "$AQUILA_KEY" |
  curl --silent --show-error --fail-with-body --config - --data grant_type=client_credentials "$AQUILA_URL/token"
# docs: end
