use proptest::prelude::*;

use super::*;
use crate::model::line::{DegradedMode, Event, Moment};

pub(crate) fn line(seq: Seq, detail: &str) -> Line {
    Line {
        seq,
        moment: Moment {
            at: jiff::Timestamp::UNIX_EPOCH,
            up: 7,
            boot: "b".to_owned(),
        },
        event: Event::DegradedEntered {
            mode: DegradedMode::StoreOff,
            detail: detail.to_owned(),
        },
        state: None,
        durable: None,
    }
}

#[test]
fn a_line_on_disk_looks_as_the_design_says() {
    let (bytes, sum) = encode(&line(42, "x"), Sum::START).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let body = concat!(
        r#"{"seq":42,"at":"1970-01-01T00:00:00Z","up":7,"boot":"b","#,
        r#""kind":"degraded_entered","mode":"StoreOff","detail":"x""#,
    );
    assert_eq!(text, format!("{body},\"sum\":\"{sum}\"}}\n"));
    // Sixteen digits of SHA-256 over the sum before and the body.
    let hash = Sha256::digest(format!("0000000000000000{body}"));
    assert_eq!(sum.to_string(), data_encoding::HEXLOWER.encode(&hash)[..16]);
}

#[test]
fn a_line_after_another_one_than_it_was_written_after_is_not_taken() {
    let (bytes, _) = encode(&line(1, "x"), Sum::START).unwrap();
    let chunk = &bytes[..bytes.len() - 1];
    assert!(decode(chunk, Sum::START).is_ok());
    let other = Sum::START.next(b"");
    assert!(matches!(decode(chunk, other), Err(Fault::Sum { .. })));
}

#[test]
fn a_sum_has_one_spelling() {
    assert!("0123456789abcdef".parse::<Sum>().is_ok());
    for bad in [
        "0123456789ABCDEF",
        "0123456789abcde",
        "0123456789abcdeg",
        "",
    ] {
        assert!(bad.parse::<Sum>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read_and_nothing_else(
        seq in 1..u64::MAX,
        detail in any::<String>(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let written = line(seq, &detail);
        let (mut bytes, sum) = encode(&written, Sum::START).unwrap();
        prop_assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
        bytes.pop();
        prop_assert_eq!(decode(&bytes, Sum::START), Ok((written, sum)));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes, Sum::START).is_err());
    }

    #[test]
    fn no_bytes_make_the_parser_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&bytes, Sum::START).ok();
        let _ = stated_sum(&bytes);
        let _ = crate::journal::scan::scan(&bytes);
        let _ = crate::journal::scan::counted_before(&bytes);
        crate::journal::snapshot::decode(&bytes).ok();
    }
}
