"""Sessions of the pages: how a member's person gets in, for how long, and with which passkeys it confirms.

A signed request buys a one-time code that lives a minute; the code buys a session, whose secret only the browser has.
A session lives 15 minutes without use and at most eight hours, and no longer than the key that bought it or its
member's good standing. It lets its holder look, never change: each change is confirmed by a passkey, which was
registered with a signed request of the member's key. So whoever steals a session can read pages until it ends.

What is kept of links, sessions and challenges is sealed and bound to its digest; rows of passkeys bear seals (decision
12). A passkey ends with the key that confirmed it.
"""
