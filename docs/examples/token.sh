#!/bin/sh
# Lists the Event Log Files of the last logins.
set -eu

# The key and the token go in through the standard input: every user of the machine can read what is in the arguments.
answer=$(printf 'header = "Authorization: Bearer %s"\n' "$AQUILA_KEY" |
  curl --silent --show-error --fail-with-body --config - "$AQUILA_URL/token")
field() { printf '%s' "$answer" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

query="SELECT Id, EventType, LogDate, LogFile FROM EventLogFile WHERE EventType = 'Login'"
printf 'header = "Authorization: Bearer %s"\n' "$(field access_token)" |
  curl --silent --show-error --fail-with-body --config - --get --data-urlencode "q=$query" \
    "$(field instance_url)/services/data/v60.0/query"
