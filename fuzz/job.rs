//! Requests to train, as anybody may send them who can publish on the subject of jobs.

use autovalidate::broker::JobRequest;

/// Parses the input. A request that is accepted must be the same after it has travelled on.
pub(crate) fn request(input: &[u8]) {
    match JobRequest::parse(input) {
        Ok(request) => {
            let sent = serde_json::to_vec(&request).expect("JSON");
            assert_eq!(JobRequest::parse(&sent).as_ref(), Ok(&request));
        }
        Err(refusal) => assert!(refusal.to_string().len() < 400, "{refusal}"),
    }
}
