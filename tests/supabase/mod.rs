//! Tests of `supabase`.
