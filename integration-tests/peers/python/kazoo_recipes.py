"""Uses kazoo's recipes with two clients and prints what they do, one fact a line.

Whatever has no order is sorted before it is printed.

Usage: kazoo_recipes.py HOST:PORT
"""

import datetime
import logging
import re
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.protocol.states import WatchedEvent
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.cache import TreeCache
from kazoo.recipe.counter import Counter
from kazoo.recipe.election import Election
from kazoo.recipe.lease import MultiNonBlockingLease, NonBlockingLease
from kazoo.recipe.lock import Lock, ReadLock, Semaphore, WriteLock
from kazoo.recipe.partitioner import SetPartitioner
from kazoo.recipe.party import Party, ShallowParty
from kazoo.recipe.queue import LockingQueue, Queue
from kazoo.recipe.watchers import ChildrenWatch, DataWatch, PatientChildrenWatch

address = sys.argv[1]
logging.getLogger("kazoo").setLevel(logging.CRITICAL)
LIMIT = 30


def connected():
    client = KazooClient(hosts=address, timeout=10)
    client.start(timeout=LIMIT)
    return client


def until(what, done):
    deadline = time.monotonic() + LIMIT
    while not done():
        if time.monotonic() > deadline:
            print(what, "NEVER")
            return
        time.sleep(0.005)
    print(what, "yes")


def names(client, path):
    """Children without the random part of their names."""
    return sorted(re.sub("[0-9a-f]{32}", "<uuid>", name) for name in client.get_children(path))


def in_threads(*calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


def end_session(client):
    """Ends a client's session as the server would: from elsewhere.

    The client may take its session back before it is closed; then once more.
    """
    session = client.client_id
    deadline = time.monotonic() + LIMIT
    while client.client_id == session and time.monotonic() < deadline:
        twin = KazooClient(hosts=address, timeout=10, client_id=session)
        twin.start(timeout=LIMIT)
        twin.stop()
        twin.close()
        again = time.monotonic() + 2
        while client.client_id == session and time.monotonic() < again:
            time.sleep(0.01)


one, two = connected(), connected()

# Locks.
mine, theirs = Lock(one, "/lock", "one"), Lock(two, "/lock", "two")
print("lock", mine.acquire(timeout=LIMIT), names(one, "/lock"), mine.contenders())
print("not theirs", theirs.acquire(blocking=False))
got = []
waiting = threading.Thread(target=lambda: got.append(theirs.acquire(timeout=LIMIT)))
waiting.start()
until("two contenders", lambda: len(mine.contenders()) == 2)
print("contenders", mine.contenders())
mine.release()
waiting.join(LIMIT)
print("theirs then", got)
theirs.release()
print("free", names(one, "/lock"))
total = 0


def add():
    global total
    lock = Lock(one if threading.get_ident() % 2 else two, "/adding")
    for _ in range(10):
        with lock:
            seen = total
            time.sleep(0)
            total = seen + 1


in_threads(*[add] * 4)
print("added under the lock", total)
readers = [ReadLock(one, "/rw"), ReadLock(two, "/rw")]
writer = WriteLock(two, "/rw")
print("readers", [reader.acquire(timeout=LIMIT) for reader in readers])
print("writer beside readers", writer.acquire(blocking=False))
print("released", [reader.release() for reader in readers])
print("writer", writer.acquire(timeout=LIMIT), "reader beside", readers[0].acquire(blocking=False))
writer.release()
leases = [Semaphore(client, "/semaphore", max_leases=2) for client in (one, two, one)]
print("leases", leases[0].acquire(timeout=LIMIT), leases[1].acquire(timeout=LIMIT), leases[2].acquire(blocking=False))
print("holders", len(leases[0].lease_holders()))
leases[0].release()
print("third then", leases[2].acquire(timeout=LIMIT))

# Barriers.
barrier = Barrier(one, "/barrier")
barrier.create()
print("barrier", Barrier(two, "/barrier").wait(0.2))
waited = []
waiting = threading.Thread(target=lambda: waited.append(Barrier(two, "/barrier").wait(LIMIT)))
waiting.start()
print("removed", barrier.remove())
waiting.join(LIMIT)
print("barrier then", waited)
passed = []


def pass_through(client):
    door = DoubleBarrier(client, "/double", 3)
    door.enter()
    passed.append("in")
    door.leave()
    passed.append("out")


in_threads(*[lambda client=client: pass_through(client) for client in (one, two, one)])
print("double barrier", sorted(passed))

# Elections, parties, leases.
led = []
elections = [Election(client, "/election", name) for client, name in ((one, "a"), (two, "b"))]
in_threads(*[lambda election=election, name=name: election.run(led.append, name) for election, name in zip(elections, "ab")])
print("led", sorted(led))
for kind in (Party, ShallowParty):
    path = "/" + kind.__name__
    parties = [kind(one, path, "a"), kind(two, path, "b")]
    for party in parties:
        party.join()
    print(kind.__name__, sorted(parties[0]), len(parties[1]))
    parties[1].leave()
    print(kind.__name__, list(parties[0]))
hour = datetime.timedelta(hours=1)
print("lease", bool(NonBlockingLease(one, "/lease", hour, identifier="a")), bool(NonBlockingLease(two, "/lease", hour, identifier="b")))
many = [bool(MultiNonBlockingLease(one, 2, "/leases", hour, identifier=name)) for name in "abc"]
print("leases", many)

# Counters and queues.
counter = Counter(one, "/counter")


def count():
    own = Counter(two, "/counter")
    for _ in range(10):
        own += 2


in_threads(count, count)
counter -= 3
print("counter", counter.value, counter.pre_value, counter.post_value)
queue = Queue(one, "/queue")
for item, priority in [(b"late", 200), (b"a", 100), (b"b", 100)]:
    queue.put(item, priority)
print("queue", names(one, "/queue"), len(queue), [Queue(two, "/queue").get() for _ in range(4)])
locking = LockingQueue(one, "/locking")
locking.put_all([b"x", b"y"])
print("locking", locking.get(LIMIT), locking.holds_lock(), LockingQueue(two, "/locking").get(LIMIT), locking.consume(), len(locking))

# Watches.
seen = []
one.create("/watched", b"0")
DataWatch(one, "/watched", lambda data, stat, event: seen.append(("data", data, isinstance(event, WatchedEvent) and event.type)))
ChildrenWatch(one, "/watched", lambda children: seen.append(("children", sorted(children))))
until("first calls", lambda: len(seen) == 2)
for step in (lambda: two.set("/watched", b"1"), lambda: two.create("/watched/c"), lambda: two.delete("/watched/c"), lambda: two.delete("/watched")):
    before = len(seen)
    step()
    until("called", lambda: len(seen) > before)
print("seen", seen)
one.create("/patient/a", makepath=True)
children, changed = PatientChildrenWatch(one, "/patient", time_boundary=0.2).start().get(timeout=LIMIT)
two.create("/patient/b")
print("patient", children, bool(changed.get(timeout=LIMIT)))
events = []
one.create("/tree/old", b"o", makepath=True)
cache = TreeCache(one, "/tree")
cache.listen(lambda event: events.append((event.event_type, event.event_data and event.event_data.path)))
cache.start()
until("cache begins", lambda: len(events) >= 3)
for step in (lambda: two.create("/tree/n", b"1"), lambda: two.set("/tree/n", b"2"), lambda: two.delete("/tree/n")):
    before = len(events)
    step()
    until("told", lambda: len(events) > before)
print("cache", sorted(events[:3], key=str), events[3:], cache.get_children("/tree"), cache.get_data("/tree/old").data)
cache.close()

# Partitions.
partitioners = [SetPartitioner(client, "/partitions", set=(1, 2, 3, 4), identifier=name, time_boundary=0.3) for client, name in ((one, "a"), (two, "b"))]


def settled():
    for partitioner in partitioners:
        if partitioner.release:
            partitioner.release_set()
        elif partitioner.allocating:
            partitioner.wait_for_acquire(0.1)
    return all(partitioner.acquired and len(list(partitioner)) == 2 for partitioner in partitioners)


until("partitioned", settled)
print("parts", [sorted(partitioner) for partitioner in partitioners])
for partitioner in partitioners:
    partitioner.finish()

# A session that ends elsewhere takes its locks with it.
mine = Lock(one, "/lost", "one")
mine.acquire(timeout=LIMIT)
lost = one.client_id[0]
end_session(one)
print("theirs when the session is gone", Lock(two, "/lost", "two").acquire(timeout=LIMIT))
until("another session", lambda: one.connected and one.client_id and one.client_id[0] not in (0, lost))
transaction = one.transaction()
transaction.create("/t", b"1")
transaction.check("/t", version=0)
transaction.set_data("/t", b"2")
transaction.delete("/t", version=9)
print("transaction", [type(result).__name__ for result in transaction.commit()])
print("ensured", one.ensure_path("/a/b/c"), one.delete("/a", recursive=True))
print("znodes", names(one, "/"))
for client in (one, two):
    client.stop()
    client.close()
