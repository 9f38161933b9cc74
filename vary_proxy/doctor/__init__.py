"""The doctor: asks a live server what it says to whom, and names what would go wrong.

``interview`` puts a bounded number of requests, one after another, and writes the answers on a
``Sheet``. The checks (``varychecks``, ``corschecks``, ``preflightchecks``, ``cachechecks``) are
pure: they read a sheet and give what they found. ``catalogue`` says for each finding how bad it
is, why it matters and what cures it; ``report`` makes one record of all, which ``text``,
``junit`` and ``html`` only dress. Everything a server says is untrusted until it is dressed.
"""
