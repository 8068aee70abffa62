//! NOTE_NLP as a Parquet file, uncompressed; its metadata name the unit of the offsets.

use crate::stop::{Result, Stop};
use biomistral_nlu_formats::omop::{Origin, Row};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

/// The columns of `omop::COLUMNS`, with the CDM's types.
const SCHEMA: &str = "message note_nlp {
    required int64 note_nlp_id; required int64 note_id; required int32 section_concept_id;
    required binary snippet (STRING); required binary offset (STRING); required binary lexical_variant (STRING);
    required int32 note_nlp_concept_id; required int32 note_nlp_source_concept_id; required binary nlp_system (STRING);
    required int32 nlp_date (DATE); optional int64 nlp_datetime (TIMESTAMP(MICROS, false)); optional binary term_exists (STRING);
    optional binary term_temporal (STRING); required binary term_modifiers (STRING); }";

/// The file of the rows.
pub fn note_nlp(rows: &[Row], origin: &Origin) -> Result<Vec<u8>> {
    file(rows, origin).map_err(|e| Stop::failed(format!("Parquet: {e}")))
}

fn file(rows: &[Row], origin: &Origin) -> std::result::Result<Vec<u8>, ParquetError> {
    let facts = [("offset_unit", origin.unit.name()), ("nlp_system", origin.system.as_str())];
    let facts = facts.map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned())).to_vec();
    let properties = Arc::new(WriterProperties::builder().set_key_value_metadata(Some(facts)).build());
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut out = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    // A row group without rows is one that some readers refuse.
    if !rows.is_empty() {
        let mut group = out.next_row_group()?;
        let n = rows.len();
        let text = |of: fn(&Row) -> &str| rows.iter().map(|row| ByteArray::from(of(row))).collect::<Vec<_>>();
        let ids = |of: fn(&Row) -> i64| rows.iter().map(of).collect::<Vec<_>>();
        let concepts: Vec<i32> = rows.iter().map(|row| row.note_nlp_concept_id).collect();
        let date = i32::try_from(origin.days).map_err(|e| ParquetError::General(e.to_string()))?;
        column::<Int64Type>(&mut group, &ids(|row| row.note_nlp_id), n)?;
        column::<Int64Type>(&mut group, &ids(|row| row.note_id), n)?;
        column::<Int32Type>(&mut group, &vec![0; n], n)?;
        column::<ByteArrayType>(&mut group, &text(|row| &row.snippet), n)?;
        column::<ByteArrayType>(&mut group, &text(|row| &row.offset), n)?;
        column::<ByteArrayType>(&mut group, &text(|row| &row.lexical_variant), n)?;
        column::<Int32Type>(&mut group, &concepts, n)?;
        column::<Int32Type>(&mut group, &vec![0; n], n)?;
        column::<ByteArrayType>(&mut group, &vec![ByteArray::from(origin.system.as_str()); n], n)?;
        column::<Int32Type>(&mut group, &vec![date; n], n)?;
        column::<Int64Type>(&mut group, &[], n)?;
        column::<ByteArrayType>(&mut group, &[], n)?;
        column::<ByteArrayType>(&mut group, &[], n)?;
        column::<ByteArrayType>(&mut group, &text(|row| &row.term_modifiers), n)?;
        group.close()?;
    }
    out.into_inner()
}

/// The next column of `n` rows; no values: all are NULL.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    n: usize,
) -> std::result::Result<(), ParquetError> {
    let nulls = vec![0i16; n];
    let levels = values.is_empty().then_some(nulls.as_slice());
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use biomistral_nlu_formats::{Unit, omop};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    use std::io::Write;

    #[test]
    fn every_row_is_read_back_with_the_columns_of_the_cdm() {
        let origin = Origin::new(Unit::Utf16, "test", "2026-11-23").unwrap();
        let row = |i: i64| Row {
            note_nlp_id: i,
            note_id: 1000 * i,
            snippet: format!("took é{i}"),
            offset: i.to_string(),
            lexical_variant: format!("é{i}"),
            note_nlp_concept_id: 7 * i as i32,
            term_modifiers: "label=Drug,offset_unit=utf16".to_owned(),
        };
        for count in [0, 1, 3000] {
            let rows: Vec<Row> = (1..=count).map(row).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&note_nlp(&rows, &origin).unwrap()).unwrap();
            let file = SerializedFileReader::new(file).unwrap();
            let facts = file.metadata().file_metadata();
            assert_eq!(facts.num_rows(), count);
            let columns = facts.schema_descr().columns().iter().map(|column| column.name().to_owned());
            assert!(columns.eq(omop::COLUMNS.map(str::to_owned)));
            let unit = facts.key_value_metadata().unwrap().iter().find(|fact| fact.key == "offset_unit").unwrap();
            assert_eq!(unit.value.as_deref(), Some("utf16"));
            let found: Vec<_> = file.get_row_iter(None).unwrap().map(|row| row.unwrap()).collect();
            assert_eq!(found.len(), rows.len());
            for (found, row) in found.iter().zip(&rows) {
                assert_eq!((found.get_long(0).unwrap(), found.get_long(1).unwrap()), (row.note_nlp_id, row.note_id));
                assert_eq!((found.get_int(2).unwrap(), found.get_int(6).unwrap()), (0, row.note_nlp_concept_id));
                assert_eq!((found.get_string(3).unwrap(), found.get_string(4).unwrap()), (&row.snippet, &row.offset));
                assert_eq!(
                    (found.get_string(5).unwrap(), found.get_string(8).unwrap()),
                    (&row.lexical_variant, &origin.system)
                );
                assert_eq!(found.get_string(13).unwrap(), &row.term_modifiers);
                let text = found.to_string();
                for part in ["nlp_date: 2026-11-23", "nlp_datetime: null", "term_exists: null", "term_temporal: null"] {
                    assert!(text.contains(part), "{text}");
                }
            }
        }
    }
}
