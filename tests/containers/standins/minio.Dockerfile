# Stands in for minio/minio: MinIO's own HTTP front end, as the gateway of a JuiceFS volume.
# `server /data`, the root user's variables, the port and the health paths are those of MinIO.
FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends curl \
 && rm -rf /var/lib/apt/lists/*
COPY juicefs /usr/bin/juicefs
COPY minio /usr/bin/minio
VOLUME ["/data"]
EXPOSE 9000
ENTRYPOINT ["/usr/bin/minio"]
CMD ["server", "/data"]
