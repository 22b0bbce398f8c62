# docs: begin
import logging
import os

from airbyte_cdk.sources.declarative.auth.oauth import DeclarativeOauth2Authenticator
from airbyte_cdk.sources.streams.http.http_client import HttpClient

authenticator = DeclarativeOauth2Authenticator(
    config={"client_id": os.environ["AQUILA_CALLER"], "client_secret": os.environ["AQUILA_KEY"]},
    parameters={},
    token_refresh_endpoint=os.environ["AQUILA_URL"] + "/token",
    grant_type="client_credentials",
    client_id="{{ config['client_id'] }}",
    client_secret="{{ config['client_secret'] }}",
)
client = HttpClient("limits", logging.getLogger("airbyte"), authenticator=authenticator)
limits_url = os.environ["SALESFORCE_URL"] + "/services/data/v60.0/limits"
_, limits = client.send_request("GET", limits_url, request_kwargs={})
# docs: end

import renewal

renewal.tell(
    token=lambda: authenticator.access_token,
    end=lambda: authenticator.get_token_expiry_date().timestamp(),
    use=lambda: client.send_request("GET", limits_url, request_kwargs={}),
)
