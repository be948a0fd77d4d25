import os

from authlib.integrations.requests_client import OAuth2Session

issuer, gateway = os.environ["ISSUER"], os.environ["GATEWAY"]
session = OAuth2Session(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
provider = session.get(f"{issuer}/.well-known/openid-configuration", withhold_token=True).json()
session.fetch_token(provider["token_endpoint"], grant_type="client_credentials", resource=os.environ["RESOURCE"])

events = f"{gateway}/v1/topics/bills/events"
published = session.post(events, json={"key": "c-1", "payload": {"text": "from authlib"}})
print("published:", published.json())

read = session.get(events, params={"from": "earliest"})
for event in read.json()["events"]:
    print("read:", event["position"], event["payload"]["text"])
