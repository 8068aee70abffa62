//! PTX text: lexer and parser.
