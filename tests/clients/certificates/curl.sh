#!/bin/sh
set -eu
# docs: begin
curl --silent --show-error --fail-with-body --cert "$AQUILA_CERTIFICATE" --key "$AQUILA_CERTIFICATE_KEY" "$AQUILA_URL/token"
# docs: end
