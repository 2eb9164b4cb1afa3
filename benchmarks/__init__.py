"""Benchmarks of the cache, its peers and floors: ``make bench``, ``make bench-quick``.

A floor is the least work that any cache of the kind has to do, such as one read of the database (`floors`). A run takes
the scenarios of ``plan``. In each, every implementation (``clients``) does the same work (``workloads``, ``scale``,
``loads``) in a process of its own (``worker``), in interleaved rounds (``rounds``), with the servers of ``services``
and the origin of ``origin``. ``report`` makes tables and JSON of the figures, ``aims`` compares them with what was
aimed at, and ``chart`` and ``readme`` draw the chart and fill in the pages.

Measured apart: ``interpreters``, ``profiles``, ``selections``, and ``simulation`` with its ``policies``.
"""
