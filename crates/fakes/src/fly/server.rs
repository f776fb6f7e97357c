//! The listener of the Machines API, and the faults that strike any request.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;

use super::faults::RequestFault;
use super::refusal::Refusal;
use super::routes;
use super::shared::Shared;
use crate::connection::{Connections, Cut};

/// Serves the API until the token is cancelled.
pub(super) async fn serve(
    connections: Connections,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes: Router = routes::router()
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), intercept))
        .with_state(shared)
        .fallback(|request: Request| async move {
            tracing::debug!(method = %request.method(), path = request.uri().path(), "no such route");
            Refusal::new(StatusCode::NOT_FOUND, "404 page not found")
        });
    let service = routes.into_make_service_with_connect_info::<Cut>();
    axum::serve(connections, service).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Answers a request in place of its route when a fault is switched on.
async fn intercept(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
    next: Next,
) -> Response {
    match shared.world.faults.take_request() {
        None | Some(RequestFault::None) => next.run(request).await,
        Some(RequestFault::Status(status, error)) => Refusal::new(status, error).into_response(),
        Some(RequestFault::RateLimited(delay)) => Refusal::rate_limited().retry_after(delay).into_response(),
        Some(RequestFault::Cut) => {
            cut.cut();
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Some(RequestFault::AnswerLost) => {
            let response = next.run(request).await;
            cut.cut();
            response
        }
    }
}
