//! JSON: an array of objects, or one value after the other, as on the lines of a `.jsonl` file.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::{Column, Columns};
use super::error::{Fault, Place, Problem};
use super::lines::Lines;
use super::{MAX_RECORDS, Record};

/// Reads all records.
pub(super) fn records(text: &str, columns: &Columns<'_>, take: &mut dyn FnMut(Record)) -> Result<(), Fault> {
    let mut reader = Reader { text, lines: Lines::new(text), columns, take, read: 0, fault: None };
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(|error| not_json(&error, 1))?;
        let line = reader.line(value);
        if value.get().starts_with('[') {
            let read = serde_json::Deserializer::from_str(value.get()).deserialize_seq(&mut reader);
            if let Err(error) = read {
                return Err(reader.fault.unwrap_or_else(|| not_json(&error, line)));
            }
        } else {
            reader.record(value, Place::Line(line))?;
        }
    }
    Ok(())
}

/// Returns the fault for a text that is not JSON. The messages of serde_json may quote the text.
fn not_json(error: &serde_json::Error, first_line: u64) -> Fault {
    let line = first_line + (error.line() as u64).saturating_sub(1);
    Fault::at(Place::Line(line), Problem::NotJson { column: error.column() })
}

struct Reader<'t> {
    text: &'t str,
    lines: Lines<'t>,
    columns: &'t Columns<'t>,
    take: &'t mut dyn FnMut(Record),
    /// Number of records that were read.
    read: u64,
    /// Reason why an array's reading was broken off.
    fault: Option<Fault>,
}

impl Reader<'_> {
    /// Returns the line of a value, which is a part of the text.
    fn line(&mut self, value: &RawValue) -> u64 {
        self.lines.at((value.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize))
    }

    fn record(&mut self, value: &RawValue, place: Place) -> Result<(), Fault> {
        let number = self.read + 1;
        if number > MAX_RECORDS {
            return Err(Problem::TooMany.into());
        }
        let values = values(value, self.columns).map_err(|problem| Fault::at(place, problem))?;
        (self.take)(Record { number, place, values });
        self.read = number;
        Ok(())
    }
}

/// Reads the elements of an array.
impl<'de> Visitor<'de> for &mut Reader<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            number += 1;
            let place = Place::Element(self.line(element), number);
            if let Err(fault) = self.record(element, place) {
                self.fault = Some(fault);
                return Err(A::Error::custom("the reading ends here"));
            }
        }
        Ok(())
    }
}

/// Returns the values of the wanted columns.
fn values(value: &RawValue, columns: &Columns<'_>) -> Result<Vec<Option<String>>, Problem> {
    let text = value.get();
    if let (Some(lone), true) = (columns.lone, text.starts_with('"')) {
        let name = text_of(value, columns.wanted.get(lone))?;
        return Ok((0..columns.wanted.len()).map(|place| name.clone().filter(|_| place == lone)).collect());
    }
    if !text.starts_with('{') {
        return Err(Problem::NotAnObject);
    }
    let fields: Fields<'_> =
        serde_json::from_str(text).map_err(|error| Problem::NotJson { column: error.column() })?;
    let names: Vec<&str> = fields.0.iter().map(|(name, _)| name.as_str()).collect();
    // An object has its names beside its values, so its only field is no column of any name.
    let places = Columns { lone: None, ..*columns }.find(&names)?;
    let of_place =
        |(place, column): (Option<usize>, &Column<'_>)| match place.and_then(|place| fields.0.get(place)) {
            Some((_, value)) => text_of(value, Some(column)),
            None => Ok(None),
        };
    places.into_iter().zip(columns.wanted).map(of_place).collect()
}

/// Returns a text, or a number as it is written.
fn text_of(value: &RawValue, column: Option<&Column<'_>>) -> Result<Option<String>, Problem> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => {
            serde_json::from_str(text).map(Some).map_err(|error| Problem::NotJson { column: error.column() })
        }
        Some(b'-' | b'0'..=b'9') => Ok(Some(text.to_owned())),
        _ => Err(Problem::NotAText { name: column.map_or("name", Column::name).to_owned() }),
    }
}

/// Names and values of an object, in its order.
struct Fields<'t>(Vec<(String, &'t RawValue)>);

impl<'de> serde::Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.len() < MAX_FIELDS {
                        fields.push((name, map.next_value::<&RawValue>()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Number of fields of an object that are looked at.
const MAX_FIELDS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::tests::{COLUMNS, NAMES, collected, texts};
    use super::*;

    fn records(text: &str, columns: &Columns<'_>) -> Result<Vec<Record>, Fault> {
        collected(|take| super::records(text, columns, take))
    }

    fn fault(text: &str) -> (Option<Place>, Problem) {
        let fault = records(text, &COLUMNS).unwrap_err();
        (fault.place, fault.problem)
    }

    #[test]
    fn arrays_lines_and_values_over_several_lines_are_read() {
        let expected = vec![
            vec![Some("toyta".to_owned()), Some("Toyota".to_owned()), None],
            vec![Some("3O08".to_owned()), Some("3008".to_owned()), Some("model".to_owned())],
        ];
        let (one, two) = (
            r#"{"typo":"toyta","corrected":"Toyota","domain":null,"tags":[1,{"a":2}]}"#,
            r#"{"ID":7,"Domain":"model","Corrected":3008,"Typo":"3O08"}"#,
        );
        for text in [
            format!("{one}\n\n{two}\n"),
            format!("[{one},{two}]"),
            format!("[{one},\n {two}]\n"),
            format!("{}\n{two}", one.replace(',', ",\n  ")),
            format!("[{one}]\n[{two}]\n[]"),
        ] {
            assert_eq!(texts(&text, "json"), expected, "{text}");
        }
        let names = records("\"Audi\"\n{\"name\":\"Kia\",\"domain\":\"brand\"}", &NAMES).unwrap();
        let names: Vec<_> = names.into_iter().map(|record| record.values).collect();
        assert_eq!(
            names,
            [vec![Some("Audi".to_owned()), None], vec![Some("Kia".to_owned()), Some("brand".to_owned())]]
        );
        assert!(records("{\"label\":\"Kia\"}", &NAMES).is_err(), "an object's only field is not any name");
    }

    #[test]
    fn a_wrong_value_is_named_by_its_place_without_its_text() {
        let fine = r#"{"typo":"a","corrected":"b"}"#;
        let element = |number| Some(Place::Element(1, number));
        assert!(matches!(
            fault(&format!("{fine}\n{fine}\nsecret")),
            (Some(Place::Line(3)), Problem::NotJson { .. })
        ));
        assert!(matches!(
            fault(&format!("[{fine},\n{fine}\n")),
            (Some(Place::Line(_)), Problem::NotJson { .. })
        ));
        assert!(matches!(fault(&format!("{fine}\n[1]")), (Some(Place::Element(2, 1)), Problem::NotAnObject)));
        assert!(
            matches!(fault(&format!("[{fine},null]")), (place, Problem::NotAnObject) if place == element(2))
        );
        assert!(
            matches!(fault(&format!("[{fine},{{}}]")), (place, Problem::Missing { name, columns: 0 }) if place == element(2) && name == "typo")
        );
        let (_, problem) = fault(r#"{"typo":{"0":"a"},"corrected":{"0":"b"}}"#);
        assert!(
            matches!(&problem, Problem::NotAText { name } if name == "typo"),
            "pandas writes this unless told otherwise"
        );
        let (_, problem) = fault(r#"{"typo":"\ud800","corrected":"b"}"#);
        assert!(matches!(problem, Problem::NotJson { .. }));
        let (_, problem) = fault(r#"{"typo":"a","corrected":"b","Typo":"c"}"#);
        assert!(matches!(&problem, Problem::Twice { name } if name == "typo"));
    }
}
