//! The metadata of a model card: the front matter of `README.md`, and what the Hub accepts in it.
//!
//! Rules and sentences are those of the Hub's schema, as far as clients have met them: YAML, the
//! license's list, ids of models, language codes, and the shape of `model-index`. Unknown fields
//! are allowed.

use serde_json::{Map, Value};

/// Licenses of the Hub, in the order in which its refusal lists them.
const LICENSES: &str = "apache-2.0, mit, openrail, bigscience-openrail-m, creativeml-openrail-m, \
    bigscience-bloom-rail-1.0, bigcode-openrail-m, afl-3.0, artistic-2.0, bsl-1.0, bsd, bsd-2-clause, \
    bsd-3-clause, bsd-3-clause-clear, c-uda, cc, cc0-1.0, cc-by-2.0, cc-by-2.5, cc-by-3.0, cc-by-4.0, \
    cc-by-sa-3.0, cc-by-sa-4.0, cc-by-nc-2.0, cc-by-nc-3.0, cc-by-nc-4.0, cc-by-nd-4.0, cc-by-nc-nd-3.0, \
    cc-by-nc-nd-4.0, cc-by-nc-sa-2.0, cc-by-nc-sa-3.0, cc-by-nc-sa-4.0, cdla-sharing-1.0, \
    cdla-permissive-1.0, cdla-permissive-2.0, wtfpl, ecl-2.0, epl-1.0, epl-2.0, etalab-2.0, eupl-1.1, \
    eupl-1.2, agpl-3.0, gfdl, gpl, gpl-2.0, gpl-3.0, lgpl, lgpl-2.1, lgpl-3.0, isc, h-research, \
    intel-research, lppl-1.3c, ms-pl, apple-ascl, apple-amlr, mpl-2.0, odc-by, odbl, openmdw-1.0, \
    openmdw-1.1, openrail++, osl-3.0, postgresql, ofl-1.1, ncsa, unlicense, zlib, pddl, lgpl-lr, \
    deepfloyd-if-license, fair-noncommercial-research-license, llama2, llama3, llama3.1, llama3.2, \
    llama3.3, llama4, grok2-community, gemma, unknown, other";

/// Result of a check.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Sentences for which the Hub refuses the card.
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Returns the metadata of a card, or nothing when the card has none that can be read.
pub(super) fn metadata(card: &str) -> Option<Map<String, Value>> {
    match parse(front_matter(card)?).ok()? {
        Value::Object(metadata) => Some(metadata),
        _ => None,
    }
}

/// Parses YAML 1.2, in which `no` and `n` are texts.
fn parse(yaml: &str) -> Result<Value, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(yaml, serde_saphyr::options! { strict_booleans: true })
}

/// Returns the YAML between the first two lines of `---`. `None` when they are not there, or when
/// the second follows the first at once.
fn front_matter(card: &str) -> Option<&str> {
    let rest = card.trim_start().strip_prefix("---")?;
    let is_newline = |c: char| matches!(c, '\r' | '\n');
    if !rest.starts_with(is_newline) {
        return None;
    }
    let closes = |at: &usize| {
        let after = &rest[at + "---".len()..];
        rest[..*at].ends_with(is_newline)
            && (after.is_empty() || after.starts_with('\n') || after.starts_with("\r\n"))
    };
    // One newline ends the opening line; another one must precede the closing line.
    let end = rest.match_indices("---").map(|(at, _)| at).find(|at| *at > 1 && closes(at))?;
    Some(rest[..end].trim_matches(is_newline))
}

/// Checks a card as the Hub does when somebody commits it.
pub(super) fn check(card: &str) -> Verdict {
    let refused = |error: String| Verdict { errors: vec![error], warnings: Vec::new() };
    let Some(yaml) = front_matter(card) else {
        let warning = "empty or missing yaml metadata in repo card".to_owned();
        return Verdict { errors: Vec::new(), warnings: vec![warning] };
    };
    let invalid = || refused("The YAML metadata of your README.md is invalid.".to_owned());
    if yaml.trim().is_empty() {
        return invalid();
    }
    match parse(yaml) {
        Ok(Value::Object(metadata)) => {
            let mut checker = Checker::default();
            checker.metadata(&metadata);
            Verdict { errors: checker.errors, warnings: Vec::new() }
        }
        Ok(Value::Array(_)) => refused("\"value\" must be of type object".to_owned()),
        Ok(_) => invalid(),
        Err(error) => refused(format!("Invalid YAML in README.md: {error}")),
    }
}

/// Collects what is wrong, with the path of each field.
#[derive(Default)]
struct Checker {
    errors: Vec<String>,
}

/// Demand on a field that may be absent, or must not be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

impl Checker {
    fn refuse(&mut self, path: &str, problem: &str) {
        self.errors.push(format!("\"{path}\" {problem}"));
    }

    fn metadata(&mut self, metadata: &Map<String, Value>) {
        self.one_or_many(metadata, "license", |checker, _, license| {
            if !LICENSES.split(", ").any(|known| known == license) {
                checker.refuse("license", &format!("must be one of [{LICENSES}, array]"));
            }
        });
        self.one_or_many(metadata, "language", |checker, path, code| {
            let is_code = matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase());
            if !is_code && !matches!(code, "code" | "multilingual") {
                let problem = format!(
                    "with value \"{code}\" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code (two/three \
                     letters), or a special value like \"code\", \"multilingual\". If you want to use BCP-47 \
                     identifiers, you can specify them in language_bcp47."
                );
                checker.refuse(path, &problem);
            }
        });
        self.one_or_many(metadata, "base_model", |checker, path, id| {
            if !is_repo_id(id) {
                let problem =
                    format!("with value \"{id}\" is not valid. Use a model id from https://hf.co/models.");
                checker.refuse(path, &problem);
            }
        });
        self.one_or_many(metadata, "datasets", |_, _, _| ());
        self.one_or_many(metadata, "metrics", |_, _, _| ());
        if let Some(tags) = self.array(metadata, "", "tags", Need::Optional) {
            self.strings(tags, "tags", |_, _, _| ());
        }
        for field in
            ["library_name", "pipeline_tag", "license_name", "license_link", "model_name", "thumbnail"]
        {
            self.string(metadata, "", field, Need::Optional);
        }
        for (path, model) in self.objects(metadata, "", "model-index", Need::Optional) {
            self.string(model, &path, "name", Need::Required);
            for (path, result) in self.objects(model, &path, "results", Need::Required) {
                self.result(&path, result);
            }
        }
    }

    /// Checks one entry of `results` in `model-index`.
    fn result(&mut self, path: &str, result: &Map<String, Value>) {
        if let Some((path, task)) = self.object(result, path, "task", Need::Required) {
            self.string(task, &path, "type", Need::Required);
            self.string(task, &path, "name", Need::Optional);
        }
        if let Some((path, dataset)) = self.object(result, path, "dataset", Need::Required) {
            self.string(dataset, &path, "type", Need::Required);
            self.string(dataset, &path, "name", Need::Required);
            for field in ["config", "split", "revision"] {
                self.string(dataset, &path, field, Need::Optional);
            }
        }
        for (path, metric) in self.objects(result, path, "metrics", Need::Required) {
            self.string(metric, &path, "type", Need::Required);
            if !metric.contains_key("value") {
                self.refuse(&format!("{path}.value"), "is required");
            }
            self.string(metric, &path, "name", Need::Optional);
            self.string(metric, &path, "config", Need::Optional);
        }
    }

    /// Checks a field that is a text or a list of texts.
    fn one_or_many(
        &mut self,
        parent: &Map<String, Value>,
        field: &str,
        check: impl Fn(&mut Self, &str, &str),
    ) {
        match parent.get(field) {
            None => {}
            Some(Value::String(text)) => check(self, field, text),
            Some(Value::Array(texts)) => self.strings(texts, field, check),
            Some(_) => self.refuse(field, "must be one of [string, array]"),
        }
    }

    fn strings(&mut self, texts: &[Value], path: &str, check: impl Fn(&mut Self, &str, &str)) {
        for (index, text) in texts.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match text {
                Value::String(text) => check(self, &path, text),
                _ => self.refuse(&path, "must be a string"),
            }
        }
    }

    fn string(&mut self, parent: &Map<String, Value>, path: &str, field: &str, need: Need) {
        if let Some((path, value)) = self.present(parent, path, field, need)
            && !value.is_string()
        {
            self.refuse(&path, "must be a string");
        }
    }

    fn array<'a>(
        &mut self,
        parent: &'a Map<String, Value>,
        path: &str,
        field: &str,
        need: Need,
    ) -> Option<&'a [Value]> {
        let (path, value) = self.present(parent, path, field, need)?;
        let array = value.as_array();
        if array.is_none() {
            self.refuse(&path, "must be an array");
        }
        array.map(Vec::as_slice)
    }

    fn object<'a>(
        &mut self,
        parent: &'a Map<String, Value>,
        path: &str,
        field: &str,
        need: Need,
    ) -> Option<(String, &'a Map<String, Value>)> {
        let (path, value) = self.present(parent, path, field, need)?;
        self.as_object(path, value)
    }

    /// Returns the objects of a list, each with its path.
    fn objects<'a>(
        &mut self,
        parent: &'a Map<String, Value>,
        path: &str,
        field: &str,
        need: Need,
    ) -> Vec<(String, &'a Map<String, Value>)> {
        let array = self.array(parent, path, field, need).unwrap_or_default();
        let path = joined(path, field);
        let entries = array.iter().enumerate();
        entries.filter_map(|(index, value)| self.as_object(format!("{path}[{index}]"), value)).collect()
    }

    fn as_object<'a>(&mut self, path: String, value: &'a Value) -> Option<(String, &'a Map<String, Value>)> {
        let Some(object) = value.as_object() else {
            self.refuse(&path, "must be of type object");
            return None;
        };
        Some((path, object))
    }

    fn present<'a>(
        &mut self,
        parent: &'a Map<String, Value>,
        path: &str,
        field: &str,
        need: Need,
    ) -> Option<(String, &'a Value)> {
        let path = joined(path, field);
        let value = parent.get(field);
        if value.is_none() && need == Need::Required {
            self.refuse(&path, "is required");
        }
        Some((path, value?))
    }
}

fn joined(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Returns true for `name` and `owner/name`, in the letters that the Hub allows.
fn is_repo_id(id: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match id.split_once('/') {
        None => part(id),
        Some((owner, name)) => part(owner) && part(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_matter_is_found_as_the_hub_finds_it() {
        assert_eq!(front_matter("---\nlicense: mit\n---\n# Cars"), Some("license: mit"));
        assert_eq!(front_matter("\n\n---\r\nlicense: mit\r\n---"), Some("license: mit"));
        assert_eq!(front_matter("---\n\n---\n"), Some(""));
        assert_eq!(front_matter("---\na: b---\n---\n"), Some("a: b---"));
        for without in
            ["", "# Cars", "---\n---\n", "---\nlicense: mit\n---oops", "--- \na: b\n---\n", "---\na: b"]
        {
            assert_eq!(front_matter(without), None, "{without:?}");
        }
    }

    fn errors(yaml: &str) -> Vec<String> {
        check(&format!("---\n{yaml}\n---\n")).errors
    }

    #[test]
    fn what_the_hub_accepts_has_no_errors() {
        let full = "license: [mit, other]\nlanguage:\n- de\n- multilingual\nbase_model: a/b-c.d\ntags:\n- x\n\
                    unknown_field: 1\nmodel-index:\n- name: cars\n  results:\n  - task: {type: t}\n    \
                    dataset: {type: d, name: n}\n    metrics:\n    - {type: m, value: 0.5}";
        for yaml in [full, "license: mit", "language: no", "bogus_key: 1"] {
            assert_eq!(errors(yaml), Vec::<String>::new(), "{yaml}");
        }
        assert_eq!(check("# Cars").warnings, ["empty or missing yaml metadata in repo card"]);
    }

    #[test]
    fn what_the_hub_refuses_is_named_by_its_path() {
        let index = "model-index:\n- name: cars\n  results:\n  - ";
        let cases = [
            ("- a\n- b".to_owned(), "\"value\" must be of type object"),
            ("hello".to_owned(), "The YAML metadata of your README.md is invalid."),
            (
                "base_model: /workspace/model".to_owned(),
                "\"base_model\" with value \"/workspace/model\" is not valid. Use a model id from https://hf.co/models.",
            ),
            ("tags: x".to_owned(), "\"tags\" must be an array"),
            ("model-index: {}".to_owned(), "\"model-index\" must be an array"),
            ("model-index:\n- results: []".to_owned(), "\"model-index[0].name\" is required"),
            (
                format!("{index}task: {{type: t}}\n    dataset: {{type: d, name: n}}\n    metrics: 1"),
                "\"model-index[0].results[0].metrics\" must be an array",
            ),
            (
                format!(
                    "{index}task: {{type: t}}\n    dataset: {{type: d, name: n, config: 1}}\n    metrics: []"
                ),
                "\"model-index[0].results[0].dataset.config\" must be a string",
            ),
            (
                format!(
                    "{index}task: {{type: t}}\n    dataset: {{type: d, name: n}}\n    metrics:\n    - {{type: m}}"
                ),
                "\"model-index[0].results[0].metrics[0].value\" is required",
            ),
        ];
        for (yaml, error) in cases {
            assert_eq!(errors(&yaml), [error], "{yaml}");
        }
        assert!(errors("license: [")[0].starts_with("Invalid YAML in README.md: "));
        assert!(errors("license: asdf")[0].starts_with("\"license\" must be one of [apache-2.0, mit, "));
        assert!(
            errors("language: [en, pt_pt]")[0]
                .starts_with("\"language[1]\" with value \"pt_pt\" is not valid.")
        );
        assert_eq!(errors("").len(), 1);
    }
}
