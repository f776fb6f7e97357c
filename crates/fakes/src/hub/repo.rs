//! A repo: its commits, and the branches, tags and pull requests that name them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use super::file::Files;

/// The branch that every repo has.
pub(super) const MAIN: &str = "main";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Commit {
    pub(super) id: String,
    /// Absent in the first commit of a branch.
    #[serde(default)]
    pub(super) parent: Option<String>,
    pub(super) summary: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) at: Timestamp,
    pub(super) files: Files,
}

/// Title and description of a commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) summary: String,
    pub(super) description: String,
}

/// A name that moves on with each commit to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    Branch(String),
    PullRequest(u64),
}

/// Permission that readers of a gated repo need. The names are those of the Hub's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Gate {
    #[default]
    Off,
    Auto,
    Manual,
}

impl Gate {
    pub(super) fn is_on(self) -> bool {
        self != Self::Off
    }

    /// Returns the gate as the API writes it: `false`, `"auto"` or `"manual"`.
    pub(super) fn json(self) -> serde_json::Value {
        match self {
            Self::Off => false.into(),
            Self::Auto => "auto".into(),
            Self::Manual => "manual".into(),
        }
    }
}

/// Returns true when the Hub accepts this name for an owner or a repo.
pub(super) fn valid_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    (1..=96).contains(&name.len())
        && name.chars().all(allowed)
        && edge(name.chars().next())
        && edge(name.chars().next_back())
        && !name.contains("--")
        && !name.contains("..")
        && !name.ends_with(".git")
}

/// An immutable snapshot of a repo. Every change creates a new one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Repo {
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) private: bool,
    #[serde(default)]
    pub(super) gated: Gate,
    pub(super) created: Timestamp,
    /// Commits of all branches and pull requests, oldest first. Never empty, because creating a repo
    /// makes a commit.
    pub(super) commits: Vec<Commit>,
    /// Branches, tags and pull requests, each with the id of its commit.
    #[serde(default)]
    pub(super) branches: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) pull_requests: BTreeMap<u64, String>,
    /// Ids that the repo had before it was moved.
    #[serde(default)]
    pub(super) former_ids: Vec<String>,
}

impl Repo {
    pub(super) fn new(owner: &str, name: &str, private: bool, created: Timestamp) -> Self {
        let mut repo = Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            private,
            gated: Gate::Off,
            created,
            commits: Vec::new(),
            branches: BTreeMap::new(),
            tags: BTreeMap::new(),
            pull_requests: BTreeMap::new(),
            former_ids: Vec::new(),
        };
        let message = Message { summary: "initial commit".to_owned(), ..Message::default() };
        repo.commit(&Head::Branch(MAIN.to_owned()), None, message, Files::new(), created);
        repo
    }

    /// Completes a record of a time when a repo had one branch, whose commits were one list.
    pub(super) fn completed(mut self) -> Self {
        if let (true, Some(last)) = (self.branches.is_empty(), self.commits.last()) {
            self.branches.insert(MAIN.to_owned(), last.id.clone());
            let mut parent = None;
            for commit in &mut self.commits {
                commit.parent = parent.replace(commit.id.clone());
            }
        }
        self
    }

    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Returns the commit that a branch, tag, pull request or commit id names. Commit ids may be cut
    /// to seven digits.
    pub(super) fn revision(&self, revision: &str) -> Option<&Commit> {
        let name = if revision == "HEAD" { MAIN } else { revision };
        let named = match name.strip_prefix("refs/") {
            None => self.branches.get(name).or_else(|| self.tags.get(name)),
            Some(name) => match name.split_once('/')? {
                ("heads", name) => self.branches.get(name),
                ("tags", name) => self.tags.get(name),
                ("pr", number) => self.pull_requests.get(&number.parse().ok()?),
                _ => None,
            },
        };
        let by_id = |commit: &&Commit| match named {
            Some(id) => commit.id == *id,
            None => name.len() >= 7 && commit.id.starts_with(name),
        };
        self.commits.iter().find(by_id)
    }

    /// Returns the branch or pull request of this name. A tag or a commit takes no commits.
    pub(super) fn head(&self, revision: &str) -> Option<Head> {
        if let Some(number) = revision.strip_prefix("refs/pr/") {
            let number = number.parse().ok()?;
            return self.pull_requests.contains_key(&number).then_some(Head::PullRequest(number));
        }
        let name = revision.strip_prefix("refs/heads/").unwrap_or(revision);
        self.branches.contains_key(name).then(|| Head::Branch(name.to_owned()))
    }

    /// Returns the number of the next pull request.
    pub(super) fn next_pull_request(&self) -> u64 {
        self.pull_requests.keys().next_back().map_or(1, |last| last + 1)
    }

    /// Returns a commit and its ancestors, newest first.
    pub(super) fn history<'a>(&'a self, commit: &'a Commit) -> impl Iterator<Item = &'a Commit> {
        let parent = |commit: &&'a Commit| {
            let parent = commit.parent.as_deref()?;
            self.commits.iter().find(|commit| commit.id == parent)
        };
        std::iter::successors(Some(commit), parent)
    }

    /// Adds a commit to a head, which it creates if absent. Returns the commit's id.
    pub(super) fn commit(
        &mut self,
        head: &Head,
        parent: Option<String>,
        message: Message,
        files: Files,
        at: Timestamp,
    ) -> String {
        let Message { summary, description } = message;
        let text = parent.as_deref().unwrap_or_default();
        let place = self.commits.len();
        let mut hash = Sha1::new().chain_update(format!("{}\n{place}\n{text}\n{at}\n{summary}\n", self.id()));
        for (path, file) in &files {
            hash.update(format!("{path}\0{}\n", file.oid));
        }
        let id: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.commits.push(Commit { id: id.clone(), parent, summary, description, at, files });
        match head {
            Head::Branch(name) => self.branches.insert(name.clone(), id.clone()),
            Head::PullRequest(number) => self.pull_requests.insert(*number, id.clone()),
        };
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo() -> Repo {
        Repo::new("acme", "cars", false, Timestamp::UNIX_EPOCH)
    }

    fn commit(repo: &mut Repo, head: &Head, summary: &str) -> String {
        let parent = repo.revision(MAIN).map(|commit| commit.id.clone());
        let message = Message { summary: summary.to_owned(), ..Message::default() };
        repo.commit(head, parent, message, Files::new(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn every_name_of_a_commit_finds_it() {
        let mut repo = repo();
        let main = commit(&mut repo, &Head::Branch(MAIN.into()), "on main");
        let pull_request = commit(&mut repo, &Head::PullRequest(1), "proposed");
        repo.tags.insert("v1".into(), main.clone());
        for name in ["main", "HEAD", "refs/heads/main", "v1", "refs/tags/v1", &main, &main[..7]] {
            assert_eq!(repo.revision(name).map(|commit| &commit.id), Some(&main), "{name}");
        }
        assert_eq!(repo.revision("refs/pr/1").map(|commit| &commit.id), Some(&pull_request));
        for name in ["", "mai", "refs/pr/2", "refs/pr/x", "refs/v1", "refs/heads/v1", &main[..6]] {
            assert!(repo.revision(name).is_none(), "{name}");
        }
        assert!(repo.head("v1").is_none() && repo.head(&main).is_none());
    }

    #[test]
    fn a_record_without_branches_has_one_line_of_commits() {
        let mut repo = repo();
        let last = commit(&mut repo, &Head::Branch(MAIN.into()), "second");
        repo.branches.clear();
        repo.commits.iter_mut().for_each(|commit| commit.parent = None);
        let repo = repo.completed();
        let head = repo.revision(MAIN).unwrap();
        assert_eq!(head.id, last);
        let summaries: Vec<_> = repo.history(head).map(|commit| commit.summary.as_str()).collect();
        assert_eq!(summaries, ["second", "initial commit"]);
    }
}
