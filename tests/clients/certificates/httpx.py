import sys

sys.path.pop(0)  # this file has the name of the package
# docs: begin
import os
import ssl

import httpx

context = ssl.create_default_context()
context.load_cert_chain(os.environ["AQUILA_CERTIFICATE"], os.environ["AQUILA_CERTIFICATE_KEY"])
form = {"grant_type": "client_credentials", "client_id": os.environ["AQUILA_CALLER"]}
with httpx.Client(verify=context) as client:
    answer = client.post(os.environ["AQUILA_URL"] + "/token", data=form)
answer.raise_for_status()
token = answer.json()
# docs: end

print(answer.text)
