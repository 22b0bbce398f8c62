import os

QUERY = os.environ["QUERY"]
# docs: begin
import csv

import requests
from simple_salesforce import Salesforce

answer = requests.get(
    os.environ["AQUILA_URL"] + "/token", headers={"Authorization": "Bearer " + os.environ["AQUILA_KEY"]}, timeout=15
)
answer.raise_for_status()
token = answer.json()

salesforce = Salesforce(instance_url=token["instance_url"], session_id=token["access_token"])
for file in salesforce.query_all_iter(QUERY):
    # Not `restful()`: that reads every answer as JSON, and a log file is CSV.
    url = f"https://{salesforce.sf_instance}{file['LogFile']}"
    log = salesforce.session.get(url, headers=salesforce.headers, timeout=60)
    log.raise_for_status()
    rows = list(csv.DictReader(log.text.splitlines()))
# docs: end

import json

print(json.dumps({"id": file["Id"], "rows": rows}))
