"""Benchmarks of the cache, its peers and floors: ``make bench``, ``make bench-quick``.

``python -m benchmarks`` runs the scenarios in ``plan``. In a scenario several implementations do the same work:

- ``clients`` has this package and its peers behind one interface, and ``floors`` the least work that a cache of each
  kind has to do, such as one read of a database.
- ``workloads``, ``scale``, ``loads`` and ``sharing`` have the work: a function that runs one timed round.
- ``rounds`` starts a process for each implementation (``worker``), and lets them run rounds in turn, so that
  disturbances on the machine affect all of them alike. ``services`` starts the servers, of which ``origin`` and
  ``distance`` are written for it.
- ``report`` turns the figures into tables and JSON, and ``aims`` has the bounds that they are compared with. ``chart``
  draws the chart, and ``readme`` writes figures into the pages.

Programs of their own are ``interpreters``, ``profiles``, ``selections``, and ``simulation`` with its ``policies``.
"""
