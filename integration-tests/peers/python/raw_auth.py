"""Sends authentication packets, SASL tokens and ACLs of all kinds, right and wrong, frame by frame.

Prints each answer, so that two servers can be compared. The server must know the users super
(adminsecret), bob (bobsecret), alice ("al ice"), jürg (pä), žižek (pž), "s/h", "u@R" and "a@b@c" (p).

Usage: raw_auth.py HOST:PORT
"""

import base64
import hashlib
import re
import socket
import struct
import sys

CREATE, DELETE, GET_DATA, SET_DATA, GET_ACL, SET_ACL = 1, 2, 4, 5, 6, 7
SYNC, PING, CLOSE, MULTI, AUTH, SET_WATCHES, SASL, WHO_AM_I = 9, 11, -11, 14, 100, 101, 102, 107
STAT_BYTES = 68
host, port = sys.argv[1].split(":")


def frame(payload):
    return struct.pack(">i", len(payload)) + payload


def buffer(value):
    return struct.pack(">i", -1) if value is None else frame(value)


def text(value):
    return buffer(None if value is None else value.encode())


def acls(*entries):
    packed = [struct.pack(">i", perms) + text(scheme) + text(name) for perms, scheme, name in entries]
    return struct.pack(">i", len(entries)) + b"".join(packed)


class Connection:
    """A session, used by hand."""

    def __init__(self):
        self.socket = socket.create_connection((host, int(port)), 10)
        self.socket.sendall(frame(struct.pack(">iqiq", 0, 0, 20000, 0) + buffer(bytes(16)) + b"\0"))
        self.xid = 0
        self.receive()

    def exactly(self, count):
        got = b""
        while len(got) < count:
            more = self.socket.recv(count - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    def receive(self):
        """A payload, or None when the server has closed."""
        try:
            return self.exactly(struct.unpack(">i", self.exactly(4))[0])
        except (EOFError, ConnectionError):
            return None

    def send(self, op, body=b""):
        self.xid += 1
        try:
            self.socket.sendall(frame(struct.pack(">ii", self.xid, op) + body))
        except ConnectionError:
            pass

    def answer(self):
        """Error code and body, or None."""
        payload = self.receive()
        return payload and (struct.unpack(">iqi", payload[:16])[2], payload[16:])

    def call(self, op, body=b""):
        self.send(op, body)
        return self.answer()

    def code(self, op, body=b""):
        answer = self.call(op, body)
        return answer and answer[0]

    def sasl(self, token):
        return self.call(SASL, buffer(token))

    def authenticate(self, scheme, proof):
        return self.call(AUTH, struct.pack(">i", 0) + text(scheme) + buffer(proof))

    def create(self, path, *entries):
        return self.code(CREATE, text(path) + buffer(b"d") + acls(*entries) + struct.pack(">i", 0))

    def acl(self, path):
        answer = self.call(GET_ACL, text(path))
        return answer and (answer[0], answer[1][:-STAT_BYTES])


def shown(answer):
    """An answer without what is random in it."""
    if answer is None:
        return "closed"
    body = re.sub(rb'nonce="[^"]*"', b'nonce="N"', answer[1])
    return answer[0], re.sub(rb"rspauth=[0-9a-f]{32}", b"rspauth=R", body)


def md5(value):
    return hashlib.md5(value).digest()


def hexadecimal(value):
    return md5(value).hex().encode()


def latin(value):
    """As the mechanism hashes text."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()


def response(challenge, user, password, authzid=None, qop=b"auth", realm=None, uri=b"zookeeper/zk-sasl-md5", nonce=None):
    """A client's answer to a challenge (RFC 2831, 2.1.2)."""
    asked = dict(re.findall(rb'(\w+)="([^"]*)"', challenge))
    nonce = nonce or asked[b"nonce"]
    realm = asked[b"realm"].decode() if realm is None else realm
    secret = md5(b":".join([latin(user), latin(realm), latin(password)]))
    a1 = b":".join([secret, nonce, b"cn"] + ([] if authzid is None else [authzid]))
    a2 = b"AUTHENTICATE:" + uri + (b"" if qop == b"auth" else b":" + b"0" * 32)
    proof = hexadecimal(b":".join([hexadecimal(a1), nonce, b"00000001", b"cn", qop, hexadecimal(a2)]))
    parts = [
        b"charset=utf-8",
        b'username="%s"' % user.encode(),
        b'realm="%s"' % realm.encode(),
        b'nonce="%s"' % nonce,
        b"nc=00000001",
        b'cnonce="cn"',
        b'digest-uri="%s"' % uri,
        b"response=" + proof,
        b"qop=" + qop,
    ]
    if authzid is not None:
        parts.append(b'authzid="%s"' % authzid)
    return b",".join(parts)


def exchange(name, answer, first=b""):
    """One exchange, who the client is then, and what a second exchange does."""
    connection = Connection()
    challenge = connection.sasl(first)
    print("sasl", name, shown(challenge))
    if challenge is None or challenge[0] != 0 or len(challenge[1]) == 4:
        return
    print("   then", shown(connection.sasl(answer(challenge[1][4:]))))
    identities = connection.call(WHO_AM_I)
    print("   is", shown(identities))
    if identities is not None and identities[0] == 0:
        print("   again", shown(connection.sasl(b"")), shown(connection.call(WHO_AM_I)))


def bob(change=lambda token: token, **options):
    return lambda challenge: change(response(challenge, "bob", "bobsecret", **options))


def exchanges():
    exchange("no token", bob(), first=None)
    exchange("a token at once", bob(), first=b"x")
    exchange("a long token at once", bob(), first=b"x" * 5000)
    exchange("right", bob())
    for user, password in [("bob", "x"), ("eve", "x"), ("alice", "al ice"), ("super", "adminsecret"), ("jürg", "pä"), ("žižek", "pž"), ("s/h", "p"), ("u@R", "p"), ("a@b@c", "p")]:
        exchange(user, lambda challenge: response(challenge, user, password))
    for name, token in [("none", None), ("empty", b""), ("no list", b"\xff\xfe")]:
        exchange("second " + name, lambda _: token)
    for authzid in [b"super", b""]:
        exchange("authzid %s" % authzid, bob(authzid=authzid))
    for qop in [b"auth-int", b"auth-conf", b"zz"]:
        exchange("qop %s" % qop, bob(qop=qop))
    for more in [b"nonce-count=zz", b"nonce-count=00000002", b"nonce-count=+1", b"maxbuf=zz", b"maxbuf=-5", b"cipher=a,cipher=b", b"foo=a,foo=b,foo", b"username=x", b"realm=x", b"=", b"x", b"x y", b"x="]:
        exchange("with %s" % more, bob(lambda token: token + b"," + more))
    for old, new in [(rb"charset=utf-8", b"charset=iso-8859-1"), (rb"utf-8", b"UTF-8"), (rb"charset=utf-8,", b""), (rb'digest-uri="[^"]*",', b""), (rb'realm="[^"]*",', b""), (rb'cnonce="cn",', b""), (rb"response=\w*,", b""), (rb",qop=auth", b""), (rb"nc=\d*", b"nc=zz"), (rb",", b" ,\r\n\t, "), (rb"=", b" = "), (rb'"bob"', b"bob"), (rb'"bob"', rb'"b\ob"')]:
        exchange("%s for %s" % (new, old), bob(lambda token: re.sub(old, lambda _: new, token)))
    exchange("upper case", bob(lambda token: re.sub(rb"response=\w*", lambda found: b"response=" + found.group()[9:].upper(), token)))
    for uri in [b"ZooKeeper/ZK-sasl-md5", b"zookeeper/localhost"]:
        exchange("uri %s" % uri, bob(uri=uri))
    for realm in ["x", ""]:
        exchange("realm %s" % realm, bob(realm=realm))
    exchange("another nonce", bob(nonce=b"xx"))
    for length in [4096, 4097]:
        exchange("%d bytes" % length, bob(lambda token: token + b" " * (length - len(token))))


def packets():
    """Authentication packets, and requests before any."""
    proofs = [None, b"", b"u:p", b"nocolon", b"super:test", b"\xff\xfe:p", b"10", b"11", b"foo", b"bar"]
    for scheme in ["digest", "ip", "sasl", "world", "auth", "super", "x509", "ensemble", "key", "", None]:
        for proof in proofs:
            connection = Connection()
            answer = connection.authenticate(scheme, proof)
            print("auth", scheme, proof, shown(answer), shown(connection.call(WHO_AM_I)))
    connection = Connection()
    for proof in [b"u1:p", b"u2:p", b"u3:p", b"u1:p", b"a:b", b"super:test", b"zz:top", b"q:r", b"e:f"]:
        connection.authenticate("digest", proof)
    print("many", shown(connection.call(WHO_AM_I)))
    for op, body in [(SASL, b"\0\0"), (SASL, struct.pack(">i", 100) + b"a"), (SASL, struct.pack(">i", -2)), (SASL, buffer(b"") + b"zz"), (AUTH, b"\0\0"), (AUTH, b"")]:
        connection = Connection()
        print("odd", op, body, shown(connection.call(op, body)), shown(connection.call(WHO_AM_I)))
    multi = b"\xff\xff\xff\xff\x01\xff\xff\xff\xff"
    for op, body in [(PING, b""), (GET_DATA, b""), (CLOSE, b""), (999, b""), (SYNC, text("/")), (SET_WATCHES, struct.pack(">qiii", 0, 0, 0, 0)), (MULTI, multi)]:
        connection = Connection()
        print("first", op, connection.code(op, body), connection.code(WHO_AM_I))
    connection = Connection()
    for op, body in [(SASL, buffer(b"")), (SASL, buffer(b"bad")), (PING, b""), (WHO_AM_I, b"")]:
        connection.send(op, body)
    print("at once", [shown(connection.answer()) for _ in range(3)])
    connection = Connection()
    connection.authenticate("digest", b"w:p")
    connection.create("/late", (31, "auth", ""))
    connection = Connection()
    read = (GET_DATA, text("/late") + b"\0")
    proof = (AUTH, struct.pack(">i", 0) + text("digest") + buffer(b"w:p"))
    write = (CREATE, text("/late") + buffer(b"") + acls((31, "world", "anyone")) + struct.pack(">i", 0))
    for op, body in [write, read, proof, write, read, read]:
        connection.send(op, body)
    answers = [connection.receive() for _ in range(6)]
    heads = [answer and struct.unpack(">iqi", answer[:16]) for answer in answers]
    print("proved meanwhile", sorted((xid, error) for xid, _, error in heads if xid) if all(heads) else heads)


def logged_in(*proofs):
    connection = Connection()
    for proof in proofs:
        if ":" in proof:
            connection.authenticate("digest", proof.encode())
            continue
        challenge = connection.sasl(b"")
        password = {"bob": "bobsecret", "alice": "al ice", "super": "adminsecret"}[proof]
        if challenge and len(challenge[1]) > 4:
            connection.sasl(response(challenge[1][4:], proof, password))
    return connection


def lists():
    """ACLs: who may store which, and what each lets others do."""
    proofs = [(), ("bob",), ("alice",), ("super",), ("u:p",), ("super:test",), ("bob", "u:p"), ("u:p", "v:q")]
    clients = [logged_in(*each) for each in proofs]
    hashed = "u:" + base64.b64encode(hashlib.sha1(b"u:p").digest()).decode()
    ids = [("world", "anyone"), ("world", "x"), ("auth", ""), ("auth", "x"), ("sasl", "bob"), ("sasl", "DoX"), ("sasl", ""), ("sasl", "a@b@c"), ("sasl", "x/y@R"), ("digest", "x"), ("digest", hashed), ("digest", "a:b:c"), ("digest", ":b"), ("digest", "a:"), ("ip", "127.0.0.1"), ("ip", "127.0.0.0/8"), ("ip", "10.0.0.0/8"), ("ip", "127.0.0.1/33"), ("ip", "0.0.0.0/0"), ("ip", "127.1"), ("ip", "127.000.0.+1"), ("ip", ""), ("super", ""), ("x509", "CN=a"), ("ensemble", "a"), ("key", "a"), ("nosuch", "x"), ("", "")]
    for who, client in zip(proofs, clients):
        for number, (scheme, name) in enumerate(ids):
            path = "/%s-%d" % ("+".join(who).replace(":", ""), number)
            code = client.create(path, (31, scheme, name))
            print("create", who, scheme, name, code)
            for other in clients if code == 0 else []:
                data = other.code(GET_DATA, text(path) + b"\0")
                written = other.code(SET_DATA, text(path) + buffer(b"") + struct.pack(">i", -1))
                print("   ", data, written, other.acl(path))
    client = clients[6]
    entries = [(1, "world", "anyone"), (1, "world", "anyone"), (31, "auth", ""), (31, "auth", "x"), (3, "ip", "1.2.3.4")]
    print("several", client.create("/d", *entries))
    for who, other in zip(proofs, clients):
        version = struct.pack(">i", 99)
        codes = [other.code(op, text("/d") + body) for op, body in [(GET_DATA, b"\0"), (SET_DATA, buffer(b"") + version), (DELETE, version), (SET_ACL, acls((31, "auth", "")) + version)]]
        print("   ", who, codes, other.create("/d/c", (31, "world", "anyone")), other.acl("/d"))


exchanges()
packets()
lists()
