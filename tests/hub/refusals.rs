//! Refusals a person must deal with, and trouble that passes.

use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::hub::{HubAccess, HubError, Patience, Repository};
use axum::http::StatusCode;
use secrecy::SecretString;

use super::bench::{Bench, LIMIT, REPO, access, patience, upload};
use crate::support::within;

const VERSION: &str = "20261122160509";

#[tokio::test]
async fn a_wrong_token_is_for_a_person() {
    let bench = Bench::start().await;
    let wrong =
        Repository::with_patience(access(&bench.hub, SecretString::from("wrong")), patience()).unwrap();
    let (archive, _) = bench.archive(1, 100);
    let error = within(LIMIT, wrong.publish(upload(VERSION, archive))).await.unwrap_err();
    assert!(matches!(error, HubError::Unauthorized { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
    assert!(error.advice().contains("HF_TOKEN") && error.advice().contains(REPO), "{}", error.advice());

    // A token that can't even be sent is refused before anything is asked.
    let odd = Repository::open(access(&bench.hub, SecretString::from("two\nlines")));
    assert!(matches!(odd, Err(HubError::Unauthorized { .. })));
}

#[tokio::test]
async fn missing_rights_are_for_a_person_and_not_tried_again() {
    let bench = Bench::start().await;
    bench.hub.faults().refuse(Some(StatusCode::FORBIDDEN));
    let error = bench.publish(VERSION, 100).await.unwrap_err();
    assert!(matches!(&error, HubError::Forbidden { repo } if repo.to_string() == REPO), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
    assert!(error.advice().contains(REPO));
}

#[tokio::test]
async fn a_missing_repo_is_for_a_person() {
    let bench = Bench::start().await;
    let elsewhere =
        HubAccess { repo: "acme/absent".parse().unwrap(), ..access(&bench.hub, bench.hub.token().clone()) };
    let elsewhere = Repository::with_patience(elsewhere, patience()).unwrap();
    let error = within(LIMIT, elsewhere.newest()).await.unwrap_err();
    assert!(matches!(error, HubError::NoRepository { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
    // A private repo shows itself to nobody without a token.
    let nobody = HubAccess { token: None, ..access(&bench.hub, bench.hub.token().clone()) };
    let nobody = Repository::with_patience(nobody, patience()).unwrap();
    assert!(matches!(within(LIMIT, nobody.newest()).await, Err(HubError::Unauthorized { .. })));
}

#[tokio::test]
async fn an_archive_that_is_gone_is_for_a_person() {
    let bench = Bench::start().await;
    let absent = bench.folder.path().join("absent.zip");
    let error = bench.publish_upload(upload(VERSION, absent.clone())).await.unwrap_err();
    assert!(matches!(&error, HubError::File { path, .. } if *path == absent), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
}

#[tokio::test]
async fn trouble_that_lasts_is_given_back_for_later() {
    let bench = Bench::with(|options| options, Patience { attempts: 2, ..patience() }).await;
    bench.hub.faults().unavailable(2);
    let error = bench.repository.newest().await.unwrap_err();
    assert!(matches!(error, HubError::Unavailable { status: 503 }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Retry);
    assert!(bench.hub.faults().spent(), "it was tried as often as patience says");

    let Bench { hub, repository, folder: _folder } = bench;
    hub.shutdown().await;
    let error = within(LIMIT, repository.newest()).await.unwrap_err();
    assert!(matches!(error, HubError::Connection(_)), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Retry);
}
