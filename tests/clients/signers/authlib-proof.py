# docs: begin
import os
import pathlib

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign


class ShortLived(PrivateKeyJWT):
    """Its own assertions last an hour."""

    def sign(self, auth, token_endpoint):
        return private_key_jwt_sign(auth.client_secret, auth.client_id, token_endpoint, alg="RS256", expires_in=60)


session = OAuth2Session(
    os.environ["AQUILA_CALLER"],
    pathlib.Path(os.environ["AQUILA_PRIVATE_KEY"]).read_text(),
    token_endpoint_auth_method=ShortLived(),
)
token = session.fetch_token(os.environ["AQUILA_URL"] + "/token", grant_type="client_credentials")
# docs: end

import json

print(json.dumps({"access_token": token["access_token"]}))
