"""What the API and the pages have in common, for they never import each other: bodies read within bounds, the names by
which a request is known, and the headers that keep a browser from doing more than it was sent for.
"""
