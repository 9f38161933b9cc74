"""The same small site in every framework, with the framework's own CORS middleware.

``site.json`` says what is served. Paths named there are answered by a handler; ``/crash`` is a
handler that raises, and every other path is for the framework's own 404. A program takes the
names of policies as arguments, serves each on a free loopback port, prints the ports as one
JSON object when all are open, and ends with its standard input.
"""
