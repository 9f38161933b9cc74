# vary-proxy in a container: slim, without a compiler, as nobody in particular, on a read-only root.
#
#   docker build -t vary-proxy .
#   docker run --rm -p 8080:8080 vary-proxy run --origin https://bucket.example
#
# Another choice of what is optional (pyproject.toml): --build-arg EXTRAS=aws,otel

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY vary_proxy ./vary_proxy
ARG EXTRAS=aws
# Wheels only: nothing is compiled, so nothing to compile with is needed. pip installs from an
# environment of its own, since nothing in the image will ask for it again.
RUN python -m venv /opt/build \
 && python -m venv --without-pip /opt/vary-proxy \
 && /opt/build/bin/pip wheel --no-deps --wheel-dir /src/wheels . \
 && /opt/build/bin/pip --python /opt/vary-proxy/bin/python install \
      --only-binary=:all: --no-compile "$(ls /src/wheels/*.whl)[${EXTRAS}]"
# botocore describes every service of AWS: credentials come from four of them, objects from S3.
# What is left is compiled, because on a read-only root no process could do that for the next.
RUN find /opt/vary-proxy/lib/python3.*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -rf {} + \
 && find /opt/vary-proxy -name tests -type d -prune -exec rm -rf {} + \
 && /opt/vary-proxy/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/vary-proxy/lib

FROM python:${PYTHON}-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="vary-proxy" \
      org.opencontainers.image.description="A caching reverse proxy that repairs Vary, so that CORS works behind every cache" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/vary-proxy/vary-proxy" \
      org.opencontainers.image.documentation="https://github.com/vary-proxy/vary-proxy#readme"
ENV PATH=/opt/vary-proxy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    VARY_PROXY_PROBES_ADDRESS=0.0.0.0:8081
COPY --from=build /opt/vary-proxy /opt/vary-proxy
COPY config/container.yaml /etc/vary-proxy/vary-proxy.yaml
USER 65532:65532
WORKDIR /
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# The probes listen on 8081 whatever file is mounted (above), so that this holds for every one.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["vary-proxy", "health"]
ENTRYPOINT ["vary-proxy"]
CMD ["run"]
