//! Refusals that need a person, and failures that pass.

use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::hub::{HubAccess, HubError, Repository, RetryPolicy};
use axum::http::StatusCode;
use secrecy::SecretString;

use crate::support::DEADLINE;
use crate::support::hub::{REPO, TestHub, access, patience, upload};
use crate::support::within;

const VERSION: &str = "20261122160509";

#[tokio::test]
async fn a_wrong_token_is_for_a_person() {
    let bench = TestHub::start().await;
    let wrong =
        Repository::with_retry_policy(access(&bench.hub, SecretString::from("wrong")), patience()).unwrap();
    let (archive, _) = bench.archive(1, 100);
    let error = within(DEADLINE, wrong.publish(upload(VERSION, archive))).await.unwrap_err();
    assert!(matches!(error, HubError::Unauthorized { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
    assert!(error.advice().contains("HF_TOKEN") && error.advice().contains(REPO), "{}", error.advice());

    // A token that is not a valid header is refused before any request.
    let odd = Repository::open(access(&bench.hub, SecretString::from("two\nlines")));
    assert!(matches!(odd, Err(HubError::Unauthorized { .. })));
}

#[tokio::test]
async fn missing_rights_are_for_a_person_and_not_tried_again() {
    let bench = TestHub::start().await;
    bench.hub.faults().refuse(Some(StatusCode::FORBIDDEN));
    let error = bench.publish(VERSION, 100).await.unwrap_err();
    assert!(matches!(&error, HubError::Forbidden { repo, .. } if repo.to_string() == REPO), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
    assert!(error.advice().contains(REPO));
}

#[tokio::test]
async fn a_missing_repo_is_for_a_person() {
    let bench = TestHub::start().await;
    let elsewhere =
        HubAccess { repo: "acme/absent".parse().unwrap(), ..access(&bench.hub, bench.hub.token().clone()) };
    let elsewhere = Repository::with_retry_policy(elsewhere, patience()).unwrap();
    let error = within(DEADLINE, elsewhere.newest()).await.unwrap_err();
    assert!(matches!(error, HubError::NoRepository { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
    // Without a token, a private repo is not visible.
    let nobody = HubAccess { token: None, ..access(&bench.hub, bench.hub.token().clone()) };
    let nobody = Repository::with_retry_policy(nobody, patience()).unwrap();
    let hidden = within(DEADLINE, nobody.newest()).await.unwrap_err();
    assert!(matches!(hidden, HubError::NoRepository { .. }), "{hidden:?}");
    assert!(hidden.to_string().contains("Invalid username or password."), "the Hub's own sentence: {hidden}");
}

#[tokio::test]
async fn a_gated_repo_is_told_with_the_hubs_own_sentence() {
    let bench = TestHub::start().await;
    let sentence = "Access to model acme/cars is restricted. Visit its page to ask for access.";
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        bench.hub.faults().refuse_below("/", status, "GatedRepo", sentence);
        let error = within(DEADLINE, bench.repository.newest()).await.unwrap_err();
        assert!(matches!(error, HubError::Gated { .. }), "{error:?}");
        assert!(error.to_string().contains(sentence) && error.advice().contains("HF_REPO"), "{error}");
        assert_eq!(error.directive(), RetryDirective::Person);
    }
}

#[tokio::test]
async fn an_archive_that_is_gone_is_for_a_person() {
    let bench = TestHub::start().await;
    let absent = bench.folder.path().join("absent.zip");
    let error = bench.publish_upload(upload(VERSION, absent.clone())).await.unwrap_err();
    assert!(matches!(&error, HubError::File { path, .. } if *path == absent), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
}

#[tokio::test]
async fn trouble_that_lasts_is_given_back_for_later() {
    let bench = TestHub::with(|options| options, RetryPolicy { attempts: 2, ..patience() }).await;
    bench.hub.faults().unavailable(2);
    let error = bench.repository.newest().await.unwrap_err();
    assert!(matches!(error, HubError::Unavailable { status: 503 }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Retry);
    assert!(bench.hub.faults().spent(), "every allowed attempt was made");

    let TestHub { hub, repository, folder: _folder } = bench;
    hub.shutdown().await;
    let error = within(DEADLINE, repository.newest()).await.unwrap_err();
    assert!(matches!(error, HubError::Connection(_)), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Retry);
}
