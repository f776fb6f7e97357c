//! Ids of requests that come without one.
//!
//! A stream that is deleted and made anew counts from 1 again, while the run records stay. So the id
//! holds the time at which the stream was created, beside the sequence. Requests of version 0.1 that
//! wait during the upgrade keep their ids, which hold the sequence alone.

use jiff::Timestamp;

use super::clock::timestamp;
use super::error::BrokerError;
use super::job_id::JobId;
use super::ownership::marked_from;
use super::request::JobRequest;
use super::streams::Streams;

/// Ids of the requests on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestIds {
    created_at: Timestamp,
    /// First sequence whose id holds the time; `None` when the stream has no owner mark yet.
    from: Option<u64>,
}

impl RequestIds {
    /// Asks for the stream's creation: a handle may be older than the stream.
    pub(super) async fn of(streams: &Streams) -> Result<Self, BrokerError> {
        let info = streams.training().get_info().await;
        let info = info.map_err(BrokerError::request("asking for the stream of requests"))?;
        Ok(Self {
            created_at: timestamp(info.created.unix_timestamp_nanos()),
            from: marked_from(&info.config),
        })
    }

    /// Returns the id of the request with this stream sequence: its own, or one derived from the
    /// sequence, which is the same at every delivery.
    pub(super) fn id(&self, request: &JobRequest, sequence: u64) -> JobId {
        request.job_id.clone().unwrap_or_else(|| self.at(sequence))
    }

    /// Returns the id of a request that has none of its own, or can't be read.
    pub(super) fn at(&self, sequence: u64) -> JobId {
        match self.from {
            Some(from) if sequence >= from => JobId::requested(self.created_at, sequence),
            Some(_) | None => JobId::manual(sequence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_of_an_earlier_version_have_ids_without_a_time() {
        let created_at = Timestamp::from_millisecond(1_764_454_621_123).unwrap();
        let ids = |from| RequestIds { created_at, from };
        assert_eq!(ids(Some(0)).at(7).as_str(), "manual-mikuq30j-7");
        assert_eq!(ids(Some(7)).at(7).as_str(), "manual-mikuq30j-7");
        assert_eq!(ids(Some(7)).at(6), JobId::manual(6));
        assert_eq!(ids(None).at(7), JobId::manual(7), "an earlier version's worker still runs");
        let own = JobRequest { job_id: Some("mine".parse().unwrap()), ..JobRequest::default() };
        assert_eq!(ids(Some(0)).id(&own, 7).as_str(), "mine");
    }
}
