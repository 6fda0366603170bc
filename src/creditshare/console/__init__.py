"""The pages: what people look at, and the few things that they confirm there.

One routes module for each kind of user or of thing, each handler one view of services that the API calls too;
``visits`` is the edge of every page as ``api/exchange.py`` is that of every signed request: who looks, one transaction,
the event that says so, commit, headers. ``actions`` are what pages change, each shown whole and confirmed by a passkey,
or done by the command that the page shows. ``texts`` holds every word in both languages, ``render`` puts them into
templates.
"""
