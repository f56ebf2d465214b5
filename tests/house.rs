//! What the pages, the Makefile and the scripts promise to a stranger.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test program, which runs the checkout's scripts"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use riklet::{
    config,
    model::definition::{Strictness, documents::split, parse},
};

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("run by cargo")
        .into()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every page of the checkout, as (path, text).
fn pages() -> Vec<(String, String)> {
    let below = |directory: &str| {
        let entries = fs::read_dir(root().join(directory)).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name.ends_with(".md"))
            .map(|name| format!("{directory}/{name}"))
            .collect();
        names.sort();
        names
    };
    [".", "docs", "state", "examples/workloads"]
        .into_iter()
        .flat_map(below)
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// A directory marked as this test process's, which goes when it is dropped.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix(&format!("riklet-test-{}-", std::process::id()))
        .tempdir()
        .expect("a temporary directory")
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let tops = [
        "src/",
        "tools/",
        "docs/",
        "tests/",
        "examples/",
        "proto/",
        "benches/",
    ];
    let mut missing = BTreeSet::new();
    for (page, text) in pages() {
        let path_like = |c: char| c.is_alphanumeric() || "._-/".contains(c);
        for word in text.split(|c| !path_like(c)) {
            let word = word.trim_end_matches(['.', '-']);
            if tops.iter().any(|top| word.starts_with(top)) && !root().join(word).exists() {
                missing.insert(format!("{page} names {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_goal_that_a_page_names_is_one_of_make() {
    let makefile = read("Makefile");
    let goals: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.contains(": ") && line.contains("## "))
        .filter_map(|line| line.split(':').next())
        .collect();
    assert!(goals.contains("test"), "{goals:?}");
    for (page, text) in pages() {
        let named = text.split('`').skip(1).step_by(2).chain(text.lines());
        for goal in named.filter_map(|code| code.strip_prefix("make ")) {
            let goal = goal.split([' ', '`', '.', ',']).next().unwrap_or_default();
            assert!(goals.contains(goal), "{page} names `make {goal}`");
        }
    }
}

/// The code of a page: whole lines of its blocks, and what stands between backticks elsewhere.
fn code_of(text: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut prose = String::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block || line.starts_with("    ") {
            code.push(line.trim().to_owned());
        } else {
            // A span may go on in the next line.
            prose.push_str(line);
            prose.push(' ');
        }
    }
    code.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
    code
}

/// What `riklet COMMAND --help` prints; none if there is no such command.
fn help(command: &[&str]) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_riklet"))
        .args(command)
        .arg("--help")
        .env_clear()
        .output()
        .expect("riklet starts");
    let text = String::from_utf8(output.stdout).expect("text");
    output.status.success().then_some(text)
}

/// The commands that a help lists: `  name  what it does`.
fn listed(help: &str) -> Vec<&str> {
    let rows = help.lines().filter_map(|line| line.strip_prefix("  "));
    let names = rows.filter_map(|row| row.split_once("  ").map(|(name, _)| name));
    names
        .filter(|name| *name != "help" && name.chars().all(|c| c.is_ascii_lowercase()))
        .collect()
}

/// `state log [ID]` is the command `state log`, `logs [-f] ID` is `logs`.
fn command_of(line: &str) -> Vec<&str> {
    let depth = if line.starts_with("state ") || line.starts_with("config ") {
        2
    } else {
        1
    };
    line.split_whitespace().take(depth).collect()
}

/// The part of the README below a heading.
fn section(heading: &str) -> String {
    let readme = read("README.md");
    let (_, below) = readme
        .split_once(&format!("## {heading}\n"))
        .expect("the heading");
    below.split("\n## ").next().unwrap_or_default().to_owned()
}

/// The code in the first cells of the README's table of commands.
fn readme_commands() -> Vec<String> {
    let rows = section("Commands");
    let cells = rows.lines().filter_map(|line| line.strip_prefix("| "));
    let first = cells.filter_map(|row| row.split(" | ").next());
    first.flat_map(code_of).collect()
}

#[test]
fn every_command_in_the_readme_exists_with_the_flags_that_it_shows() {
    let lines = readme_commands();
    assert!(lines.len() > 15, "{lines:?}");
    for line in &lines {
        let help = help(&command_of(line)).unwrap_or_else(|| panic!("README names {line:?}"));
        for flag in line.split([' ', '[', ']']).filter(|w| w.starts_with('-')) {
            let known = help.split([' ', ',', '\n']).any(|word| word.trim() == flag);
            assert!(known, "README names {flag} in {line:?}");
        }
    }
}

#[test]
fn every_command_is_in_the_readme() {
    let lines = readme_commands();
    let named: BTreeSet<String> = lines.iter().map(|l| command_of(l).join(" ")).collect();
    let top = help(&[]).expect("help");
    let mut commands = Vec::new();
    for name in listed(&top) {
        match name {
            "state" | "config" => {
                let help = help(&[name]).expect("help");
                commands.extend(listed(&help).iter().map(|sub| format!("{name} {sub}")));
            }
            _ => commands.push(name.to_owned()),
        }
    }
    assert!(commands.len() > 15, "{commands:?}");
    let missing: Vec<&String> = commands.iter().filter(|c| !named.contains(*c)).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
}

#[test]
fn what_the_readme_calls_not_yet_is_not_there() {
    let list = section("Not yet");
    let commands = list.split("\n- ").find_map(|i| i.strip_prefix("commands:"));
    for line in code_of(commands.expect("a list of commands")) {
        let there = help(&command_of(&line)).is_some();
        assert!(!there, "{line:?} is there: move it into the README's table");
    }
}

#[test]
fn every_command_that_a_page_names_exists() {
    let mut seen = 0;
    for (page, text) in pages() {
        for code in code_of(&text) {
            let code = code.trim_start_matches("target/debug/");
            let Some(line) = code.strip_prefix("riklet ") else {
                continue;
            };
            if line.starts_with(|c: char| c.is_ascii_lowercase()) {
                seen += 1;
                let there = help(&command_of(line)).is_some();
                assert!(there, "{page} names `riklet {line}`");
            }
        }
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn ci_calls_make_test_and_nothing_else() {
    let commands: Vec<String> = read(".ci/run")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(str::to_owned)
        .collect();
    assert_eq!(
        commands,
        [
            "set -euo pipefail",
            "cd \"$(dirname \"$0\")/..\"",
            "exec make test"
        ]
    );
}

#[test]
fn every_example_workload_is_a_definition_without_a_warning() {
    let directory = root().join("examples/workloads");
    let mut seen = 0;
    for entry in fs::read_dir(directory).expect("examples") {
        let path = entry.expect("an entry").path();
        let file = path.display().to_string();
        if file.ends_with(".md") {
            continue;
        }
        seen += 1;
        for piece in split(&[(file.clone(), read(&path))]) {
            assert!(piece.faults.is_empty(), "{file}: {:?}", piece.faults);
            let parsed = parse(&piece.definition, Strictness::Strict)
                .unwrap_or_else(|e| panic!("{file}: {e}"));
            // make run renders them by this name.
            for container in parsed.spec.containers {
                assert_eq!(container.image, "busybox:1.36", "{file}");
            }
        }
    }
    assert!(seen >= 16, "{seen}");
}

#[test]
fn the_settings_of_make_run_are_settings() {
    let layers = config::Layers {
        file: Some(root().join("tools/run.toml")),
        ..config::Layers::default()
    };
    let loaded = config::load(&layers).expect("valid settings");
    assert!(
        loaded
            .config
            .images
            .scheduler_transports
            .contains(&"oci".to_owned())
    );
}

/// Every file below a directory with its bytes.
fn tree(top: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![top.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(top).expect("below").to_owned();
                found.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    found
}

#[test]
fn the_example_image_is_byte_for_byte_the_same_whenever_it_is_made() {
    if !installed("busybox") {
        return;
    }
    let place = scratch();
    let made: Vec<_> = ["one", "two"]
        .map(|name| place.path().join(name))
        .iter()
        .map(|image| {
            script("make-image.sh", &[image.as_os_str()], place.path());
            tree(image)
        })
        .collect();
    assert!(made[0].contains_key(Path::new("index.json")));
    assert_eq!(made[0], made[1]);
}

#[test]
fn a_sweep_takes_what_a_killed_run_left_and_nothing_of_a_live_one() {
    let place = scratch();
    let gone = dead_pid();
    let left = place.path().join(format!("riklet-test-{gone}-left"));
    let live = place
        .path()
        .join(format!("riklet-test-{}-live", std::process::id()));
    let foreign = place.path().join("riklet-testament");
    for directory in [
        &left.join("state/journal"),
        &left.join("run"),
        &live,
        &foreign,
    ] {
        fs::create_dir_all(directory).expect("a directory");
    }
    // A process that stands in what is left, as a daemon or a registry would; and one beside.
    let mut leftover = standing_in(&left);
    let mut bystander = standing_in(&live);

    script("sweep.sh", &[], place.path());

    assert!(!left.exists());
    assert!(live.exists() && foreign.exists());
    let ended = leftover.wait().expect("its status");
    assert!(!ended.success());
    assert!(bystander.try_wait().expect("its status").is_none());
    bystander.kill().expect("killed");
    bystander.wait().expect("its status");
}

/// What tests make of "others", by the pid that its names bear.
struct OfOthers(u32);

impl OfOthers {
    fn make(pid: u32) -> Self {
        let made = Self(pid);
        let made_it = sh(&format!(
            "ip netns add rk-foreign{pid} && ip netns add foreign-{pid} &&
             ip link add fv{pid} type veth peer name eth0 netns foreign-{pid} &&
             ip link add rkt{pid} type bridge &&
             iptables -w -t nat -N CNI-foreign{pid} &&
             iptables -w -t nat -A CNI-foreign{pid} -s 198.19.7.6/32 -j RETURN &&
             iptables -w -t nat -A POSTROUTING -s 198.19.7.6/32 -m comment \
                 --comment foreign-{pid} -j RETURN &&
             iptables -w -t nat -N CNI-rkt{pid} &&
             iptables -w -t nat -A POSTROUTING -s 198.19.7.5/32 -m comment \
                 --comment 'name: \"rkt{pid}\" id: \"x\"' -j CNI-rkt{pid}"
        ));
        assert!(made_it.0, "{made_it:?}");
        made
    }

    /// What of it is there.
    fn left(&self) -> Vec<String> {
        let pid = self.0;
        let all = sh("ls /run/netns /sys/class/net; iptables-save -t nat");
        let named = |line: &&str| {
            let mut words = line.split([' ', ':']);
            words.any(|word| {
                word.trim_start_matches(|c: char| !c.is_ascii_digit()) == pid.to_string()
            })
        };
        all.1.lines().filter(named).map(str::to_owned).collect()
    }
}

impl Drop for OfOthers {
    fn drop(&mut self) {
        let pid = self.0;
        for text in [
            format!("ip netns del rk-foreign{pid}; ip netns del foreign-{pid}"),
            format!("ip link del rkt{pid}"),
            format!("tools/rules.sh rkt{pid}"),
            format!(
                "iptables -w -t nat -F CNI-foreign{pid}; iptables -w -t nat -X CNI-foreign{pid}"
            ),
            format!(
                "iptables -w -t nat -D POSTROUTING -s 198.19.7.6/32 -m comment \
                     --comment foreign-{pid} -j RETURN"
            ),
        ] {
            sh(&text);
        }
    }
}

/// Did it succeed, and what did it say?
fn sh(text: &str) -> (bool, String) {
    let output = Command::new("sh")
        .args(["-c", text])
        .current_dir(root())
        .output()
        .expect("sh");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said)
}

#[test]
fn a_sweep_takes_what_a_killed_test_made_of_others_and_not_what_a_live_one_did() {
    if !installed("iptables") || !installed("ip") {
        return;
    }
    let place = scratch();
    let dead = OfOthers::make(dead_pid());
    let live = OfOthers::make(std::process::id());
    let (before, whole) = (dead.left(), live.left());
    assert_eq!(
        (before.len(), whole.len()),
        (9, 9),
        "{before:#?} {whole:#?}"
    );
    script("sweep.sh", &["--list".as_ref()], place.path());
    assert_eq!(dead.left(), before, "a list takes nothing");
    script("sweep.sh", &[], place.path());
    assert_eq!(dead.left(), Vec::<String>::new());
    assert_eq!(live.left(), whole);
}

/// Runs one of `tools/`, with a temporary directory of its own.
fn script(name: &str, args: &[&std::ffi::OsStr], temporary: &Path) {
    let output = Command::new(root().join("tools").join(name))
        .args(args)
        .env("TMPDIR", temporary)
        .output()
        .expect("a script that starts");
    assert!(output.status.success(), "{name}: {output:?}");
}

fn standing_in(directory: &Path) -> Child {
    // Ends with its standard input, so it can't outlive this test.
    Command::new("cat")
        .current_dir(directory)
        .stdin(Stdio::piped())
        .spawn()
        .expect("cat")
}

fn dead_pid() -> u32 {
    let mut child = Command::new("true").spawn().expect("true");
    child.wait().expect("its status");
    child.id()
}

/// Is a program there? Without it the test is skipped where that is allowed.
fn installed(program: &str) -> bool {
    let there = Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null", program])
        .status()
        .is_ok_and(|status| status.success());
    let may_skip = std::env::var_os("RIKLET_ALLOW_SKIP").is_some_and(|v| v == "1");
    assert!(there || may_skip, "{program} is missing; mend: make setup");
    if !there {
        eprintln!("SKIPPED: no {program}");
    }
    there
}

#[test]
fn a_teardown_waits_for_a_killed_daemon_and_refuses_beside_a_living_one() {
    let dir = scratch();
    let (state, run) = (dir.path().join("state"), dir.path().join("run"));
    fs::create_dir_all(&state).expect("a directory");
    fs::create_dir_all(&run).expect("a directory");
    let lock = fs::File::create(state.join("lock")).expect("a file");
    lock.lock().expect("a free lock");
    let teardown = |holder: u32| {
        fs::write(state.join("lock"), format!("{holder}\n")).expect("a file");
        Command::new("/bin/bash")
            .arg(root().join("tools/teardown.sh"))
            .args([&state, &run])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash")
    };
    let refused = teardown(std::process::id())
        .wait_with_output()
        .expect("bash");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("({})", std::process::id())),
        "{said}"
    );
    // No process has the largest number.
    let mut waiting = teardown(i32::MAX.unsigned_abs());
    assert!(waiting.try_wait().expect("a child").is_none());
    drop(lock);
    assert!(waiting.wait().expect("bash").success());
}

#[test]
fn every_mutant_still_applies_and_says_what_it_breaks_and_what_catches_it() {
    let patches = fs::read_dir(root().join("tests/mutants")).expect("a directory");
    let patches: Vec<PathBuf> = patches.map(|p| p.expect("an entry").path()).collect();
    assert!(patches.len() > 20, "{patches:?}");
    for patch in patches {
        let text = read(&patch);
        let said = |word: &str| text.lines().any(|l| l.strip_prefix(word).is_some());
        assert!(said("what: ") && said("caught by: "), "{}", patch.display());
        let applies = Command::new("git")
            .args(["apply", "--check"])
            .arg(&patch)
            .current_dir(root())
            .output()
            .expect("git");
        let why = String::from_utf8_lossy(&applies.stderr).into_owned();
        assert!(applies.status.success(), "{}: {why}", patch.display());
    }
}
