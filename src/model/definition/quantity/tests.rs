use proptest::prelude::*;
use serde_json::json;

use super::*;

fn value(text: &str, unit: Unit) -> Option<u64> {
    quantity(&json!(text), unit).ok().map(|a| a.value)
}

#[test]
fn quantities_are_kubernetes_and_exact() {
    for (text, bytes) in [
        ("0", 0),
        ("128974848", 128_974_848),
        ("64Mi", 64 << 20),
        ("1.5Gi", 3 << 29),
        ("0.5Ki", 512),
        ("129M", 129_000_000),
        ("1k", 1000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 1_000_000_000_000_000_000),
        ("129e6", 129_000_000),
        ("128974848000m", 128_974_848),
        ("123Mi", 128_974_848),
        (".5k", 500),
        ("5.", 5),
        ("+5", 5),
        ("007", 7),
        ("400m", 1),
        ("1n", 1),
        ("0.000", 0),
        ("9223372036854775807", i64::MAX as u64),
        ("7Ei", 7 << 60),
    ] {
        assert_eq!(value(text, Unit::One), Some(bytes), "{text}");
    }
    for (text, milli) in [
        ("250m", 250),
        ("0.5", 500),
        ("1", 1000),
        ("2.0001", 2001),
        ("1u", 1),
    ] {
        assert_eq!(value(text, Unit::Milli), Some(milli), "{text}");
    }
    assert_eq!(quantity(&json!(0.5), Unit::Milli).unwrap().value, 500);
    assert_eq!(quantity(&json!(0.1), Unit::Milli).unwrap().value, 100);
    assert_eq!(quantity(&json!(2), Unit::Milli).unwrap().value, 2000);
    assert!(!quantity(&json!("400m"), Unit::One).unwrap().exact);
}

#[test]
fn what_is_no_quantity_or_too_much_is_a_fault() {
    for text in [
        "",
        " ",
        "x",
        "1 Gi",
        "1gi",
        "1KI",
        "1mi",
        "-1",
        "1.2.3",
        ".",
        "e3",
        "1e",
        "1e+",
        "1e1.5",
        "Mi",
        "0x10",
        "1_000",
        "1,5",
        "NaN",
        "inf",
        "٣",
        "8Ei",
        "9223372036854775808",
        "1e99999",
        "1e9999",
        "10E",
        "99999999999999999999999999999999999999999999",
    ] {
        assert_eq!(value(text, Unit::One), None, "{text}");
    }
    for other in [
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(-1),
        json!(1e300),
    ] {
        assert!(quantity(&other, Unit::One).is_err(), "{other}");
    }
    let long = "9".repeat(100_000);
    assert_eq!(value(&long, Unit::One), None);
    let small = format!("0.{}1", "0".repeat(100_000));
    assert_eq!(value(&small, Unit::One), Some(1));
    let near = format!("1.{}1", "0".repeat(100_000));
    assert_eq!(value(&near, Unit::One), Some(2));
}

proptest! {
    #[test]
    fn a_whole_number_with_any_suffix_is_what_it_says(n in 0_u64..1_000_000_000, which in 0_usize..6) {
        let (suffix, one) = [
            ("", 1), ("k", 1000), ("Ki", 1024), ("M", 1_000_000), ("Mi", 1 << 20), ("Gi", 1 << 30),
        ][which];
        prop_assert_eq!(value(&format!("{n}{suffix}"), Unit::One), Some(n * one));
        prop_assert_eq!(value(&format!("{n}.0{suffix}"), Unit::One), Some(n * one));
        let milli = value(&format!("{n}m"), Unit::One);
        prop_assert_eq!(milli, Some(n.div_ceil(1000)));
    }

    #[test]
    fn any_text_is_a_quantity_or_a_fault(text in "[0-9.eEmkMGTPKinu+-]{0,50}") {
        let _ = value(&text, Unit::One);
        let _ = value(&text, Unit::Milli);
    }
}
