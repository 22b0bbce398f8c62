# docs: begin
import os

import requests
from singer_sdk.authenticators import OAuthAuthenticator


class BrokerAuthenticator(OAuthAuthenticator):
    @property
    def oauth_request_body(self):
        return {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret}


auth = BrokerAuthenticator(
    auth_endpoint=os.environ["AQUILA_URL"] + "/token",
    client_id=os.environ["AQUILA_CALLER"],
    client_secret=os.environ["AQUILA_KEY"],
)
limits_url = os.environ["SALESFORCE_URL"] + "/services/data/v60.0/limits"
limits = requests.get(limits_url, auth=auth, timeout=15)
limits.raise_for_status()
# docs: end

import datetime

import renewal

renewal.tell(
    token=lambda: auth.access_token,
    end=lambda: (auth.last_refreshed + datetime.timedelta(seconds=auth.expires_in)).timestamp(),
    use=lambda: requests.get(limits_url, auth=auth, timeout=15).raise_for_status(),
)
