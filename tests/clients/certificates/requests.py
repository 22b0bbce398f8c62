import sys

sys.path.pop(0)  # this file has the name of the package
# docs: begin
import os

import requests

pair = (os.environ["AQUILA_CERTIFICATE"], os.environ["AQUILA_CERTIFICATE_KEY"])
form = {"grant_type": "client_credentials", "client_id": os.environ["AQUILA_CALLER"]}
answer = requests.post(os.environ["AQUILA_URL"] + "/token", data=form, cert=pair, timeout=15)
answer.raise_for_status()
token = answer.json()
# docs: end

print(answer.text)
