# Stands in for the official redis image: Debian's redis-server, which obeys the same arguments.
FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends redis-server redis-tools \
 && rm -rf /var/lib/apt/lists/*
USER redis
WORKDIR /data
CMD ["redis-server"]
