FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY stream stream
COPY models models
COPY monitors monitors
COPY storage storage
COPY riverd riverd
RUN python -m venv /opt/riverd && /opt/riverd/bin/pip install --no-cache-dir '.[fast,postgresql]'

FROM python:3.13-slim
RUN useradd --create-home riverd
COPY --from=build --chown=riverd /opt/riverd /opt/riverd
ENV PATH=/opt/riverd/bin:$PATH
USER riverd
# loopback is the container's own: RIVERD_LISTEN=0.0.0.0:8765 lets others in, and RIVERD_TOKEN must be set then
EXPOSE 8765
WORKDIR /var/lib/riverd
ENTRYPOINT ["riverd"]
CMD ["run", "-c", "/etc/riverd/riverd.toml"]
