//! Refusals of real servers: each names the setting that mends it, with the server's own sentence.

use autovalidate::broker::{BrokerError, ConnectFailure};
use autovalidate::failure::{Failure, chain};

use super::access::remote;
use super::remote::{open, serve};
use crate::support::certificate::certificate;

/// Connects, and returns the refusal with its text and advice.
async fn refused(variables: &[(&str, &str)]) -> (BrokerError, String, String) {
    let error = open(remote(variables)).await.unwrap_err();
    let (text, advice) = (chain(&error), error.advice());
    (error, text, advice)
}

/// Asserts the reason of a failed connection.
#[track_caller]
fn assert_reason(error: &BrokerError, expected: ConnectFailure) {
    match error {
        BrokerError::Connect { reason, .. } => assert_eq!(*reason, expected, "{error:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_login_names_the_setting_that_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = serve(folder.path(), "authorization { user: worker, password: simple }").await;
    let url = format!("nats://127.0.0.1:{port}");
    let wrong = format!("nats://worker:s3cr3t@127.0.0.1:{port}");
    for (variables, setting) in [
        (vec![("NATS_URL", wrong.as_str())], "NATS_USER and NATS_PASSWORD, or the user in NATS_URL"),
        (vec![("NATS_URL", &url), ("NATS_TOKEN", "s3cr3t")], "Check NATS_TOKEN"),
        (vec![("NATS_URL", &url)], "Set NATS_USER and NATS_PASSWORD, NATS_TOKEN or NATS_CREDS"),
    ] {
        let (error, text, advice) = refused(&variables).await;
        assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
        assert!(text.to_lowercase().ends_with("authorization violation"), "{text}");
        assert!(advice.contains(setting), "{advice}");
        assert!(!format!("{error:?} {text}").contains("s3cr3t"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_tls_first_is_told_from_one_that_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let authority = certificate.to_str().unwrap();
    let files = format!("cert_file: {certificate:?}, key_file: {key:?}");
    let (_first, first) =
        serve(&folder.path().join("first"), &format!("tls {{ {files}, handshake_first: true }}")).await;
    let (_later, later) = serve(&folder.path().join("later"), &format!("tls {{ {files} }}")).await;
    let (_plain, plain) = serve(&folder.path().join("plain"), "").await;
    let url = |port| format!("tls://localhost:{port}");

    let (error, text, advice) = refused(&[("NATS_URL", &url(first)), ("NATS_CA", authority)]).await;
    assert_reason(&error, ConnectFailure::NoGreeting);
    assert!(advice.contains("set NATS_TLS_FIRST to true"), "{text}: {advice}");
    for port in [later, plain] {
        let variables = [("NATS_URL", url(port)), ("NATS_TLS_FIRST", "true".to_owned())];
        let (error, text, advice) =
            refused(&variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
        assert_reason(&error, ConnectFailure::NoTls { first: true });
        assert!(advice.contains("remove NATS_TLS_FIRST"), "{text}: {advice}");
    }
    let (error, text, advice) = refused(&[("NATS_URL", &url(plain))]).await;
    assert_reason(&error, ConnectFailure::NoTls { first: false });
    assert!(advice.contains("tls:// in NATS_URL"), "{text}: {advice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_missing_or_foreign_names_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate_file, key) = certificate(folder.path());
    let (foreign, foreign_key) = certificate(&folder.path().join("foreign"));
    let authority = folder.path().join("authority.pem");
    let tls = format!(
        "tls {{ cert_file: {certificate_file:?}, key_file: {key:?}, ca_file: {authority:?}, verify: true }}"
    );
    let (_server, port) = serve(folder.path(), &tls).await;
    let url = format!("tls://localhost:{port}");
    let [authority, own, foreign, foreign_key] =
        [&authority, &certificate_file, &foreign, &foreign_key].map(|path| path.to_str().unwrap());
    let base = [("NATS_URL", url.as_str()), ("NATS_CA", authority)];

    let (error, text, advice) = refused(&base).await;
    assert_reason(&error, ConnectFailure::ClientCertificateMissing);
    assert!(advice.starts_with("Set NATS_CERT and NATS_KEY"), "{text}: {advice}");

    let strange = [base[0], base[1], ("NATS_CERT", foreign), ("NATS_KEY", foreign_key)];
    let (error, text, advice) = refused(&strange).await;
    assert_reason(&error, ConnectFailure::ClientCertificateRefused);
    assert!(advice.starts_with("Check NATS_CERT and NATS_KEY"), "{text}: {advice}");

    let unpaired = [base[0], base[1], ("NATS_CERT", own), ("NATS_KEY", foreign_key)];
    let (error, text, advice) = refused(&unpaired).await;
    assert_reason(&error, ConnectFailure::CertificateFiles);
    assert!(advice.contains("the key belongs to the certificate"), "{text}: {advice}");

    let (error, text, advice) = refused(&[base[0], ("NATS_CA", foreign)]).await;
    assert_reason(&error, ConnectFailure::UnknownAuthority);
    assert!(advice.starts_with("Set NATS_CA"), "{text}: {advice}");

    let other_name = format!("tls://0.0.0.0:{port}");
    let (error, text, advice) = refused(&[("NATS_URL", &other_name), base[1]]).await;
    assert_reason(&error, ConnectFailure::ServerCertificate);
    assert!(advice.contains("the name in NATS_URL"), "{text}: {advice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_not_use_jetstream_is_told_so_with_the_subject() {
    let folder = tempfile::tempdir().unwrap();
    let users = r#"authorization { users: [
        { user: worker, password: simple, permissions: { publish: "training.>", subscribe: ">" } } ] }"#;
    let (_server, port) = serve(folder.path(), users).await;
    let (error, text, advice) =
        refused(&[("NATS_URL", &format!("nats://worker:simple@127.0.0.1:{port}"))]).await;
    assert!(matches!(error, BrokerError::NotPermitted { .. }), "{error:?}");
    assert!(text.contains("Permissions Violation for Publish to \"$JS.API.INFO\""), "{text}");
    assert!(advice.contains("docs/reference/nats.md"), "{advice}");
}
