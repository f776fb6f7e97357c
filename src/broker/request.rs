//! A request to train, as it arrives from anybody who can publish on `training.jobs`.
//!
//! The body is outside input: parsing never panics, and what is wrong is said by field.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::job_id::JobId;

/// The longest body that is looked at, in bytes. A request needs a few hundred.
const MAX_BODY: usize = 64 * 1024;
/// The longest `reason` or `base_model`, in characters.
const MAX_TEXT: usize = 200;

/// A request to train. The default is "train now on everything".
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRequest {
    /// Why, for the record; at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The model to start from instead of the newest: a Hub id or a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Passes over the data, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Pairs per step, 1 to 4096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// The peak learning rate, between 0 and 1 exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Do everything but the upload.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Publish even if the gate says that the model is not better.
    #[serde(skip_serializing_if = "is_false")]
    pub force: bool,
    /// The job's id; without one it is derived from the message's stream sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The stream sequence of the first pair that made the trigger fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_sequence: Option<u64>,
    /// The stream sequence of the last pair that made the trigger fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Why a body is refused. Texts of the body never show, except the name of a field.
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
    /// A field that no request has: a slip that would otherwise be ignored in silence.
    #[error("unknown field `{field}`")]
    UnknownField {
        /// Its name, cut to 64 characters.
        field: String,
    },
    /// A field's value makes no sense.
    #[error("`{field}` must be {expected}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl RequestRefusal {
    /// The field at fault, if it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::TooLong | Self::NotJson | Self::NotAnObject => None,
            Self::UnknownField { field } => Some(field),
            Self::Invalid { field, .. } => Some(field),
        }
    }
}

impl JobRequest {
    /// Reads a body. Nothing at all, white space and `{}` mean "train now"; `null` means "not set".
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
            epochs: fields.number("epochs", 1..=100, "a whole number from 1 to 100")?,
            batch_size: fields.number("batch_size", 1..=4096, "a whole number from 1 to 4096")?,
            learning_rate: fields.fraction("learning_rate")?,
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
            let expected = "at most `last_sequence`";
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
        expected: &'static str,
        convert: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, RequestRefusal> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => convert(value).map(Some).ok_or(RequestRefusal::Invalid { field, expected }),
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

    fn number(
        &mut self,
        field: &'static str,
        range: std::ops::RangeInclusive<u32>,
        expected: &'static str,
    ) -> Result<Option<u32>, RequestRefusal> {
        self.read(field, expected, |value| {
            value
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| range.contains(number))
        })
    }

    fn fraction(&mut self, field: &'static str) -> Result<Option<f64>, RequestRefusal> {
        self.read(field, "a number between 0 and 1, both excluded", |value| {
            value.as_f64().filter(|number| *number > 0.0 && *number < 1.0)
        })
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, RequestRefusal> {
        Ok(self.read(field, "true or false", |value| value.as_bool())?.unwrap_or_default())
    }

    fn sequence(&mut self, field: &'static str) -> Result<Option<u64>, RequestRefusal> {
        self.read(field, "a stream sequence from 1 on", |value| value.as_u64().filter(|number| *number > 0))
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
    use super::*;
    use proptest::prelude::*;

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
        assert_eq!(request.job_id, Some(JobId::for_pairs(1, 9)));
        assert_eq!((request.first_sequence, request.last_sequence), (Some(1), Some(9)));
    }

    #[test]
    fn absurd_values_are_refused_by_field() {
        for (field, values) in [
            ("epochs", ["0", "101", "1.5", "\"3\"", "-1"]),
            ("batch_size", ["0", "4097", "true", "[]", "1e30"]),
            ("learning_rate", ["0", "1", "-0.1", "\"0.1\"", "2e10"]),
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

    /// Bodies near the real thing, so that the search reaches past "not JSON".
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
        fn any_body_is_read_or_refused_and_a_read_one_survives_the_wire(body in body()) {
            if let Ok(request) = JobRequest::parse(&body) {
                let sent = serde_json::to_vec(&request).unwrap();
                prop_assert_eq!(JobRequest::parse(&sent), Ok(request));
            }
        }
    }
}
