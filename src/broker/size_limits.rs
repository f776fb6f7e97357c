//! Size limits of the streams: a total that `NATS_MAX_BYTES` or the account decides, split over
//! them.
//!
//! | stream or bucket | share of the total |
//! |---|---|
//! | `CORRECTIONS` | 16/32 |
//! | `QUARANTINE`, `TRAINING_EVENTS`, `training_runs` | 4/32 each |
//! | `TRAINING`, `trainer_state` | 1/32 each |
//!
//! The rest, 2/32, stays free. Checkpoints have a limit of their own, by the size of the model.

use async_nats::jetstream::account::{Account, Limits};

/// Total when the account demands limits and the operator has set none, in bytes: some million
/// pairs, and a fifth of what hosted free plans give.
const DEMANDED_TOTAL: i64 = 1 << 30;

/// Denominator of the shares.
const PARTS: i64 = 32;

/// Reason for a size limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitSource {
    /// The operator set `NATS_MAX_BYTES`.
    Operator,
    /// The account has only streams with a limit.
    Account,
    /// The program needs this much; a larger limit stays.
    Needed,
    /// The program's default. It applies when a stream is created, and never to an existing one.
    Default,
}

/// Size limit of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeLimit {
    /// Bytes; -1 for no limit.
    pub(super) bytes: i64,
    pub(super) source: LimitSource,
}

/// Space of one installation on the broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeLimits {
    total: Option<(i64, LimitSource)>,
    /// Largest size of one stream that the account allows.
    largest: i64,
    /// Size of the events' stream when there is no total, and its largest share of one.
    events: i64,
}

impl SizeLimits {
    /// Returns limits without a total.
    pub(super) fn unlimited(events: i64) -> Self {
        Self { total: None, largest: i64::MAX, events }
    }

    /// Chooses the total: the operator's, or a default that fits when the account demands limits.
    pub(super) fn new(account: &Account, replicas: usize, set: Option<u64>, events: i64) -> Self {
        let tier = account.tiers.get(&format!("R{replicas}"));
        let limits: Limits = tier.map_or(account.limits, |tier| tier.limits);
        let largest = limits.storage_max_stream_bytes.filter(|bytes| *bytes > 0).unwrap_or(i64::MAX);
        let demanded = limits.max_bytes_required || account.limits.max_bytes_required;
        let total = match set {
            Some(bytes) => Some((i64::try_from(bytes).unwrap_or(i64::MAX), LimitSource::Operator)),
            None if demanded => {
                let copies = i64::try_from(replicas.max(1)).unwrap_or(1);
                let taken = tier.map_or(account.reserved_storage, |tier| tier.reserved_storage);
                let taken = i64::try_from(taken).unwrap_or(i64::MAX);
                // Half of what is left: checkpoints and other programs need room, too.
                let fits = limits
                    .max_storage
                    .filter(|most| *most > 0)
                    .map_or(i64::MAX, |most| most.saturating_sub(taken).max(0) / 2 / copies);
                Some((DEMANDED_TOTAL.min(fits).max(PARTS), LimitSource::Account))
            }
            None => None,
        };
        Self { total, largest, events }
    }

    pub(super) fn corrections(&self) -> SizeLimit {
        self.share(16)
    }

    pub(super) fn quarantine(&self) -> SizeLimit {
        self.share(4)
    }

    pub(super) fn training(&self) -> SizeLimit {
        self.share(1)
    }

    pub(super) fn events(&self) -> SizeLimit {
        match self.share(4) {
            SizeLimit { bytes: -1, source } => SizeLimit { bytes: self.events.min(self.largest), source },
            SizeLimit { bytes, source } => SizeLimit { bytes: bytes.min(self.events), source },
        }
    }

    pub(super) fn runs(&self) -> SizeLimit {
        self.share(4)
    }

    pub(super) fn state(&self) -> SizeLimit {
        self.share(1)
    }

    fn share(&self, parts: i64) -> SizeLimit {
        match self.total {
            Some((total, source)) => {
                SizeLimit { bytes: (total / PARTS).saturating_mul(parts).min(self.largest), source }
            }
            None => SizeLimit { bytes: -1, source: LimitSource::Default },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    fn account(limits: &str, reserved: u64) -> Account {
        let limits: serde_json::Value = serde_json::from_str(limits).unwrap();
        let mut all = serde_json::json!({
            "max_memory": -1, "max_storage": -1, "max_streams": -1, "max_consumers": -1,
            "max_bytes_required": false, "max_ack_pending": -1,
            "memory_max_stream_bytes": -1, "storage_max_stream_bytes": -1,
        });
        all.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        serde_json::from_value(serde_json::json!({
            "memory": 0, "storage": 0, "reserved_memory": 0, "reserved_storage": reserved,
            "streams": 0, "consumers": 0, "domain": null, "limits": all,
            "api": { "total": 0, "errors": 0 },
        }))
        .unwrap()
    }

    fn all(limits: &SizeLimits) -> [i64; 6] {
        let shares = [limits.corrections(), limits.quarantine(), limits.training()];
        let more = [limits.events(), limits.runs(), limits.state()];
        [shares, more].concat().iter().map(|limit| limit.bytes).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn only_events_are_limited_when_nobody_asks_for_more() {
        let limits = SizeLimits::new(&account("{}", 0), 1, None, 256 * MIB);
        assert_eq!(all(&limits), [-1, -1, -1, 256 * MIB, -1, -1]);
        assert_eq!(limits.events().source, LimitSource::Default);
    }

    #[test]
    fn an_account_that_demands_limits_gets_them_within_what_is_left() {
        let demands = r#"{ "max_bytes_required": true, "max_storage": 1073741824 }"#;
        let limits = SizeLimits::new(&account(demands, 0), 1, None, 256 * MIB);
        assert_eq!(all(&limits), [256 * MIB, 64 * MIB, 16 * MIB, 64 * MIB, 64 * MIB, 16 * MIB]);
        assert_eq!(limits.runs().source, LimitSource::Account);
        let half_taken = SizeLimits::new(&account(demands, 1 << 29), 1, None, 256 * MIB);
        assert_eq!(half_taken.corrections().bytes, 128 * MIB);
        let in_three_copies = SizeLimits::new(&account(demands, 0), 3, None, 256 * MIB);
        assert!(in_three_copies.corrections().bytes * 3 <= 256 * MIB);
        let unlimited = r#"{ "max_bytes_required": true }"#;
        let limits = SizeLimits::new(&account(unlimited, 0), 1, None, 256 * MIB);
        assert_eq!(limits.corrections().bytes, 512 * MIB);
    }

    #[test]
    fn the_operators_total_is_split_and_no_stream_is_larger_than_the_account_allows() {
        let small = SizeLimits::new(&account("{}", 0), 1, Some(64 << 20), 256 * MIB);
        assert_eq!(all(&small), [32 * MIB, 8 * MIB, 2 * MIB, 8 * MIB, 8 * MIB, 2 * MIB]);
        assert!(all(&small).iter().sum::<i64>() <= 64 * MIB);
        let large = SizeLimits::new(&account("{}", 0), 1, Some(1 << 40), 256 * MIB);
        assert_eq!(large.events().bytes, 256 * MIB, "events need no more");
        let capped = account(r#"{ "storage_max_stream_bytes": 10485760 }"#, 0);
        assert_eq!(SizeLimits::new(&capped, 1, Some(1 << 30), 256 * MIB).corrections().bytes, 10 * MIB);
        assert_eq!(SizeLimits::new(&capped, 1, None, 256 * MIB).events().bytes, 10 * MIB);
    }
}
