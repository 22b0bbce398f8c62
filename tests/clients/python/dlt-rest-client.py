# docs: begin
import os

from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials

auth = OAuth2ClientCredentials(
    access_token_url=os.environ["AQUILA_URL"] + "/token",
    client_id=os.environ["AQUILA_CALLER"],
    client_secret=os.environ["AQUILA_KEY"],
)
client = RESTClient(base_url=os.environ["SALESFORCE_URL"], auth=auth)
limits = client.get("/services/data/v60.0/limits")
limits.raise_for_status()
# docs: end

import renewal

renewal.tell(
    token=lambda: auth.access_token,
    end=lambda: auth.token_expiry.timestamp(),
    use=lambda: client.get("/services/data/v60.0/limits").raise_for_status(),
)
