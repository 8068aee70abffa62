-- Notes without a result under one system, or with one that another attempt may change.
SELECT notes.*
FROM notes
LEFT ANTI JOIN (
  SELECT note_id, text_sha256
  FROM results
  WHERE system = :system
    AND status NOT IN ('OUT_OF_MEMORY', 'NO_DEVICE', 'DEVICE', 'CANCELLED', 'BUSY', 'TIMEOUT', 'INTERNAL')
) AS done USING (note_id, text_sha256)
