//! Columns separated by commas, semicolons or tabs, with a header line and the quotes of RFC 4180.

use super::columns::Columns;
use super::error::{Fault, Place, Problem};
use super::lines::Lines;
use super::{MAX_RECORDS, Record};

/// Separators, the most usual one last: of several that fit equally well, the last one wins.
const SEPARATORS: [u8; 3] = [b'\t', b';', b','];

/// Reads all records.
pub(super) fn records(text: &str, columns: &Columns<'_>, take: &mut dyn FnMut(Record)) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Problem::Empty.into());
    }
    let (told, start) = told_separator(text);
    let mut lines = Lines::new(text);
    let text = text.get(start..).unwrap_or_default();
    let separator = told.unwrap_or_else(|| separator(text, columns));
    let mut reader = reader(text, separator);
    let header = reader.headers().cloned().unwrap_or_default();
    let header: Vec<&str> = header.iter().collect();
    let places = columns
        .find(&header)
        .map_err(|problem| Fault::at(Place::Line(lines.at(start + after_line_ends(text, 0))), problem))?;
    let mut last = None;
    for (number, record) in (1_u64..).zip(reader.records()) {
        // The reader's errors are those of the source and of the encoding, and the source is a text.
        let record = record.map_err(|_| Fault::from(Problem::NotUtf8))?;
        let byte =
            record.position().map_or(0, |position| usize::try_from(position.byte()).unwrap_or_default());
        let byte = after_line_ends(text, byte);
        let place = Place::Line(lines.at(start + byte));
        if number > MAX_RECORDS {
            return Err(Problem::TooMany.into());
        }
        if record.len() != header.len() {
            let open = never_closed(text.get(byte..).unwrap_or_default(), separator);
            let width = Problem::Width { columns: record.len(), header: header.len() };
            return Err(Fault::at(place, if open { Problem::OpenQuote } else { width }));
        }
        let value = |place: &Option<usize>| place.and_then(|place| record.get(place));
        // PostgreSQL's text format writes null like this.
        let values =
            places.iter().map(value).map(|value| value.filter(|value| separator != b'\t' || *value != r"\N"));
        let values = values.map(|value| value.map(str::to_owned)).collect();
        take(Record { number, place, values });
        last = Some((byte, place));
    }
    // A quote that is not closed makes the rest of the file one text.
    if let Some((start, place)) = last
        && never_closed(text.get(start..).unwrap_or_default(), separator)
    {
        return Err(Fault::at(place, Problem::OpenQuote));
    }
    Ok(())
}

fn reader(text: &str, separator: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text.as_bytes())
}

/// Returns the separator with which the header has the wanted columns, else the one that splits the
/// header into the most columns.
fn separator(text: &str, columns: &Columns<'_>) -> u8 {
    let fit = |separator: &u8| {
        let header = reader(text, *separator).headers().cloned().unwrap_or_default();
        let names: Vec<&str> = header.iter().collect();
        // The only column of a list of names may have any name, so it may be a header that is split wrongly.
        (names.len() > 1 && columns.find(&names).is_ok(), names.len())
    };
    SEPARATORS.into_iter().max_by_key(fit).unwrap_or(b',')
}

/// Returns the separator that a first line `sep=;` tells Excel, and the start of the next line.
fn told_separator(text: &str) -> (Option<u8>, usize) {
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    match line.as_bytes() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] if SEPARATORS.contains(separator) => {
            (Some(*separator), line.len())
        }
        _ => (None, 0),
    }
}

/// Returns the place of the first byte that ends no line. The reader gives the end of the record before,
/// and skips empty lines.
fn after_line_ends(text: &str, byte: usize) -> usize {
    let rest = text.as_bytes().get(byte..).unwrap_or_default();
    byte + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Returns true when the text ends within quotes.
fn never_closed(text: &str, separator: u8) -> bool {
    let (mut quoted, mut at_start) = (false, true);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
            }
            b'"' if quoted || at_start => quoted = !quoted,
            _ => {}
        }
        at_start = !quoted && (byte == separator || byte == b'\n' || byte == b'\r');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::tests::{COLUMNS, NAMES, collected, texts};
    use super::*;

    fn records(text: &str, columns: &Columns<'_>) -> Result<Vec<Record>, Fault> {
        collected(|take| super::records(text, columns, take))
    }

    fn some(values: [&str; 3]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    fn fault(text: &str) -> (u64, Problem) {
        let fault = records(text, &COLUMNS).unwrap_err();
        match fault.place {
            Some(Place::Line(line)) => (line, fault.problem),
            place => panic!("{place:?} {:?}", fault.problem),
        }
    }

    #[test]
    fn the_header_tells_the_separator() {
        let expected = vec![some(["lnad, rover", "Land; \"Rover\"", "brand"])];
        for text in [
            "typo,corrected,domain\n\"lnad, rover\",\"Land; \"\"Rover\"\"\",brand\n",
            "Domain;TYPO;Corrected\r\nbrand;lnad, rover;\"Land; \"\"Rover\"\"\"\r\n",
            "\"typo\"\t\"corrected\"\t\"domain\"\rlnad, rover\t\"Land; \"\"Rover\"\"\"\tbrand\r",
            "sep=;\r\ntypo;corrected;domain\r\nlnad, rover;\"Land; \"\"Rover\"\"\";brand",
            "\n\ntypo,corrected,domain,a;b;c;d;e\n\n\"lnad, rover\",\"Land; \"\"Rover\"\"\",brand,x\n\n",
        ] {
            assert_eq!(texts(text, "csv"), expected, "{text:?}");
        }
        let lone = records("Marke\nLand, Rover\n", &NAMES);
        assert!(matches!(lone.unwrap_err().problem, Problem::Width { columns: 2, header: 1 }));
        let names = records("brands\nToyota\n\"Land, Rover\"\n", &NAMES).unwrap();
        assert_eq!(names[1].values, [Some("Land, Rover".to_owned()), None]);
    }

    #[test]
    fn a_postgresql_null_is_none_in_a_tab_file_only() {
        let tabs = texts("typo\tcorrected\tdomain\ntoyta\tToyota\t\\N\n", "tsv");
        assert_eq!(tabs[0][2], None);
        let commas = texts("typo,corrected,domain\ntoyta,Toyota,\\N\n", "csv");
        assert_eq!(commas[0][2].as_deref(), Some("\\N"));
    }

    #[test]
    fn a_wrong_line_is_named_without_its_text() {
        assert!(matches!(
            fault("typo,corrected\r\nfine,Fine\r\n\r\nsecret\r\n"),
            (4, Problem::Width { columns: 1, .. })
        ));
        assert!(matches!(fault("typo,corrected\na,\"b\nc\"\nsecret"), (4, Problem::Width { .. })));
        assert!(
            matches!(fault("typo|corrected\na|b\n"), (1, Problem::Missing { name, columns: 1 }) if name == "typo")
        );
        assert!(matches!(records(" \r\n", &COLUMNS).unwrap_err().problem, Problem::Empty));
        assert!(matches!(fault("typo;typo;corrected\n"), (1, Problem::Twice { name }) if name == "typo"));
    }

    #[test]
    fn a_quote_that_is_never_closed_hides_no_rows() {
        assert!(matches!(fault("typo,corrected\na,\"b\nc,d\ne,f\n"), (2, Problem::OpenQuote)));
        assert!(matches!(fault("typo,corrected\na,b\n\"c,d\n"), (3, Problem::OpenQuote)));
        assert!(matches!(fault("typo,corrected\na,b\nc,\"d"), (3, Problem::OpenQuote)));
        let fine = "typo,corrected\n5\" rim,\"5\"\" rim\"\n\"a\"\"\",b\n";
        assert_eq!(records(fine, &COLUMNS).unwrap().len(), 2);
    }
}
