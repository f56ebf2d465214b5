//! Feeds the parser of definitions with whatever libFuzzer makes of the corpus.

#![no_main]

#[path = "../../src/model/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only the definitions are called")]
mod model;

use libfuzzer_sys::fuzz_target;
use model::definition::{MAX_BYTES, Strictness, documents::split, parse};

fuzz_target!(|text: &str| {
    let strict = parse(text, Strictness::Strict);
    let lenient = parse(text, Strictness::Lenient);
    for error in [&strict, &lenient].into_iter().filter_map(|r| r.as_ref().err()) {
        assert!(!error.faults.is_empty());
        assert!(!error.to_string().contains('\n'));
    }
    if let (Ok(strict), Ok(lenient)) = (&strict, &lenient) {
        assert_eq!(strict.spec, lenient.spec);
    }
    if let Ok(parsed) = &strict {
        // What is kept in the journal is read again as what it was.
        let kept = serde_json::to_string(&parsed.spec).unwrap();
        assert_eq!(serde_json::from_str::<model::spec::WorkloadSpec>(&kept).unwrap(), parsed.spec);
    }
    for piece in split(&[("file".to_owned(), text.to_owned())]) {
        assert!(piece.definition.len() <= MAX_BYTES);
        assert_eq!(piece.definition.is_empty(), !piece.faults.is_empty());
        if let Ok(parsed) = parse(&piece.definition, Strictness::Strict) {
            assert_eq!(Some(parsed.spec.name), piece.name);
        }
    }
});
