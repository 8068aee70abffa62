-- Of a table of notes (OMOP NOTE's note_id and note_text): the key of each, and why its text cannot be read, where it cannot.
SELECT
  note_id,
  text_sha256,
  flaw,
  IF(flaw IS NULL, note_text, NULL) AS note_text
FROM (
  SELECT
    CAST(note_id AS BIGINT) AS note_id,
    note_text,
    coalesce(sha2(CAST(note_text AS BINARY), 256), '') AS text_sha256,
    CASE
      WHEN note_text IS NULL THEN 'NO_TEXT'
      WHEN NOT is_valid_utf8(note_text) THEN 'INVALID_UTF8'
    END AS flaw
  FROM source
)
