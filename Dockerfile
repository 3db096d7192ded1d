# One image runs any service: docker run blog posts, docker run blog gateway.
# Works with the classic builder: nothing in it needs BuildKit.
FROM debian:trixie-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates binutils
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# the tools that build the package stay here, what runs goes to /opt/blog; both are pinned by hash
RUN python3 -m venv /tools \
 && /tools/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
 && python3 -m venv /opt/blog \
 && /opt/blog/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY blog blog
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/blog/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
 && /opt/blog/bin/pip uninstall -y pip \
 && find /opt/blog -name '*.so' -exec strip --strip-unneeded {} +

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="blog" \
      org.opencontainers.image.description="A blog made of services that anyone can copy, kill and restart at any time." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.15.0"
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && useradd --system --uid 10001 --home-dir /data blog \
 && install -d -o blog -g blog /data
COPY --from=build /opt/blog /opt/blog
# :: is every address, of IPv4 too; without IPv6 it is 0.0.0.0
ENV PATH=/opt/blog/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    BLOG_HOST=:: \
    BLOG_PORT=8000 \
    BLOG_REGISTRY=http://gateway:4000 \
    BLOG_DATA_DIR=/data
USER blog
VOLUME /data
EXPOSE 8080
# Swarm has one probe for "takes traffic" and "lives": it asks for the first until that was so once. A view
# that has a long log to read takes its time; success ends the start period at once, so a long one costs nothing
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s CMD ["blog-healthcheck", "--startup"]
# tini passes signals on and reaps what nobody waits for; blog-image executes what is no command of ours
ENTRYPOINT ["tini", "--", "blog-image"]
CMD ["up"]
