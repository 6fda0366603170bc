"""The demonstration: the main job shown with real processes and real requests, through the public API only.

``stage``  a running service, its two operators, and how an institution is admitted
``story``  five lenders and a regulator act the main job out with synthetic borrowers
``loans``  a file of real loans goes through the same API instead
``run``    the command
"""
