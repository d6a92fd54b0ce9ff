"""Logs in with kazoo and pure-sasl, and prints what it may do, one fact a line.

The server must know the users bob (bobsecret) and alice ("al ice"), and the scheme sasl.
"""

import logging
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import ACL, CREATOR_ALL_ACL, Id

address = sys.argv[1]
logging.getLogger("kazoo").setLevel(logging.CRITICAL)


def log_in(user, password):
    options = {"mechanism": "DIGEST-MD5", "username": user, "password": password}
    return KazooClient(hosts=address, timeout=10, sasl_options=options if user else None)


def attempt(who, name, call, *arguments, **options):
    """Prints the result of a call, or the kind of its failure."""
    try:
        result = call(*arguments, **options)
    except (KazooException, KazooTimeoutError) as error:
        result = type(error).__name__
    print(who, name, result)


clients = {}
for user, password in [("bob", "bobsecret"), ("alice", "al ice"), ("", "")]:
    clients[user] = log_in(user, password)
    clients[user].start(timeout=30)
    print(user, "state", clients[user].state)

bob, alice, nobody = clients["bob"], clients["alice"], clients[""]
attempt("bob", "create", bob.create, "/k", b"1", acl=CREATOR_ALL_ACL)
attempt("bob", "acl", lambda: bob.get_acls("/k")[0])
attempt("bob", "share", bob.create, "/k/s", b"2", acl=[ACL(1, Id("sasl", "alice"))])
attempt("nobody", "create", nobody.create, "/n", b"", acl=CREATOR_ALL_ACL)
for user, client in clients.items():
    attempt(user, "get", lambda: client.get("/k")[0])
    attempt(user, "get shared", lambda: client.get("/k/s")[0])
    attempt(user, "children", client.get_children, "/k")
for user, password in [("bob", "wrong"), ("eve", "x")]:
    client = log_in(user, password)
    attempt(user, "start with a wrong password", client.start, timeout=5)
    attempt(user, "get", client.get, "/k")
    client.stop()
for client in clients.values():
    client.stop()
