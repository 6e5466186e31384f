"""Drives the simulator with DocuSign's own SDK and prints what came back, as one JSON object.

Usage: witness.py SIM_JSON EMAIL [DELETE_LIST]

The SDK speaks to DocuSign's real names. Only the last step is bent: a look-up of those names gives the simulator's
addresses, so names, certificates and Host headers stay real and nothing is written to /etc/hosts.
"""

import json
import socket
import sys

from docusign_esign import ApiClient, ApiException, UserInfo, UserInfoList, UsersApi
from docusign_esign.client.configuration import Configuration

ACCOUNT_HOST = "account-d.docusign.com"
ESIGN_HOST = "demo.docusign.net"


def redirect(addresses):
    """Makes every look-up of a name in `addresses` give that "ip:port"; other names fail, so nothing leaves here."""

    def getaddrinfo(host, _port, *_args, **_kwargs):
        if host not in addresses:
            raise socket.gaierror(f"the witness may not reach {host}")
        ip, port = addresses[host].rsplit(":", 1)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip, int(port)))]

    socket.getaddrinfo = getaddrinfo


def users(api, account_id, **query):
    """The users of a list, or the error that the SDK raises."""
    try:
        found = api.list(account_id, **query)
    except ApiException as error:
        return {"status": error.status, "error": json.loads(error.body)}
    return {
        "total": found.total_set_size,
        "users": [
            {"id": user.user_id, "email": user.email, "status": user.user_status, "admin": user.is_admin}
            for user in found.users
        ],
    }


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        sim = json.load(file)
    email = sys.argv[2]
    redirect({ACCOUNT_HOST: sim["account_addr"], ESIGN_HOST: sim["esign_addr"]})
    Configuration().ssl_ca_cert = sim["ca"]

    client = ApiClient(oauth_host_name=ACCOUNT_HOST)
    with open(sim["private_key"], "rb") as file:
        key = file.read()
    token = client.request_jwt_user_token(
        sim["integration_key"], sim["user_id"], ACCOUNT_HOST, key, 3600, ["signature", "impersonation"]
    )
    info = client.get_user_info(token.access_token)
    account = info.accounts[0]
    client.host = account.base_uri + "/restapi"

    api = UsersApi(client)
    before = users(api, account.account_id, email=email)
    leaver = next(user for user in before["users"] if user["email"].lower() == email.lower())
    options = {"delete": sys.argv[3]} if len(sys.argv) > 3 else {}
    closed = api.delete(
        account.account_id, user_info_list=UserInfoList(users=[UserInfo(user_id=leaver["id"])]), **options
    )
    json.dump(
        {
            "expires_in": token.expires_in,
            "token_type": token.token_type,
            "sub": info.sub,
            "account_id": account.account_id,
            "is_default": account.is_default,
            "base_uri": account.base_uri,
            "before": before,
            "closed": [
                {
                    "id": user.user_id,
                    "status": user.user_status,
                    "error": user.error_details and user.error_details.error_code,
                }
                for user in closed.users
            ],
            "after": users(api, account.account_id, email=email),
            "nobody": users(api, account.account_id, email="nobody@acme.example"),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
