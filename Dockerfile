# One image for every role: `docker run IMAGE worker`, `docker run IMAGE doctor`, `docker run IMAGE --help`.
# It carries the ONNX Runtime and a nats-server (for NATS_URL=embedded), fetched and checked by the very scripts a
# developer runs. No model is baked in: the worker takes the newest one from the Hub, or what BASE_MODEL says.

# Whole references, so that a build can name a digest or a mirror: --build-arg RUNTIME_BASE=docker.io/library/debian@sha256:...
# Debian's tag has the day it was made. Rust's has the compiler's whole version; such a tag is rebuilt on newer Debians
# while its version is the newest. No file of the first base reaches the image.
ARG BUILD_BASE=docker.io/library/rust:1.95.0-trixie
ARG RUNTIME_BASE=docker.io/library/debian:trixie-20260803-slim

FROM ${BUILD_BASE} AS build
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
# For `--version` and for `init`: there is no Git here to tell.
ARG REVISION=unknown
ARG REVISION_DATE=unknown
ARG IMAGE=
ENV AUTOVALIDATE_REVISION=${REVISION} AUTOVALIDATE_REVISION_DATE=${REVISION_DATE} AUTOVALIDATE_IMAGE=${IMAGE}
# The caches outlive a build but are not part of a layer, hence the copy out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked --no-default-features --features otel --bin autovalidate \
    && install -D --strip -m 755 target/release/autovalidate /image/bin/autovalidate

FROM ${RUNTIME_BASE} AS image
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="AutoValidate trainer" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# TLS to Supabase and the Hub, C++ for the ONNX Runtime. A user that the image does not know gets the group root from
# Docker, Podman and OpenShift, so that group may write to a new volume, too.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3t64 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && groupadd --gid 10001 autovalidate \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin autovalidate \
    && install -d -o autovalidate -g root -m 770 /data
COPY --from=build /image/bin/ /usr/local/bin/
COPY --from=build /image/lib/ /usr/local/lib/
# HF_HOME: the Hub's Xet library keeps what it uploads in a folder below HOME. A user without an entry in /etc/passwd has
# no HOME, and the root file system may be read-only.
# Large pages where the kernel gives them on request (glibc 2.35): training is 2 to 5 % faster, for some 10 MB (docs/results/performance.md).
ENV ORT_DYLIB_PATH=/usr/local/lib/libonnxruntime.so \
    NATS_SERVER=/usr/local/bin/nats-server \
    DATA_DIR=/data \
    HF_HOME=/data/.cache/huggingface \
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
# Once more: an entry point discards the command of the stage before.
CMD ["worker"]

# The default target, and last for that reason: never root.
FROM image AS worker
# A number, since Kubernetes can't tell from a name that the user is not root.
USER 10001:10001
