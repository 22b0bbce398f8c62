#!/bin/sh
set -eu
# docs: begin
# The key goes to curl and the token to sf without standing in anybody's arguments.
token=$(printf 'header = "Authorization: Bearer %s"\n' "$AQUILA_KEY" |
  curl --silent --show-error --fail-with-body --config - "$AQUILA_URL/token")
field() { printf '%s' "$token" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

SF_ACCESS_TOKEN=$(field access_token) \
  sf org login access-token --instance-url "$(field instance_url)" --alias logs --no-prompt
sf data query --target-org logs --json --query "$QUERY" > files.json
log_file=$(sed -n 's/.*"LogFile": *"\([^"]*\)".*/\1/p' files.json)
sf api request rest --target-org logs "$log_file" > log.csv
# docs: end
