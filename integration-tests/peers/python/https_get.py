"""Prints what each of the URLs answers, through TLS without looking at the certificate's name."""

import ssl
import sys
import urllib.request

context = ssl.create_default_context(cafile=sys.argv[1])
context.check_hostname = False
for url in sys.argv[2:]:
    try:
        with urllib.request.urlopen(url, timeout=30, context=context) as answer:
            print(answer.status, answer.headers["Strict-Transport-Security"], answer.read().decode())
    except Exception as error:
        print(type(error).__name__)
