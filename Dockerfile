# vary-proxy in a container: slim, without a compiler, as nobody in particular, on a read-only root.
#
#   docker build -t vary-proxy .
#   docker run --rm -p 8080:8080 vary-proxy run --origin https://bucket.example

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY vary_proxy ./vary_proxy
# Wheels only: nothing is compiled, so nothing to compile with is needed.
RUN python -m venv /opt/vary-proxy \
 && /opt/vary-proxy/bin/pip install --only-binary=:all: hatchling \
 && /opt/vary-proxy/bin/pip install --no-build-isolation --prefer-binary . \
 && /opt/vary-proxy/bin/pip uninstall --yes hatchling pathspec pluggy trove-classifiers packaging pip \
 && find /opt/vary-proxy -name '__pycache__' -prune -exec rm -rf {} + \
 && find /opt/vary-proxy -name 'tests' -type d -prune -exec rm -rf {} +

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="vary-proxy" \
      org.opencontainers.image.description="A caching reverse proxy that repairs Vary, so that CORS works behind every cache" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/vary-proxy/vary-proxy" \
      org.opencontainers.image.documentation="https://github.com/vary-proxy/vary-proxy#readme"
ENV PATH=/opt/vary-proxy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/vary-proxy /opt/vary-proxy
COPY config/container.yaml /etc/vary-proxy/vary-proxy.yaml
USER 65532:65532
WORKDIR /
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["vary-proxy", "health"]
ENTRYPOINT ["vary-proxy"]
CMD ["run"]
