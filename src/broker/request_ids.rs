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
#[derive(Debug)]
pub(super) struct RequestIds<'s> {
    streams: &'s Streams,
    /// Origin of the stream; `None` until a request without an id of its own asks for it.
    origin: Option<Origin>,
}

impl<'s> RequestIds<'s> {
    /// Asks for nothing yet: most requests come with an id.
    pub(super) fn new(streams: &'s Streams) -> Self {
        Self { streams, origin: None }
    }

    /// Asks for what the id of this request depends on. Afterwards [`id`](Self::id) can't fail for it.
    pub(super) async fn prepare(&mut self, request: &JobRequest) -> Result<(), BrokerError> {
        if request.job_id.is_none() {
            self.origin().await?;
        }
        Ok(())
    }

    /// Returns the id of the request with this stream sequence: its own, or one derived from the
    /// sequence, which is the same at every delivery.
    pub(super) async fn id(&mut self, request: &JobRequest, sequence: u64) -> Result<JobId, BrokerError> {
        match &request.job_id {
            Some(own) => Ok(own.clone()),
            None => self.at(sequence).await,
        }
    }

    /// Returns the id of a request that has none of its own, or can't be read.
    pub(super) async fn at(&mut self, sequence: u64) -> Result<JobId, BrokerError> {
        Ok(self.origin().await?.id(sequence))
    }

    /// Asks for the stream's creation: a handle may be older than the stream.
    async fn origin(&mut self) -> Result<Origin, BrokerError> {
        if let Some(origin) = self.origin {
            return Ok(origin);
        }
        let info = self.streams.training().get_info().await;
        let info = info.map_err(BrokerError::request("asking for the stream of requests"))?;
        let created_at = timestamp(info.created.unix_timestamp_nanos());
        Ok(*self.origin.insert(Origin { created_at, from: marked_from(&info.config) }))
    }
}

/// Creation of the stream of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    created_at: Timestamp,
    /// First sequence whose id holds the time; `None` when the stream has no owner mark yet.
    from: Option<u64>,
}

impl Origin {
    fn id(self, sequence: u64) -> JobId {
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
        let marked = |from| Origin { created_at, from };
        assert_eq!(marked(Some(0)).id(7).as_str(), "manual-mikuq30j-7");
        assert_eq!(marked(Some(7)).id(7).as_str(), "manual-mikuq30j-7");
        assert_eq!(marked(Some(7)).id(6), JobId::manual(6));
        assert_eq!(marked(None).id(7), JobId::manual(7), "an earlier version's worker still runs");
    }
}
