//! A local Supabase: PostgREST subset, Realtime, webhook.
