use super::{help, output};

#[test]
fn arguments_are_declared_without_contradiction() {
    help::command().debug_assert();
}

#[test]
fn every_command_is_listed_in_the_help_and_has_an_about() {
    let mut command = help::command();
    let text = command.render_long_help().to_string();
    for sub in command.get_subcommands() {
        let name = sub.get_name();
        assert!(sub.get_about().is_some(), "{name}");
        assert!(
            text.lines()
                .any(|line| line.split_whitespace().next() == Some(name)),
            "{name} is in no group"
        );
    }
}

#[test]
fn columns_are_aligned_and_cells_are_one_line() {
    let rows = [["a", "x\ny"], ["longer", "z"]].map(|row| row.map(str::to_owned));
    assert_eq!(
        output::table(["NAME", "VALUE"], rows),
        "NAME    VALUE\na       x y\nlonger  z"
    );
}

#[test]
fn ages_are_short_and_never_negative() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let now = at("2026-11-22T12:00:00Z");
    for (then, age) in [
        ("2026-11-22T11:59:15Z", "45s"),
        ("2026-11-22T11:48:00Z", "12m"),
        ("2026-11-22T09:00:00Z", "3h"),
        ("2026-11-13T12:00:00Z", "9d"),
        ("2026-11-22T13:00:00Z", "0s"),
    ] {
        assert_eq!(output::age(at(then), now), age);
    }
}
