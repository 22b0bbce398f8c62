# docs: begin
import os

from requests_oauth2client import OAuth2Client

client = OAuth2Client(os.environ["AQUILA_URL"] + "/token", (os.environ["AQUILA_CALLER"], os.environ["AQUILA_KEY"]))
token = client.client_credentials()
# docs: end

import json

assert not token.is_expired()
print(json.dumps({"access_token": token.access_token, "seconds_left": token.expires_in}))
