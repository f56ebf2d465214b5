//! A corpus of bad inputs: each is read or refused, in bounded time and memory, without a word of
//! it in a message.

use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};

use riklet::model::definition::{
    DefinitionError, MAX_BYTES, Parsed, Strictness, documents::split, parse,
};

use crate::pods;

/// A word that no message may quote.
const SECRET: &str = "hunter2";

/// The most that the resident size may grow while one text is read. Its limit is 256 KiB.
const MOST_KIB: u64 = 96 * 1024;

/// This process's largest resident size so far, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let words = line.expect("VmHWM").split_whitespace().next();
    words.expect("a number").parse().expect("a number")
}

/// Reads a text in every way there is; what must hold of any text.
fn read(what: &str, text: &str) -> Result<Parsed, DefinitionError> {
    let judged = |result: &Result<Parsed, DefinitionError>| {
        let (said, listed) = match result {
            Ok(parsed) => (format!("{:?}", parsed.warnings), parsed.warnings.len()),
            Err(error) => {
                assert!(!error.faults.is_empty(), "{what}");
                (error.to_string(), error.faults.len())
            }
        };
        assert!(!said.contains('\n') && listed <= 33, "{what}: {said}");
        assert!(!said.contains(SECRET), "{what}: {said}");
        assert!(said.len() < 33 * 1024, "{what}: {} bytes", said.len());
    };
    let lenient = parse(text, Strictness::Lenient);
    judged(&lenient);
    let strict = parse(text, Strictness::Strict);
    judged(&strict);
    for piece in split(&[(what.to_owned(), text.to_owned())]) {
        assert!(piece.definition.len() <= MAX_BYTES, "{what}");
        assert_eq!(piece.definition.is_empty(), !piece.faults.is_empty());
        for fault in &piece.faults {
            assert!(!fault.to_string().contains(SECRET), "{what}: {fault}");
        }
    }
    strict
}

fn bombs() -> Vec<(&'static str, String)> {
    let pod = |spec: &str| format!("kind: Pod\nname: a\nspec: {spec}\n");
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..20 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs += &format!("a{i}: &a{i} [{aliases}]\n");
    }
    let big = "y".repeat(100 * 1024);
    let copies = "*b, ".repeat(20_000);
    let map: String = (0..20_000).map(|i| format!("k{i}: v\n")).collect();
    let maps = vec!["{configMapRef: {name: m}}"; 4000].join(", ");
    let volumes: String = (0..3000)
        .map(|i| format!("{{name: v{i}, configMap: {{name: m}}}}, "))
        .collect();
    let stuffed = |refer: &str| {
        format!(
            "kind: ConfigMap\nmetadata: {{name: m}}\ndata: {{k: {}}}\n---\n{}",
            "z".repeat(100 * 1024),
            pod(refer)
        )
    };
    vec![
        ("laughs", laughs),
        (
            "one big scalar often",
            format!("b: &b {big}\nc: [{copies}]\n"),
        ),
        (
            "aliases of aliases",
            format!(
                "a: &a [{}]\nb: [{}]",
                "1,".repeat(30_000),
                "*a,".repeat(40_000)
            ),
        ),
        ("recursive", "a: &a [*a]\n".to_owned()),
        ("recursive map", "&a {a: *a}\n".to_owned()),
        (
            "merge bomb",
            format!(
                "a: &a\n{}b: {{<<: [{}]}}",
                map.replace("k", "  k"),
                "*a,".repeat(9000)
            ),
        ),
        ("nested flow", "[".repeat(200_000)),
        ("nested maps", "{a: ".repeat(60_000)),
        (
            "nested blocks",
            (0..600).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        ),
        ("nested dashes", "- ".repeat(100_000)),
        ("nested json", format!("{{\"a\":{}", "[".repeat(250_000))),
        ("nested json objects", "{\"a\":".repeat(40_000)),
        ("many documents", "---\na: 1\n".repeat(25_000)),
        ("many json documents", "{}".repeat(120_000)),
        ("many nulls", "---\n".repeat(60_000)),
        ("many keys", map),
        ("one long key", format!("? {big}\n: 1\n")),
        ("long line", format!("kind: {big}")),
        ("comments", "# c\n".repeat(60_000)),
        (
            "anchors",
            (0..20_000).map(|i| format!("- &a{i} x\n")).collect(),
        ),
        ("tags", "- !!binary aGk=\n".repeat(10_000)),
        ("directives", "%YAML 1.2\n---\n".repeat(10_000)),
        (
            "huge numbers",
            format!(
                "a: {}\nb: 1e999999999\nc: 0x{}",
                "9".repeat(100_000),
                "f".repeat(9999)
            ),
        ),
        ("block scalar", format!("a: |\n{}", "  x\n".repeat(60_000))),
        ("quotes", "\"\\u0041".repeat(30_000)),
        (
            "one map in each variable",
            stuffed(&format!(
                "{{containers: [{{name: a, image: b, envFrom: [{maps}]}}]}}"
            )),
        ),
        (
            "one map in each volume",
            stuffed(&format!(
                "{{volumes: [{volumes}], containers: [{{name: a, image: b}}]}}"
            )),
        ),
    ]
}

#[test]
fn no_text_makes_more_than_a_bounded_amount_of_memory() {
    for (what, mut text) in bombs() {
        text.truncate(text.floor_char_boundary(MAX_BYTES));
        let before = peak();
        let refused = read(what, &text).is_err();
        let grown = peak() - before;
        assert!(refused, "{what} was taken");
        assert!(grown < MOST_KIB, "{what}: {grown} KiB");
    }
}

/// Texts that are nothing, or nearly something.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\n\n",
    "\0",
    "\u{feff}",
    "\u{feff}{}",
    "null",
    "~",
    "{}",
    "[]",
    "0",
    "\"Pod\"",
    "true",
    "---",
    "...",
    "--- ---",
    "- kind: Pod",
    "kind: Pod",
    "kind: pod\nname: a",
    "kind: Pod\nname: a\nspec:",
    "kind: Pod\nname: a\nspec: []",
    "kind: Pod\nname: a\nspec: {}",
    "kind: Pod\nname: a\nspec: {containers}",
    "kind: Pod\nname: a\nspec: {containers: {}}",
    "kind: Pod\nname: a\nspec: {containers: [[]]}",
    "kind: Pod\nname: a\nspec: {containers: [null]}",
    "kind: Pod\nname: a\nname: b\nspec: {containers: [{name: a, image: b}]}",
    "kind: Pod\nname: ../a\nspec: {containers: [{name: a, image: b}]}",
    "kind: Pod\nname: a/b\nspec: {containers: [{name: a, image: b}]}",
    "kind: Pod\nname: .\nspec: {containers: [{name: a, image: b}]}",
    "kind: Pod\nname: \"a\\nb\"\nspec: {containers: [{name: a, image: b}]}",
    "kind: Pod\nname: a@cli\nspec: {containers: [{name: a, image: b}]}",
    "kind: Pod\nname: a\nspec: {containers: [{name: a, image: --help}]}",
    "kind: Pod\nname: a\nspec: {containers: [{name: ../../a, image: b}]}",
    "kind: Pod\n\tname: a",
    "kind: Pod\nname: *a",
    "kind: !Pod a",
    "!!python/object/apply:os.system [hunter2]",
    "%TAG ! tag:hunter2,2000:\n--- !x\na: 1",
    "&a : *a",
    "{\"kind\":\"Pod\"",
    "{\"kind\":\"Pod\",}",
    "{\"kind\":\"Pod\"}}",
    "{\"kind\":\"Pod\"} hunter2",
    "{\"a\":1e400}",
    "{\"a\":\"\\ud800\"}",
    "{'kind': 'Pod'}",
    "{\"kind\":\"List\"}",
    "{\"kind\":\"List\",\"items\":{}}",
    "{\"kind\":\"List\",\"items\":[{\"kind\":\"List\",\"items\":[]}]}",
    "kind: Secret",
    "kind: Secret\nmetadata: {name: [hunter2]}",
    "kind: Secret\nmetadata: {name: a}\ndata: {a: hunter2!}",
    "kind: Secret\nmetadata: {name: a}\ndata: {hunter: [hunter2]}",
    "kind: Secret\nmetadata: {name: a}\nstringData: hunter2",
    "kind: ConfigMap\nmetadata: {name: ../a}\ndata: {../x: hunter2}",
    "kind: hunter2\n---\nkind: hunter2",
    "kind: Function\nname: a",
    "<xml>hunter2</xml>",
    "MZ\u{1}\u{2}\u{3}",
];

#[test]
fn what_is_nearly_a_definition_is_refused() {
    for text in TEXTS {
        assert!(read(text, text).is_err(), "{text:?} was taken");
    }
}

/// Values that nobody expects somewhere.
fn nasty() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(0.5),
        json!(65536),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(""),
        json!("hunter2"),
        json!(".."),
        json!("../../etc/shadow"),
        json!("/etc/../../x"),
        json!("/proc/self/exe"),
        json!("a\u{0}b"),
        json!("a\nhunter2: b"),
        json!("$(A) $(B) $$(C"),
        json!("9".repeat(400)),
        json!("é\u{202e}\u{feff}"),
        json!("k".repeat(5000)),
        json!([]),
        json!([null]),
        json!([[[[]]]]),
        json!(["hunter2", "hunter2"]),
        json!({}),
        json!({"hunter": "hunter2"}),
        json!({"name": "n", "key": "hunter2", "port": "hunter2"}),
        json!([{"name": "n"}, {"name": "n"}]),
    ]
}

/// Every place of a value, as a pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{i}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(item, &format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// The documents of the example Pods, each one JSON text.
fn examples() -> Vec<(String, Value)> {
    let pieces = split(&pods::files());
    pieces
        .into_iter()
        .filter(|p| p.faults.is_empty())
        .map(|p| {
            let value = serde_json::from_str(&p.definition).expect("JSON");
            (p.file, value)
        })
        .collect()
}

#[test]
fn every_value_of_every_example_may_be_anything() {
    let before = peak();
    let mut tries = 0;
    for (name, example) in examples() {
        let mut found = Vec::new();
        places(&example, "", &mut found);
        for (i, place) in found.iter().enumerate() {
            for (j, value) in nasty().into_iter().enumerate() {
                // A part of all pairs, another one at each place.
                if (i + j) % 7 != 0 {
                    continue;
                }
                let mut broken = example.clone();
                *broken.pointer_mut(place).expect("a place") = value;
                let text = broken.to_string();
                let what = format!("{name}{place} {j}");
                // A document's name is a part of paths, so it may be told.
                let text = match place.ends_with("/metadata/name") {
                    true => text.replace(SECRET, "other"),
                    false => text,
                };
                let _ = read(&what, &text);
                tries += 1;
            }
        }
    }
    assert!(tries > 2000, "{tries}");
    assert!(peak() - before < MOST_KIB);
}

/// Paths and names that would lead out of where they belong, by the field they are put in.
#[test]
fn no_path_leads_out() {
    let tricks = [
        "..",
        "../x",
        "a/../../x",
        "/../x",
        "a/..",
        "./..",
        "a\u{0}b",
        "..//..",
    ];
    let whole = json!({
        "kind": "List", "items": [
            {"kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "v"}},
            {"kind": "Pod", "name": "a", "spec": {
                "volumes": [
                    {"name": "h", "hostPath": {"path": "/x"}},
                    {"name": "c", "configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}},
                    {"name": "d", "downwardAPI": {"items": [
                        {"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}
                    ]}},
                ],
                "securityContext": {
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "p"}
                },
                "containers": [{
                    "name": "a", "image": "b", "workingDir": "/w",
                    "terminationMessagePath": "/t",
                    "volumeMounts": [{"name": "c", "mountPath": "/m", "subPath": "p"}],
                }],
            }},
        ]
    });
    assert!(read("whole", &whole.to_string()).is_ok());
    for place in [
        "/items/1/name",
        "/items/1/spec/volumes/0/hostPath/path",
        "/items/1/spec/volumes/1/configMap/items/0/path",
        "/items/1/spec/volumes/2/downwardAPI/items/0/path",
        "/items/1/spec/securityContext/seccompProfile/localhostProfile",
        "/items/1/spec/containers/0/name",
        "/items/1/spec/containers/0/workingDir",
        "/items/1/spec/containers/0/terminationMessagePath",
        "/items/1/spec/containers/0/volumeMounts/0/mountPath",
        "/items/1/spec/containers/0/volumeMounts/0/subPath",
    ] {
        for trick in tricks {
            let mut broken = whole.clone();
            *broken.pointer_mut(place).expect("a place") = json!(trick);
            assert!(
                read(place, &broken.to_string()).is_err(),
                "{place}: {trick:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_example_with_its_bytes_changed_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..20),
    ) {
        let files = pods::files();
        let (name, text) = which.get(&files);
        let mut bytes = text.clone().into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let text = String::from_utf8_lossy(&bytes).replace(SECRET, "other");
        let _ = read(name, &text);
    }

    #[test]
    fn lines_in_another_order_are_read_or_refused(
        which in any::<prop::sample::Index>(),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8),
    ) {
        let files = pods::files();
        let (name, text) = which.get(&files);
        let mut lines: Vec<&str> = text.lines().collect();
        for (a, b) in swaps {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        let _ = read(name, &lines.join("\n").replace(SECRET, "other"));
    }
}
