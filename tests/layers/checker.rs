//! The checker is checked: what breaks a rule is found, on its line, and what doesn't isn't.

use crate::{
    paths, rules,
    rules::Violation,
    source::{Source, item_end},
    tables,
};

fn places(found: &[Violation]) -> Vec<&str> {
    found.iter().map(|v| v.place.as_str()).collect()
}

fn on(path: &str, text: &str, rule: fn(&Source) -> Vec<Violation>) -> Vec<String> {
    let found = rule(&Source::parse(path, text));
    places(&found).into_iter().map(str::to_owned).collect()
}

#[test]
fn an_import_that_points_up_is_found_in_every_way_to_write_it() {
    let text = "use crate::agent::Agent;\n\
                use crate::{\n    model::ids::Uid,\n    cli::{ps, top as t},\n};\n\
                fn f() -> super::session::Link { crate::api::serve() }\n\
                mod inner {\n    use super::super::reporter;\n}\n";
    let found = rules::layers(&Source::parse("src/journal/mod.rs", text));
    let whom: Vec<&str> = found.iter().map(|v| v.rule.as_str()).collect();
    assert_eq!(
        whom,
        [
            "`journal` must not name `agent`",
            "`journal` must not name `cli`",
            "`journal` must not name `cli`",
            "`journal` must not name `session`",
            "`journal` must not name `api`",
            "`journal` must not name `reporter`",
        ]
    );
    assert_eq!(found[3].place, "src/journal/mod.rs:6");
}

#[test]
fn an_import_that_points_down_or_within_is_fine() {
    let text = "use super::{read::Reader, super_fast};\n\
                use crate::{clock, config::Config, model::{self, ids::{Seq, Uid}}, store};\n\
                use self::sub::X;\nuse std::super_thing;\n\
                // use crate::cli;\n/// [`crate::agent`]\nconst T: &str = \"crate::cli::x\";\n";
    assert_eq!(on("src/journal/write.rs", text, rules::layers), [""; 0]);
}

#[test]
fn tests_may_name_what_they_like_and_product_code_not_the_fakes() {
    let text = "use crate::testing::FakeNode;\n\
                #[cfg(test)]\nmod tests {\n    use crate::testing::FakeNode;\n    \
                use crate::cli;\n}\n";
    assert_eq!(
        on("src/plan/mod.rs", text, rules::layers),
        ["src/plan/mod.rs:1"]
    );
    assert_eq!(on("src/plan/mod/tests.rs", text, rules::layers), [""; 0]);
}

#[test]
fn leaves_neighbours_and_strangers_have_their_rules() {
    let named = |path: &str, text: &str| on(path, text, rules::layers).len();
    assert_eq!(named("src/model/ids.rs", "use crate::clock::Clock;"), 1);
    assert_eq!(named("src/clock.rs", "use crate::journal::Journal;"), 1);
    assert_eq!(named("src/config.rs", "use crate::model::ids::Source;"), 0);
    assert_eq!(
        named("src/image/skopeo.rs", "use crate::runtime::process::Call;"),
        0
    );
    assert_eq!(
        named("src/image/skopeo.rs", "use crate::metrics::Sample;"),
        1
    );
    assert_eq!(named("src/reporter/mod.rs", "use crate::session::Link;"), 1);
    assert_eq!(named("src/newcomer.rs", "use crate::model::ids::Uid;"), 1);
}

#[test]
fn every_exception_between_neighbours_is_of_one_row() {
    for (who, whom, reason) in tables::SIDEWAYS {
        let row = tables::LAYERS
            .iter()
            .find(|row| row.contains(who))
            .expect("a layer");
        assert!(row.contains(whom), "{who} and {whom} are no neighbours");
        assert!(!reason.is_empty());
    }
}

#[test]
fn a_pure_module_names_no_clock_and_no_file() {
    let text = "use std::fs;\nlet now = Instant::now();\n// std::fs\nstruct Instantly;\n";
    assert_eq!(
        on("src/plan/mod.rs", text, rules::purity),
        ["src/plan/mod.rs:1", "src/plan/mod.rs:2"]
    );
    assert_eq!(on("src/store/mod.rs", text, rules::purity), [""; 0]);
}

#[test]
fn empty_names_are_found_in_files_modules_and_types() {
    let text = "struct PodManager;\nenum ExitHandlers {}\nmod utils;\nstruct Utility;\n\
                // struct Manager\nmod common;\nfn handler() {}\n";
    assert_eq!(
        on("src/a.rs", text, rules::names),
        ["src/a.rs:1", "src/a.rs:2", "src/a.rs:3", "src/a.rs:6"]
    );
    assert_eq!(
        on("src/wire/mod.rs", "pub mod common;", rules::names),
        [""; 0]
    );
    assert_eq!(
        on("src/string_helper.rs", "", rules::names),
        ["src/string_helper.rs:1"]
    );
}

#[test]
fn unsafe_is_found_outside_its_files_and_a_stale_permission_too() {
    let text = "#![allow(unsafe_code)]\nfn f() {\n    unsafe { g() }\n}\n// unsafe\n";
    assert_eq!(
        on("src/a.rs", text, rules::unsafety),
        ["src/a.rs:1", "src/a.rs:3"]
    );
    assert_eq!(on("src/network/netns.rs", text, rules::unsafety), [""; 0]);
    assert_eq!(
        on("src/network/netns.rs", "fn f() {}", rules::unsafety).len(),
        1
    );
    assert_eq!(
        on("src/a.rs", "fn not_unsafe_at_all() {}", rules::unsafety),
        [""; 0]
    );
}

#[test]
fn a_panic_is_found_outside_tests_even_where_clippy_was_silenced() {
    let text = "#[allow(clippy::unwrap_used)]\nfn f() { x.unwrap(); }\n\
                fn g() { let s = \"x.unwrap()\"; x.unwrap_or(1); todo!() }\n\
                #[cfg(test)]\nmod tests {\n    fn t() { x.unwrap(); }\n}\nfn h() { panic!(\"{}\", '\"') }\n";
    assert_eq!(
        on("src/a.rs", text, rules::panics),
        ["src/a.rs:2", "src/a.rs:3", "src/a.rs:8"]
    );
    assert_eq!(on("src/a/tests.rs", text, rules::panics), [""; 0]);
}

#[test]
fn long_files_and_functions_are_found() {
    let body = |n: usize| "    x();\n    // a comment\n\n".repeat(n);
    let fine = format!(
        "fn f(\n    a: u8,\n) {{\n{}}}\n",
        body(tables::FUNCTION_LINES)
    );
    assert_eq!(on("src/a.rs", &fine, rules::sizes), [""; 0]);
    let long = format!("\nfn f() {{\n{}}}\n", body(tables::FUNCTION_LINES + 1));
    assert_eq!(on("src/a.rs", &long, rules::sizes), ["src/a.rs:2"]);
    let file = "// line\n".repeat(tables::FILE_LINES + 1);
    assert_eq!(on("src/a.rs", &file, rules::sizes), ["src/a.rs:1"]);
    assert_eq!(on("src/a/tests.rs", &file, rules::sizes), [""; 0]);
    assert_eq!(
        on(
            "src/main.rs",
            &"x;\n".repeat(tables::MAIN_LINES + 1),
            rules::sizes
        )
        .len(),
        1
    );
}

#[test]
fn a_sleeping_test_is_found_and_a_sleeping_product_is_not_its_business() {
    let text =
        "fn f() { sleep(d); }\n#[cfg(test)]\nmod tests {\n    fn t() { thread::sleep(d); }\n}\n";
    assert_eq!(on("src/a.rs", text, rules::sleeps), ["src/a.rs:4"]);
    assert_eq!(
        on(
            "tests/crash.rs",
            "fn t() { tokio::time::sleep(d).await }",
            rules::sleeps
        )
        .len(),
        1
    );
    assert_eq!(
        on(
            "tests/crash.rs",
            "run(\"sleep(1)\"); oversleep(1);",
            rules::sleeps
        ),
        [""; 0]
    );
}

#[test]
fn an_allow_without_a_reason_is_found() {
    let text = "#[allow(dead_code)]\nfn a() {}\n#[allow(dead_code, reason = \"x\")]\nfn b() {}\n\
                // It is generated.\n#![allow(missing_docs)]\n#[allow(\n    dead_code,\n    reason = \"x\"\n)]\n";
    assert_eq!(on("src/a.rs", text, rules::allows), ["src/a.rs:1"]);
}

#[test]
fn comments_texts_characters_and_lifetimes_are_told_apart() {
    let text = "let a = 'x'; let b: &'a str = r#\"un\"safe\"#; /* a /* b */ unsafe */ let c = '\\'';\n\
                let d = b\"unsafe\"; let e = \"\\\"unsafe\"; let r#type = 1; // unsafe\nunsafe {}\n";
    assert_eq!(on("src/a.rs", text, rules::unsafety), ["src/a.rs:3"]);
}

#[test]
fn an_item_ends_where_it_ends() {
    let code: Vec<String> = ["fn f(a: [u8; 2]) {", "    {}", "}", "use x;"]
        .map(str::to_owned)
        .into();
    assert_eq!(item_end(&code, 0), 2);
    assert_eq!(item_end(&code, 3), 3);
}

#[test]
fn a_path_is_followed_from_the_module_it_stands_in() {
    let source = Source::parse("src/model/line.rs", "use super::{ids::Uid, super::clock};");
    let named: Vec<String> = paths::named(&source)
        .into_iter()
        .map(|(_, p)| p.join("::"))
        .collect();
    assert_eq!(named, ["model::ids::Uid", "clock"]);
}
