//! From the bytes of a Parquet file to the values of its records.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::{Type, TypePtr};

use super::Take;
use crate::table_file::columns::{Column, Columns};
use crate::table_file::error::{Fault, Place, Problem};
use crate::table_file::{MAX_BYTES, MAX_RECORDS};

/// Largest size of the wanted columns when they are decompressed, in bytes.
const MAX_COLUMNS_BYTES: u64 = 4 * MAX_BYTES;

/// Hands over the values of each record. The library may take as much memory as the file asks for.
pub(super) fn decode(bytes: Vec<u8>, columns: &Columns<'_>, take: Take<'_>) -> Result<(), Fault> {
    let bytes = Bytes::from(bytes);
    // The library panics on some damaged files. It keeps no state that such a panic could damage.
    catch_unwind(AssertUnwindSafe(|| read(bytes, columns, take)))
        .unwrap_or_else(|_| Err(Problem::Parquet("it is damaged".into()).into()))
}

fn read(bytes: Bytes, columns: &Columns<'_>, take: Take<'_>) -> Result<(), Fault> {
    let reader = SerializedFileReader::new(bytes).map_err(|error| unreadable(&error))?;
    let metadata = reader.metadata();
    if metadata.file_metadata().num_rows() > MAX_RECORDS as i64 {
        return Err(Problem::TooMany.into());
    }
    let schema = metadata.file_metadata().schema();
    let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    let places = columns.find(&names)?;
    let mut chosen: Vec<usize> = places.iter().flatten().copied().collect();
    chosen.sort_unstable();
    chosen.dedup();
    let fields: Vec<TypePtr> =
        chosen.iter().filter_map(|place| schema.get_fields().get(*place)).cloned().collect();
    for (place, column) in places.iter().zip(columns.wanted) {
        // A repeated value has a list in each record, of any length.
        let is_text = |field: &TypePtr| {
            field.is_primitive() && field.get_basic_info().repetition() != Repetition::REPEATED
        };
        if place.and_then(|place| schema.get_fields().get(place)).is_some_and(|field| !is_text(field)) {
            return Err(Problem::NotAText { name: column.name().to_owned() }.into());
        }
    }
    let mut size = 0_u64;
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let name = chunk.column_path().parts().first();
        let is_wanted = name.is_some_and(|name| fields.iter().any(|field| field.name() == name));
        if !is_wanted {
            continue;
        }
        match chunk.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => {}
            Compression::GZIP(_) => return Err(Problem::Codec("gzip".into()).into()),
            Compression::BROTLI(_) => return Err(Problem::Codec("brotli".into()).into()),
            Compression::LZ4 | Compression::LZ4_RAW => return Err(Problem::Codec("LZ4".into()).into()),
            Compression::LZO => return Err(Problem::Codec("LZO".into()).into()),
        }
        size = size.saturating_add(u64::try_from(chunk.uncompressed_size()).unwrap_or(u64::MAX));
    }
    if size > MAX_COLUMNS_BYTES {
        return Err(Problem::TooLarge.into());
    }

    let wanted = Type::group_type_builder(schema.name())
        .with_fields(fields.clone())
        .build()
        .map_err(|error| unreadable(&error))?;
    let rows = reader.get_row_iter(Some(wanted)).map_err(|error| unreadable(&error))?;
    for (number, row) in (1_u64..).zip(rows) {
        let place = Place::Row(number);
        if number > MAX_RECORDS {
            return Err(Problem::TooMany.into());
        }
        let row = row.map_err(|error| Fault { place: Some(place), ..unreadable(&error) })?.into_columns();
        let value = |(place, column): (&Option<usize>, &Column<'_>)| {
            let Some(at) = place.and_then(|place| chosen.binary_search(&place).ok()) else { return Ok(None) };
            let (Some((_, value)), Some(field)) = (row.get(at), fields.get(at)) else { return Ok(None) };
            text_of(value, field).ok_or(Problem::NotAText { name: column.name().to_owned() })
        };
        let values: Result<_, Problem> = places.iter().zip(columns.wanted).map(value).collect();
        take(values.map_err(|problem| Fault::at(place, problem))?)?;
    }
    Ok(())
}

/// Returns the text of a value, with `None` for null; or `None` when the value has no text.
fn text_of(value: &Field, of: &Type) -> Option<Option<String>> {
    let logical = of.get_basic_info().logical_type_ref();
    let text = match value {
        Field::Null => return Some(None),
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) if matches!(logical, Some(LogicalType::Uuid)) => uuid(bytes.data())?,
        // Old programs write texts without the mark that they are texts.
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok()?.to_owned(),
        Field::Long(nanoseconds) if is_nanoseconds(logical) => time(nanoseconds.div_euclid(1000))?,
        Field::TimestampMicros(microseconds) => time(*microseconds)?,
        Field::TimestampMillis(milliseconds) => time(milliseconds.checked_mul(1000)?)?,
        Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_)
        | Field::Float16(_)
        | Field::Float(_)
        | Field::Double(_)
        | Field::Date(_) => value.to_string(),
        Field::Bool(_)
        | Field::Decimal(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::Group(_)
        | Field::ListInternal(_)
        | Field::MapInternal(_) => return None,
    };
    Some(Some(text))
}

fn is_nanoseconds(logical: Option<&LogicalType>) -> bool {
    matches!(logical, Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS)
}

/// Returns a time in the form of RFC 3339.
fn time(microseconds: i64) -> Option<String> {
    Some(jiff::Timestamp::from_microsecond(microseconds).ok()?.to_string())
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let mut text = format!("{:032x}", u128::from_be_bytes(bytes.try_into().ok()?));
    [20, 16, 12, 8].into_iter().for_each(|place| text.insert(place, '-'));
    Some(text)
}

/// Returns the fault for an error of the library, whose message may quote a value.
fn unreadable(error: &ParquetError) -> Fault {
    let problem = match error {
        ParquetError::EOF(_) | ParquetError::NeedMoreData(_) | ParquetError::NeedMoreDataRange(_) => {
            "it ends too early"
        }
        ParquetError::NYI(_) => "it has a feature without a reader",
        _ => "it is damaged or encrypted",
    };
    Problem::Parquet(problem.into()).into()
}
