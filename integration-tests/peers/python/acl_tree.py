"""Prints every znode with its ACL. The server must let super:test see everything.

Usage: acl_tree.py HOST:PORT
"""

import sys

from kazoo.client import KazooClient

client = KazooClient(hosts=sys.argv[1], timeout=20, auth_data=[("digest", "super:test")])
client.start(timeout=30)


def walk(path):
    acl, stat = client.get_acls(path)
    entries = ["%s:%s:%d" % (entry.id.scheme, entry.id.id, entry.perms) for entry in acl]
    print(path, stat.aversion, *entries)
    for child in sorted(client.get_children(path)):
        walk(path.rstrip("/") + "/" + child)


walk("/")
client.stop()
