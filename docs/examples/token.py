"""Lists the Event Log Files of the last logins. Needs nothing but Python."""

import json
import os
import urllib.parse
import urllib.request


def get(url, bearer):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {bearer}"})
    with urllib.request.urlopen(request, timeout=15) as answer:
        return json.load(answer)


token = get(os.environ["AQUILA_URL"] + "/token", os.environ["AQUILA_KEY"])
query = "SELECT Id, EventType, LogDate, LogFile FROM EventLogFile WHERE EventType = 'Login'"
url = f"{token['instance_url']}/services/data/v60.0/query?q={urllib.parse.quote(query)}"
print(json.dumps(get(url, token["access_token"])))
