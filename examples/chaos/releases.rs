//! Judges the files in the repository, read over HTTP: every release is whole, recorded, and the only one
//! of its run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};

use anyhow::Context;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::programs::REPO;
use super::runs::Runs;
use super::system::System;
use super::truth::MARK;

/// Number of the releases, and everything that is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct ReleaseVerdict {
    pub(crate) releases: usize,
    pub(crate) problems: Vec<String>,
}

/// A client of the Hub that knows nothing but its addresses.
struct HubReader<'a> {
    http: reqwest::Client,
    url: &'a str,
    token: &'a str,
}

impl HubReader<'_> {
    async fn get(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let url = format!("{}/{path}", self.url.trim_end_matches('/'));
        let answer = self.http.get(url).bearer_auth(self.token).send().await?;
        match answer.status().as_u16() {
            404 => Ok(None),
            _ => Ok(Some(answer.error_for_status()?.bytes().await?.to_vec())),
        }
    }

    async fn file(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.get(&format!("{REPO}/resolve/main/{path}")).await?.with_context(|| format!("{path} is missing"))
    }

    /// Returns the paths at the head.
    async fn paths(&self) -> anyhow::Result<Vec<String>> {
        let Some(listing) = self.get(&format!("api/models/{REPO}/tree/main?recursive=true")).await? else {
            return Ok(Vec::new());
        };
        let entries: Vec<Value> = serde_json::from_slice(&listing)?;
        let files = entries.iter().filter(|entry| entry["type"] == "file");
        Ok(files.filter_map(|entry| Some(entry["path"].as_str()?.to_owned())).collect())
    }
}

/// Judges every release at the head.
pub(crate) async fn judge(system: &System, runs: &Runs) -> anyhow::Result<ReleaseVerdict> {
    let http = reqwest::Client::builder().timeout(std::time::Duration::from_secs(20)).build()?;
    let reader = HubReader { http, url: &system.hub.url, token: &system.secrets.hub };
    let paths = reader.paths().await?;
    let zips: BTreeSet<&String> = paths.iter().filter(|path| path.ends_with(".zip")).collect();
    let mut verdict = ReleaseVerdict { releases: zips.len(), problems: Vec::new() };
    let mut published: BTreeMap<String, &str> = BTreeMap::new();
    if let Some(newest) = zips.last() {
        let index = reader.file("models/index.json").await?;
        let card = reader.file("README.md").await?;
        for (name, file) in [("index", &index), ("card", &card)] {
            if String::from_utf8_lossy(file).contains(MARK) {
                verdict.problems.push(format!("leaked: the {name} has a pair's text"));
            }
        }
        let index: Value = serde_json::from_slice(&index)?;
        if index["live"]["path"] != **newest {
            verdict.problems.push(format!(
                "{} is live in the index, and {newest} for the backend",
                index["live"]["path"]
            ));
        }
        for path in &zips {
            let job = match release(&reader, path, &index).await {
                Ok(job) => job,
                Err(error) => {
                    verdict.problems.push(format!("{path}: {error:#}"));
                    continue;
                }
            };
            let record = runs.records.get(&job).map_or(&Value::Null, |record| &record["artifact"]);
            if record["path"] != ***path || runs.state(&job) != "done" {
                let state = runs.state(&job);
                verdict
                    .problems
                    .push(format!("{path} is published, and its run {job} is {state:?} with {record}"));
            }
            if let Some(other) = published.insert(job.clone(), path) {
                verdict.problems.push(format!("doubled: run {job} published {other} and {path}"));
            }
        }
    }
    for (job, record) in &runs.records {
        let path = record["artifact"]["path"].as_str();
        if path.is_some_and(|path| !zips.iter().any(|zip| *zip == path)) {
            verdict.problems.push(format!("lost: the release of run {job} is not in the repository"));
        }
    }
    Ok(verdict)
}

/// Checks that a release is whole, and returns the job that made it.
async fn release(reader: &HubReader<'_>, path: &str, index: &Value) -> anyhow::Result<String> {
    let zip = reader.file(path).await?;
    let models = index["models"].as_array().context("the index has no models")?;
    let entry = models.iter().find(|model| model["path"] == path).context("the index lacks it")?;
    let sha256 = hex(&Sha256::digest(&zip));
    anyhow::ensure!(entry["sha256"] == sha256.as_str(), "its SHA-256 is not that of the index");
    anyhow::ensure!(entry["size"] == zip.len(), "its size is not that of the index");

    let mut archive = zip::ZipArchive::new(Cursor::new(&zip))?;
    let mut files = BTreeMap::new();
    for place in 0..archive.len() {
        let mut file = archive.by_index(place)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let name = file.name()?.to_string();
        let name = name.split_once('/').map_or(name.as_str(), |(_, name)| name).to_owned();
        files.insert(name, content);
    }
    let inside = files.get("training_report.json").context("it has no receipt")?;
    let stamp =
        path.rsplit('-').next().and_then(|rest| rest.strip_suffix(".zip")).context("it has no stamp")?;
    let beside = reader.file(&format!("models/receipts/{stamp}.json")).await?;
    anyhow::ensure!(*inside == beside, "the receipt beside it is another one");
    let receipt: Value = serde_json::from_slice(inside)?;
    let weights = files.get("model.safetensors").context("it has no weights")?;
    let weights = hex(&Sha256::digest(weights));
    anyhow::ensure!(
        receipt["weights_sha256"] == weights.as_str(),
        "its weights are not those of the receipt"
    );
    anyhow::ensure!(entry["weights_sha256"] == weights.as_str(), "its weights are not those of the index");
    for needed in ["modules.json", "config.json", "onnx/model.onnx", "README.md"] {
        anyhow::ensure!(files.contains_key(needed), "it has no {needed}");
    }
    for (name, content) in &files {
        anyhow::ensure!(!String::from_utf8_lossy(content).contains(MARK), "leaked: {name} has a pair's text");
    }
    Ok(receipt["job"].as_str().context("its receipt has no job")?.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
