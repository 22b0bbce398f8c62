# docs: begin
import os

import httpx
from httpx_auth import OAuth2ClientCredentials

auth = OAuth2ClientCredentials(
    os.environ["AQUILA_URL"] + "/token", client_id=os.environ["AQUILA_CALLER"], client_secret=os.environ["AQUILA_KEY"]
)
limits = httpx.get(os.environ["SALESFORCE_URL"] + "/services/data/v60.0/limits", auth=auth).raise_for_status()
# docs: end

import json
import time

from httpx_auth import OAuth2

# The token is the client's own affair: it shows in the request that it signed, and its end in the client's store.
((_, expiry),) = [entry[:2] for entry in OAuth2.token_cache.tokens.values()]
token = limits.request.headers["Authorization"].removeprefix("Bearer ")
print(json.dumps({"access_token": token, "seconds_left": expiry - time.time()}))
