# docs: begin
import os

from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

session = OAuth2Session(client=BackendApplicationClient(client_id=os.environ["AQUILA_CALLER"]))
token = session.fetch_token(os.environ["AQUILA_URL"] + "/token", client_secret=os.environ["AQUILA_KEY"])
# docs: end

import json
import time

print(json.dumps({"access_token": token["access_token"], "seconds_left": token["expires_at"] - time.time()}))
