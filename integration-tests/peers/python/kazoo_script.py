"""Drives a ZooKeeper with kazoo and prints what it sees, one fact a line."""

import subprocess
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.recipe.election import Election
from kazoo.recipe.queue import LockingQueue
from kazoo.security import make_acl, make_digest_acl

address = sys.argv[1]


def attempt(name, call, *arguments, **options):
    """Prints the result of a call, or the kind of its failure."""
    try:
        result = call(*arguments, **options)
        print(name, result)
    except KazooException as error:
        print(name, type(error).__name__)


def connected():
    client = KazooClient(hosts=address, timeout=10)
    client.start(timeout=30)
    return client


def stat(value):
    return (value.version, value.cversion, value.aversion, value.dataLength, value.numChildren)


client = connected()
print("server version", client.server_version())
print("negotiated", client._session_timeout)

# Nodes.
attempt("create", client.create, "/kazoo", b"root")
attempt("create again", client.create, "/kazoo", b"root")
attempt("create below nothing", client.create, "/kazoo/a/b", b"x")
attempt("make path", client.create, "/kazoo/a/b/c", b"deep", makepath=True)
attempt("sequence", client.create, "/kazoo/seq-", b"", sequence=True)
attempt("sequence", client.create, "/kazoo/seq-", b"", sequence=True)
attempt("container", client.create, "/kazoo/box", b"", include_data=False)
path, created = client.create("/kazoo/with-stat", b"12345", include_data=True)
print("create2", path, stat(created))
data, read = client.get("/kazoo/a/b/c")
print("get", data, stat(read))
attempt("get absent", client.get, "/kazoo/none")
print("set", stat(client.set("/kazoo/a/b/c", b"other")))
attempt("set stale", client.set, "/kazoo/a/b/c", b"x", version=0)
print("exists", client.exists("/kazoo/none"), stat(client.exists("/kazoo")))
print("children", sorted(client.get_children("/kazoo")))
names, parent = client.get_children("/kazoo", include_data=True)
print("children with stat", sorted(names), stat(parent))
attempt("delete full", client.delete, "/kazoo/a")
attempt("delete stale", client.delete, "/kazoo/with-stat", version=9)
attempt("delete", client.delete, "/kazoo/with-stat")
attempt("big", client.set, "/kazoo/a", b"x" * 1_000_000)
print("big read", len(client.get("/kazoo/a")[0]))

# Transactions.
transaction = client.transaction()
transaction.create("/kazoo/t1", b"1")
transaction.create("/kazoo/t2", b"2")
transaction.check("/kazoo/t1", 0)
transaction.set_data("/kazoo/t1", b"3")
transaction.delete("/kazoo/t2")
print("transaction", [value if isinstance(value, (str, bool)) else type(value).__name__ for value in transaction.commit()])
transaction = client.transaction()
transaction.create("/kazoo/t3", b"1")
transaction.check("/kazoo/t1", 99)
transaction.create("/kazoo/t4", b"1")
print("failed transaction", [type(value).__name__ for value in transaction.commit()])
print("nothing of it", client.exists("/kazoo/t3"), client.exists("/kazoo/t4"))

# Watches.
events = []
seen = threading.Semaphore(0)


def watch(event):
    events.append((event.type, event.state, event.path))
    seen.release()


client.exists("/kazoo/watched", watch=watch)
client.create("/kazoo/watched", b"")
seen.acquire(timeout=10)
client.get("/kazoo/watched", watch=watch)
client.set("/kazoo/watched", b"x")
seen.acquire(timeout=10)
client.get_children("/kazoo/watched", watch=watch)
client.create("/kazoo/watched/child", b"")
seen.acquire(timeout=10)
client.get("/kazoo/watched/child", watch=watch)
client.delete("/kazoo/watched/child")
seen.acquire(timeout=10)
print("events", events)

# Ephemerals, two sessions.
other = connected()
other.create("/kazoo/ephemeral", b"", ephemeral=True)
gone = threading.Event()
client.exists("/kazoo/ephemeral", watch=lambda event: gone.set())
print("owner differs", client.exists("/kazoo/ephemeral").ephemeralOwner == other.client_id[0])
attempt("child of an ephemeral", client.create, "/kazoo/ephemeral/x", b"")
other.stop()
other.close()
print("gone with its session", gone.wait(20), client.exists("/kazoo/ephemeral"))

# A session taken over by its id and password.
ABANDON = """
import os, sys
from kazoo.client import KazooClient
client = KazooClient(hosts=sys.argv[1], timeout=10)
client.start(timeout=30)
client.create("/kazoo/taken", b"", ephemeral=True)
print(client.client_id[0], client.client_id[1].hex(), flush=True)
os._exit(0)
"""
words = subprocess.run([sys.executable, "-c", ABANDON, address], capture_output=True, check=True).stdout.split()
second = KazooClient(hosts=address, timeout=10, client_id=(int(words[0]), bytes.fromhex(words[1].decode())))
second.start(timeout=30)
print("same session", second.client_id[0] == int(words[0]), second.exists("/kazoo/taken") is not None)
second.stop()
second.close()
print("it ended", client.exists("/kazoo/taken"))
forged = KazooClient(hosts=address, timeout=10, client_id=(0x1234, b"not the password"))
forged.start(timeout=30)
print("forged session refused", forged.client_id[0] != 0x1234)
forged.stop()
forged.close()

# ACLs.
secret = make_digest_acl("user", "secret", all=True)
attempt("create with ACL", client.create, "/kazoo/private", b"hidden", acl=[secret])
attempt("read without", client.get, "/kazoo/private")
attempt("acls without", client.get_acls, "/kazoo/private")
client.add_auth("digest", "user:secret")
print("read with", client.get("/kazoo/private")[0])
acls, acl_stat = client.get_acls("/kazoo/private")
print("acls", acls, stat(acl_stat))
readable = make_acl("world", "anyone", read=True)
attempt("set acls", lambda: stat(client.set_acls("/kazoo/private", [readable])))
attempt("no such scheme", client.create, "/kazoo/odd", b"", acl=[make_acl("nosuch", "x", all=True)])
attempt("no acl", client.create, "/kazoo/odd", b"", acl=[])

# Recipes.
client.ensure_path("/kazoo/recipes")
lock = client.Lock("/kazoo/recipes/lock", "one")
print("lock", lock.acquire(timeout=10), lock.contenders())
rival = connected()
print("rival must wait", rival.Lock("/kazoo/recipes/lock", "two").acquire(blocking=False))
lock.release()
print("rival has it", rival.Lock("/kazoo/recipes/lock", "three").acquire(timeout=10))
counter = client.Counter("/kazoo/recipes/counter")
counter += 5
counter -= 2
print("counter", counter.value)
queue = LockingQueue(client, "/kazoo/recipes/queue")
queue.put(b"first")
queue.put(b"urgent", priority=1)
print("queue", queue.get(timeout=10), queue.consume(), queue.get(timeout=10), queue.consume())
elected = []
Election(client, "/kazoo/recipes/election", "me").run(lambda: elected.append("me"))
print("elected", elected)
barrier = client.DoubleBarrier("/kazoo/recipes/barrier", 2)
partner = rival.DoubleBarrier("/kazoo/recipes/barrier", 2)
entering = threading.Thread(target=partner.enter)
entering.start()
barrier.enter()
entering.join(20)
leaving = threading.Thread(target=partner.leave)
leaving.start()
barrier.leave()
leaving.join(20)
print("barrier passed", not entering.is_alive(), not leaving.is_alive())
rival.stop()
rival.close()

# Four-letter words.
print("ruok", client.command(b"ruok"))
print("isro", client.command(b"isro").strip())

client.delete("/kazoo", recursive=True)
print("left", client.exists("/kazoo"))
client.stop()
client.close()
