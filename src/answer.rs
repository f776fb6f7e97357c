//! Reader of an HTTP answer's body that never takes more than a limit.
//!
//! A server that goes wrong, or somebody in its place, may send a body without an end. The header
//! `Content-Length` does not help: an answer need not have one.

use reqwest::Response;

/// Reason why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The body is larger than the limit.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The connection broke. The error leaves the URL out, since a signed one is a secret.
    #[error(transparent)]
    Connection(reqwest::Error),
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// [`AnswerError`].
pub(crate) async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, AnswerError> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(AnswerError::TooLarge { limit });
    }
    let mut body = Vec::new();
    while let Some(piece) =
        response.chunk().await.map_err(|error| AnswerError::Connection(error.without_url()))?
    {
        if body.len() + piece.len() > limit {
            return Err(AnswerError::TooLarge { limit });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with these pieces, which have no length in front of them together.
    fn response(pieces: &'static [&'static str]) -> Response {
        let pieces = futures::stream::iter(pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece)));
        axum::http::Response::new(reqwest::Body::wrap_stream(pieces)).into()
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_not_beyond() {
        assert_eq!(read_body(response(&["ab", "cd"]), 4).await.unwrap(), b"abcd");
        let error = read_body(response(&["ab", "cd", "e"]), 4).await.unwrap_err();
        assert!(matches!(error, AnswerError::TooLarge { limit: 4 }), "{error:?}");
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_before_it_is_read() {
        let long: Response = axum::http::Response::new("abcde").into();
        assert!(matches!(read_body(long, 4).await, Err(AnswerError::TooLarge { .. })));
    }
}
