# docs: begin
import os
import pathlib

from jwskate import Jwk
from requests_oauth2client import OAuth2Client, PrivateKeyJwt

key = Jwk.from_pem(pathlib.Path(os.environ["AQUILA_PRIVATE_KEY"]).read_text()).with_kid_thumbprint()
client = OAuth2Client(
    os.environ["AQUILA_URL"] + "/token", auth=PrivateKeyJwt(os.environ["AQUILA_CALLER"], key, alg="RS256")
)
token = client.client_credentials()
# docs: end

import json

print(json.dumps({"access_token": token.access_token}))
