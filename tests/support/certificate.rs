//! Certificates for tests of TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Creates a certificate for `localhost`, signed by a private certificate authority, with the
/// system's openssl. Returns the paths of the certificate and its key.
pub fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (authority, authority_key) = (folder.join("authority.pem"), folder.join("authority.key"));
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    let (request, extensions) = (folder.join("server.csr"), folder.join("server.ext"));
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&extensions, "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", "/CN=test authority"];
    let (a, ak) = (text(&authority), text(&authority_key));
    arguments.extend(new_key);
    arguments.extend(["-keyout", &ak, "-out", &a]);
    run(&arguments);
    let (k, r) = (text(&key), text(&request));
    let mut arguments = vec!["req", "-new", "-subj", "/CN=localhost"];
    arguments.extend(new_key);
    arguments.extend(["-keyout", &k, "-out", &r]);
    run(&arguments);
    let (c, e) = (text(&certificate), text(&extensions));
    run(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &r,
        "-CA",
        &a,
        "-CAkey",
        &ak,
        "-CAcreateserial",
        "-extfile",
        &e,
        "-out",
        &c,
    ]);
    // The server sends the whole chain, so one file is enough for both sides.
    let chain =
        std::fs::read_to_string(&certificate).unwrap() + &std::fs::read_to_string(&authority).unwrap();
    std::fs::write(&certificate, chain).unwrap();
    (certificate, key)
}
