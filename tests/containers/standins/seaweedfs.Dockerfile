# Stands in for chrislusf/seaweedfs: the same program, as PyPI has it.
FROM debian:trixie-slim
COPY weed /usr/bin/weed
VOLUME ["/data"]
EXPOSE 8333
ENTRYPOINT ["/usr/bin/weed"]
