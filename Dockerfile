# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/relay
WORKDIR /build

# What others wrote changes seldom: a layer of its own.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --locked --no-default-groups --extra embedded --no-install-project

COPY integrations integrations
COPY webhooks webhooks
RUN uv sync --locked --no-default-groups --extra embedded --no-editable

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /data relay
COPY --from=build /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:$PATH PYTHONUNBUFFERED=1 RELAY_DATA_DIR=/data
USER relay
WORKDIR /data
EXPOSE 8000

# One image for every process: `web`, `worker --with-sweeper`, `db upgrade`.
# STOPSIGNAL stays SIGTERM; give the container 30 seconds to finish what it is sending.
CMD ["purchase-relay", "web"]
