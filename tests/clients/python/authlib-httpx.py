# docs: begin
import os

from authlib.integrations.httpx_client import OAuth2Client

session = OAuth2Client(os.environ["AQUILA_CALLER"], os.environ["AQUILA_KEY"])
token = session.fetch_token(os.environ["AQUILA_URL"] + "/token", grant_type="client_credentials")
# docs: end

import json
import time

assert not token.is_expired()
print(json.dumps({"access_token": token["access_token"], "seconds_left": token["expires_at"] - time.time()}))
