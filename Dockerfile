# syntax=docker/dockerfile:1
# One image for every role: `docker run IMAGE worker`, `docker run IMAGE doctor`, `docker run IMAGE --help`.
# It carries the ONNX Runtime and a nats-server (for NATS_URL=embedded), fetched and checked by the very scripts a
# developer runs. No model is baked in: the worker takes the newest one from the Hub, or what BASE_MODEL says.

ARG RUST_VERSION=1.95
ARG DEBIAN=trixie

FROM rust:${RUST_VERSION}-${DEBIAN} AS build
# Only for set-up: it takes the ONNX Runtime out of the official Python wheel. No Python reaches the image. apt's lists
# stay: set-up reads Debian's mirror from them when nats-server's release can't be reached.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libssl-dev pkg-config python3 python3-venv
WORKDIR /build
# Before the sources, so that a change of code fetches nothing again.
COPY scripts/setup scripts/setup
COPY scripts/setup.d scripts/setup.d
RUN scripts/setup --runtime \
    && install -D -m 755 .local/bin/nats-server /image/bin/nats-server \
    && install -D -m 644 .local/lib/libonnxruntime.so /image/lib/libonnxruntime.so
COPY . .
# The caches outlive a build but are not part of a layer, hence the copy out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked --no-default-features --bin autovalidate \
    && install -D -m 755 target/release/autovalidate /image/bin/autovalidate

FROM debian:${DEBIAN}-slim AS image
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="AutoValidate trainer" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# TLS to Supabase and the Hub, C++ for the ONNX Runtime.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3t64 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --no-create-home autovalidate \
    && install -d -o autovalidate -g autovalidate -m 750 /data
COPY --from=build /image/bin/ /usr/local/bin/
COPY --from=build /image/lib/ /usr/local/lib/
# Large pages where the kernel gives them on request (glibc 2.35): training is 2 to 5 % faster, for some 10 MB (docs/results/performance.md).
ENV ORT_DYLIB_PATH=/usr/local/lib/libonnxruntime.so \
    NATS_SERVER=/usr/local/bin/nats-server \
    DATA_DIR=/data \
    HTTP_ADDR=0.0.0.0:8080 \
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1
# Checkpoints and, with an embedded nats-server, every pair: keep it on a volume.
VOLUME /data
EXPOSE 8080
# A worker that trains answers too: the server is not on the training's threads.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["autovalidate", "healthz"]
STOPSIGNAL SIGTERM
# Exec form: the program itself gets the signal, and writes its checkpoint.
ENTRYPOINT ["autovalidate"]
CMD ["worker"]

# For Fly, whose volumes belong to root when they are new: takes the volume over, then drops root for good.
FROM image AS fly
COPY scripts/fly-entry /usr/local/bin/fly-entry
ENTRYPOINT ["fly-entry"]

# The default target, and last for that reason: never root.
FROM image AS worker
USER autovalidate
