"""The whole story on one machine: an S3-like bucket, the proxy, and a page that uses both.

``origin.py`` answers as Amazon S3 does, ``show.py`` starts the three servers, ``traffic.py``
remembers what went over the wire so that the page in ``static/`` can show it, and
``pictures.py`` draws what is loaded.
"""
