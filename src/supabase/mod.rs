//! Where pairs come from: PostgREST, Realtime, webhook, and the ingest that merges them.
