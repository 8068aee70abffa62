//! Opcodes with their modifiers, decoded once into instructions over register rows.
