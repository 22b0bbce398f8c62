# docs: begin
import os
import pathlib

from authlib.integrations.requests_client import AssertionSession

session = AssertionSession(
    token_endpoint=os.environ["AQUILA_URL"] + "/services/oauth2/token",
    issuer=os.environ["AQUILA_CALLER"],
    subject="elf-prod",
    audience=os.environ["AQUILA_URL"],
    grant_type=AssertionSession.JWT_BEARER_GRANT_TYPE,
    key=pathlib.Path(os.environ["AQUILA_PRIVATE_KEY"]).read_text(),
    header={"alg": "RS256"},
    expires_in=60,
)
token = session.refresh_token()
# docs: end

import json

print(json.dumps({"access_token": token["access_token"]}))
