//! Request to train, as any client that can publish on `training.jobs` may send it.
//!
//! The body is outside input: parsing never panics, and a refusal names the field at fault.

use std::borrow::Cow;

use autovalidate_finetune::train::ranges::{self, Range};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::job_id::JobId;
use crate::default_value::is_default;

/// Longest body that is parsed, in bytes. A request needs a few hundred.
const MAX_BODY: usize = 64 * 1024;
/// Longest `reason` or `base_model`, in characters.
const MAX_TEXT: usize = 200;

/// A request to train. The default is "train now on everything".
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRequest {
    /// Reason for the run, kept in its record; at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Model to start from instead of the newest release: a release or a Hub name; a folder only below one
    /// that the trainer's settings allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Number of passes over the data, in [`ranges::EPOCHS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Number of pairs per optimizer step, in [`ranges::BATCH_SIZE`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// Peak learning rate, in [`ranges::LEARNING_RATE`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Set to do everything except the upload.
    #[serde(skip_serializing_if = "is_default")]
    pub dry_run: bool,
    /// Set to publish even when the gate says that the model is not better.
    #[serde(skip_serializing_if = "is_default")]
    pub force: bool,
    /// Id of the job; without one, it is derived from the message's stream sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Stream sequence of the first pair that made the trigger fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_sequence: Option<u64>,
    /// Stream sequence of the last pair that made the trigger fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
}

/// Reasons to refuse a body. Messages never show text of the body, except the name of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// The body is longer than any request.
    #[error("the body is longer than 65536 bytes")]
    TooLong,
    /// The body is not JSON.
    #[error("the body is not JSON")]
    NotJson,
    /// The body is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// The body has an unknown field: most likely a misspelled name, which must not be silently
    /// ignored.
    #[error("unknown field `{field}`")]
    UnknownField {
        /// Name of the field, cut to 64 characters.
        field: String,
    },
    /// The value of a field is not allowed.
    #[error("`{field}` must be {expected}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// Description of the allowed values.
        expected: Cow<'static, str>,
    },
}

impl RequestRefusal {
    /// Returns the field at fault, if there is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::TooLong | Self::NotJson | Self::NotAnObject => None,
            Self::UnknownField { field } => Some(field),
            Self::Invalid { field, .. } => Some(field),
        }
    }
}

impl JobRequest {
    /// Parses a body. An empty body, white space and `{}` mean "train now"; a `null`
    /// field counts as not set.
    ///
    /// # Errors
    /// The first [`RequestRefusal`] found.
    pub fn parse(body: &[u8]) -> Result<Self, RequestRefusal> {
        if body.len() > MAX_BODY {
            return Err(RequestRefusal::TooLong);
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_slice(body).map_err(|_| RequestRefusal::NotJson)?;
        let Value::Object(object) = value else { return Err(RequestRefusal::NotAnObject) };
        let mut fields = Fields(object);
        let request = Self {
            reason: fields.text("reason")?,
            base_model: fields.text("base_model")?,
            epochs: fields.number("epochs", &ranges::EPOCHS)?,
            batch_size: fields.number("batch_size", &ranges::BATCH_SIZE)?,
            learning_rate: fields.fraction("learning_rate", &ranges::LEARNING_RATE)?,
            dry_run: fields.flag("dry_run")?,
            force: fields.flag("force")?,
            job_id: fields.job_id("job_id")?,
            first_sequence: fields.sequence("first_sequence")?,
            last_sequence: fields.sequence("last_sequence")?,
        };
        if let Some(field) = fields.0.keys().next() {
            return Err(RequestRefusal::UnknownField { field: field.chars().take(64).collect() });
        }
        if let (Some(first), Some(last)) = (request.first_sequence, request.last_sequence)
            && first > last
        {
            let expected = Cow::Borrowed("at most `last_sequence`");
            return Err(RequestRefusal::Invalid { field: "first_sequence", expected });
        }
        Ok(request)
    }
}

/// The fields that have not been read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn read<T>(
        &mut self,
        field: &'static str,
        expected: impl Into<Cow<'static, str>>,
        convert: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, RequestRefusal> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => convert(value)
                .map(Some)
                .ok_or_else(|| RequestRefusal::Invalid { field, expected: expected.into() }),
        }
    }

    fn text(&mut self, field: &'static str) -> Result<Option<String>, RequestRefusal> {
        self.read(field, "a text of 1 to 200 characters without control characters", |value| match value {
            Value::String(text)
                if (1..=MAX_TEXT).contains(&text.chars().count()) && !text.chars().any(char::is_control) =>
            {
                Some(text)
            }
            _ => None,
        })
    }

    fn number(&mut self, field: &'static str, range: &Range<usize>) -> Result<Option<u32>, RequestRefusal> {
        self.read(field, format!("a whole number {range}"), |value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok())?;
            range.contains(&(number as usize)).then_some(number)
        })
    }

    fn fraction(&mut self, field: &'static str, range: &Range<f32>) -> Result<Option<f64>, RequestRefusal> {
        // Checked as `f32`, which the recipe holds: a tiny rate would round to zero.
        self.read(field, format!("a number {range}"), |value| {
            value.as_f64().filter(|number| range.contains(&(*number as f32)))
        })
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, RequestRefusal> {
        Ok(self.read(field, "true or false", |value| value.as_bool())?.unwrap_or_default())
    }

    fn sequence(&mut self, field: &'static str) -> Result<Option<u64>, RequestRefusal> {
        self.read(field, "a stream sequence of 1 or more", |value| {
            value.as_u64().filter(|number| *number > 0)
        })
    }

    fn job_id(&mut self, field: &'static str) -> Result<Option<JobId>, RequestRefusal> {
        self.read(field, "1 to 64 ASCII letters, digits, `-` and `_`", |value| match value {
            Value::String(text) => JobId::try_from(text).ok(),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use autovalidate_finetune::train::Recipe;
    use proptest::prelude::*;

    use super::*;

    fn refused_field(body: &str) -> Option<String> {
        JobRequest::parse(body.as_bytes()).unwrap_err().field().map(str::to_owned)
    }

    #[test]
    fn nothing_means_train_now() {
        for body in ["", " \n", "{}", r#"{"epochs":null,"dry_run":null}"#] {
            assert_eq!(JobRequest::parse(body.as_bytes()), Ok(JobRequest::default()), "{body:?}");
        }
    }

    #[test]
    fn every_field_is_read() {
        let body =
            br#"{"reason":"after cleanup","base_model":"m","epochs":3,"batch_size":64,"learning_rate":1e-4,
            "dry_run":true,"force":true,"job_id":"pairs-1-9","first_sequence":1,"last_sequence":9}"#;
        let request = JobRequest::parse(body).unwrap();
        assert_eq!(request.reason.as_deref(), Some("after cleanup"));
        assert_eq!(request.base_model.as_deref(), Some("m"));
        assert_eq!((request.epochs, request.batch_size), (Some(3), Some(64)));
        assert_eq!(request.learning_rate, Some(1e-4));
        assert!(request.dry_run && request.force);
        assert_eq!(request.job_id, Some(JobId::for_pairs(1, 9, 0)));
        assert_eq!((request.first_sequence, request.last_sequence), (Some(1), Some(9)));
    }

    #[test]
    fn absurd_values_are_refused_by_field() {
        for (field, values) in [
            ("epochs", ["0", "1001", "1.5", "\"3\"", "-1"]),
            ("batch_size", ["1", "4097", "true", "[]", "1e30"]),
            ("learning_rate", ["1e-60", "0.99999999999", "-0.1", "\"0.1\"", "2e10"]),
            ("dry_run", ["1", "\"true\"", "{}", "[]", "0"]),
            ("job_id", ["\"\"", "\"a.b\"", "\"a b\"", "7", "\"*\""]),
            ("reason", ["\"\"", "\"a\\nb\"", "7", "[]", "{}"]),
            ("first_sequence", ["0", "-1", "1.5", "\"1\"", "true"]),
        ] {
            for value in values {
                assert_eq!(
                    refused_field(&format!("{{\"{field}\":{value}}}")).as_deref(),
                    Some(field),
                    "{value}"
                );
            }
        }
        for (field, value) in [("batch_size", "0"), ("learning_rate", "0"), ("learning_rate", "1")] {
            assert_eq!(refused_field(&format!("{{\"{field}\":{value}}}")).as_deref(), Some(field));
        }
        assert_eq!(refused_field(r#"{"epoch":3}"#).as_deref(), Some("epoch"));
        assert_eq!(
            refused_field(r#"{"first_sequence":2,"last_sequence":1}"#).as_deref(),
            Some("first_sequence")
        );
        for body in ["7", "[]", "\"train\"", "null"] {
            assert_eq!(JobRequest::parse(body.as_bytes()), Err(RequestRefusal::NotAnObject), "{body}");
        }
        assert_eq!(JobRequest::parse(b"train now!"), Err(RequestRefusal::NotJson));
        assert_eq!(JobRequest::parse(&vec![b' '; MAX_BODY + 1]), Err(RequestRefusal::TooLong));
        let deep = "[".repeat(MAX_BODY);
        assert_eq!(JobRequest::parse(deep.as_bytes()), Err(RequestRefusal::NotJson));
    }

    /// Generates bodies that are close to valid, so that the search gets past "not JSON".
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![
            any::<f64>().prop_map(|number| number.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<bool>().prop_map(|flag| flag.to_string()),
            ".{0,300}".prop_map(|text| serde_json::to_string(&text).unwrap()),
            Just("null".to_owned()),
            Just("[{}]".to_owned()),
        ];
        let field = prop_oneof![
            Just("reason".to_owned()),
            Just("epochs".to_owned()),
            Just("batch_size".to_owned()),
            Just("learning_rate".to_owned()),
            Just("job_id".to_owned()),
            Just("last_sequence".to_owned()),
            "[a-z.\\\\]{0,100}",
        ];
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec((field, value), 0..4).prop_map(|fields| {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(",")).into_bytes()
            }),
        ]
    }

    proptest! {
        #[test]
        fn an_accepted_request_is_one_that_the_recipe_accepts(epochs: u16, batch_size in 0_u32..5_000, rate: f64) {
            let body = format!(r#"{{"epochs":{epochs},"batch_size":{batch_size},"learning_rate":{rate:e}}}"#);
            let request = JobRequest::parse(body.as_bytes());
            let recipe = Recipe {
                epochs: epochs.into(),
                batch_size: batch_size as usize,
                learning_rate: rate as f32,
                ..Recipe::default()
            };
            prop_assert_eq!(request.is_ok(), recipe.check().is_ok(), "{}", body);
        }

        #[test]
        fn any_body_is_read_or_refused_and_a_read_one_survives_the_wire(body in body()) {
            if let Ok(request) = JobRequest::parse(&body) {
                let sent = serde_json::to_vec(&request).unwrap();
                prop_assert_eq!(JobRequest::parse(&sent), Ok(request));
            }
        }
    }
}
