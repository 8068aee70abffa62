-- OMOP NOTE_NLP (CDM 5.4) of the notes' results under one system. Offsets count code points, as Spark's substring does; a row
-- whose span is not the text at its offsets fails the query. Concepts are 0: no vocabulary is shipped.
SELECT
  xxhash64(note_id, text_sha256, system, span.label, span.start) AS note_nlp_id,
  note_id,
  CAST(0 AS INT) AS section_concept_id,
  substring(
    note_text,
    greatest(span.start - 50, 0) + 1,
    span.end + 50 - greatest(span.start - 50, 0)
  ) AS snippet,
  CAST(span.start AS STRING) AS `offset`,
  IF(
    substring(note_text, span.start + 1, span.end - span.start) = span.text,
    span.text,
    raise_error('a span is not the text at its offsets')
  ) AS lexical_variant,
  CAST(0 AS INT) AS note_nlp_concept_id,
  CAST(0 AS INT) AS note_nlp_source_concept_id,
  system AS nlp_system,
  CAST(processed_at AS DATE) AS nlp_date,
  processed_at AS nlp_datetime,
  CAST(NULL AS STRING) AS term_exists,
  CAST(NULL AS STRING) AS term_temporal,
  concat('label=', span.label, ',offset_unit=code_point') AS term_modifiers
FROM (
  SELECT results.note_id, results.text_sha256, notes.note_text, system, processed_at, explode(spans) AS span
  FROM results
  JOIN notes ON results.note_id = notes.note_id AND results.text_sha256 = notes.text_sha256
  WHERE status = 'OK' AND system = :system
)
