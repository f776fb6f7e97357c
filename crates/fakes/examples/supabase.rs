//! Serves a local Supabase until standard input ends, and prints its address and keys as one line of
//! JSON. `scripts/test-postgrest` compares its answers with those of a PostgreSQL.
//!
//! ```text
//! supabase [bigint|integer|smallint|uuid|text] [timestamptz|timestamp] [required]
//! ```

#![allow(clippy::print_stdout, reason = "a program that is used by scripts")]

use std::error::Error;
use std::io::Read;

use autovalidate_fakes::supabase::{IdType, Options, Supabase, TimeType};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::default();
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "bigint" => options.id_type = IdType::BigInt,
            "integer" => options.id_type = IdType::Integer,
            "smallint" => options.id_type = IdType::SmallInt,
            "uuid" => options.id_type = IdType::Uuid,
            "text" => options.id_type = IdType::Text,
            "timestamptz" => options.time_type = TimeType::WithZone,
            "timestamp" => options.time_type = TimeType::WithoutZone,
            "required" => options.required_texts = true,
            other => return Err(format!("{other}: no such type").into()),
        }
    }
    let supabase = Supabase::start(options).await?;
    let told = json!({
        "url": supabase.url().as_str().trim_end_matches('/'),
        "anon": supabase.anon_key(),
        "service": supabase.service_key(),
        "publishable": supabase.publishable_key(),
        "secret": supabase.secret_key(),
    });
    println!("{told}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    supabase.shutdown().await;
    Ok(())
}
