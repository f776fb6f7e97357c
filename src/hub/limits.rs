//! Limits on reads from the Hub: sizes, counts and times, in one place.
//!
//! Whoever controls a repo, or answers in the Hub's place, chooses what it sends. Time of a single answer
//! is in [`RetryPolicy`](super::RetryPolicy); a pause that the Hub asks for never exceeds its
//! `longest_pause`.

use std::time::Duration;

/// Size of the largest error body, in bytes.
pub(super) const ERROR_BYTES: usize = 16 << 10;
/// Size of the largest JSON body, in bytes. A page of a listing has a thousand files of some hundred
/// bytes each.
pub(super) const JSON_BYTES: usize = 8 << 20;
/// Size of the largest file that is read into memory, in bytes: an index, a receipt or a card.
pub(super) const CONTENT_BYTES: usize = 32 << 20;
/// Largest number of pages of one listing. A longer one is a loop in the Hub's links.
pub(super) const LISTING_PAGES: usize = 1_000;
/// Largest number of files in one listing.
pub(super) const LISTING_FILES: usize = 100_000;
/// Largest size of the paths in one listing, in bytes.
pub(super) const LISTING_BYTES: usize = 16 << 20;
/// Longest time that one listing may take, with all pages and retries.
pub(super) const LISTING_TIME: Duration = Duration::from_secs(600);
/// Largest number of receipts that are read.
pub(super) const RECEIPTS: usize = 10_000;
/// Largest size of all receipts together, in bytes.
pub(super) const RECEIPTS_BYTES: usize = 512 << 20;
/// Largest number of files of a base model.
pub(super) const MODEL_FILES: usize = 1_000;
/// Largest size of a base model or a release, in bytes.
pub(super) const MODEL_BYTES: u64 = 16 << 30;
