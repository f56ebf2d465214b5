use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn layers(
    text: &str,
    env: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> (Layers, tempfile::NamedTempFile) {
    let file = file(text);
    let layers = Layers {
        file: Some(file.path().to_owned()),
        env: env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
        flags: flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(),
    };
    (layers, file)
}

fn faults(text: &str, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Vec<String> {
    let (layers, file) = layers(text, env, flags);
    let place = file.path().display().to_string();
    match load(&layers).unwrap_err() {
        ConfigError::Settings(faults) => faults.iter().map(|f| f.replace(&place, "FILE")).collect(),
        other => vec![other.to_string().replace(&place, "FILE")],
    }
}

#[test]
fn a_higher_layer_takes_the_place_of_a_lower_one() {
    let text = "node_name = 'file'\nresync = '20s'\n[deadlines]\nruntime = '1m'\npull = '1h'\n";
    let env = [
        ("RIKLET_NODE_NAME", "env"),
        ("RIKLET_DEADLINES__RUNTIME", "5s"),
        ("RIKLET_STANDALONE", "true"),
        ("RIKLET_IMAGES__INSECURE_REGISTRIES", "a:5000, b:5000"),
        ("PATH", "/bin"),
    ];
    let (layers, _file) = layers(text, &env, &[("node_name", "flag")]);
    let loaded = load(&layers).unwrap();
    let config = &loaded.config;
    assert_eq!(config.node_name, "flag");
    assert_eq!(config.resync, Duration::from_secs(20));
    assert_eq!(config.deadlines.runtime, Duration::from_secs(5));
    assert_eq!(config.deadlines.pull, Duration::from_secs(3600));
    assert_eq!(config.deadlines.stall, Duration::from_secs(120));
    assert_eq!(config.images.insecure_registries, ["a:5000", "b:5000"]);
    assert_eq!(
        loaded.origins["node_name"],
        Origin::Flag("--node-name".into())
    );
    assert!(matches!(loaded.origins["resync"], Origin::File(_)));
    assert!(!loaded.origins.contains_key("deadlines.stall"));
}

#[test]
fn sizes_are_read_with_their_unit_and_a_segment_has_its_bounds() {
    let text = "[journal]\nsegment = '64KiB'\nhistory_size = 1000\nhistory_always = '0'\n";
    let (layers, _file) = layers(text, &[("RIKLET_JOURNAL__HISTORY_AGE", "1m")], &[]);
    let journal = load(&layers).unwrap().config.journal;
    let minute = Duration::from_secs(60);
    let wanted = Journal {
        segment: 65_536,
        history_age: minute,
        history_size: 1000,
        history_always: 0,
    };
    assert_eq!(journal, wanted);
    for (text, fault) in [
        (
            "segment = '5MiB'",
            "journal.segment must be between 64KiB and 4MiB",
        ),
        (
            "segment = '4 MB'",
            "journal.segment in FILE must be a size like \"64KiB\" or \"4MiB\"",
        ),
        (
            "segment = -1",
            "journal.segment in FILE must be a size like \"64KiB\" or \"4MiB\"",
        ),
    ] {
        assert_eq!(faults(&format!("[journal]\n{text}\n"), &[], &[]), [fault]);
    }
}

#[test]
fn unknown_keys_are_errors_that_name_the_key() {
    assert_eq!(
        faults(
            "nodename = 'x'\n[deadlines]\nrunc = '1s'\n[frobnicate]\na = 1\n",
            &[("RIKLET_STATEDIR", "/x")],
            &[]
        ),
        [
            "unknown key deadlines.runc in FILE",
            "unknown key frobnicate in FILE",
            "unknown key nodename in FILE (did you mean node_name?)",
            "unknown variable RIKLET_STATEDIR (did you mean state_dir?)",
        ]
    );
}

#[test]
fn every_value_of_a_wrong_form_is_named_at_once() {
    assert_eq!(
        faults(
            "node_name = 7\nresync = 10\nstandalone = 'yes'\nhttp = 'x'\nimages = 3\n",
            &[("RIKLET_DEADLINES__PULL", "soon")],
            &[("scheduler", "ftp://x")],
        ),
        [
            "http in FILE must be an IP address and a port, like \"127.0.0.1:9464\"",
            "unknown key images in FILE",
            "node_name in FILE must be a text in quotes",
            "resync in FILE must be a duration above zero, like \"30s\" or \"10m\"",
            "standalone in FILE must be true or false",
            "RIKLET_DEADLINES__PULL must be a duration above zero, like \"30s\" or \"10m\"",
            "--scheduler must be an address like \"http://scheduler:4995\"",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_one_line_with_its_place() {
    assert_eq!(faults("a = 1\nb = \n", &[], &[]).len(), 1);
    assert!(faults("a = 1\nb = \n", &[], &[])[0].starts_with("FILE is not TOML: line 2: "));
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let missing = Layers {
        file: Some("/nonexistent/riklet.toml".into()),
        ..Layers::default()
    };
    assert!(matches!(load(&missing), Err(ConfigError::Read { .. })));
}

#[test]
fn settings_that_exclude_each_other_are_refused_within_a_layer_and_settled_between_layers() {
    let both = "standalone = true\nscheduler = 'a:4995'\n";
    assert_eq!(
        faults(both, &[], &[]),
        ["scheduler and standalone are both set: remove one"]
    );
    let (of_flag, _file) = layers("scheduler = 'a'\n", &[], &[("standalone", "true")]);
    assert_eq!(load(&of_flag).unwrap().config.scheduler, None);
    let (of_flag, _file) = layers("standalone = true\n", &[], &[("scheduler", "b")]);
    let config = load(&of_flag).unwrap().config;
    assert_eq!(config.scheduler.as_deref(), Some("http://b:4995"));
    assert!(!config.standalone);
}

#[test]
fn tls_wants_https_and_key_with_certificate() {
    assert_eq!(
        faults("scheduler = 'http://a'\n[tls]\ncert = '/c'\n", &[], &[]),
        [
            "tls.cert and tls.key go together: set both or none",
            "tls is set but scheduler is not an https:// address",
        ]
    );
}

#[test]
fn the_socket_follows_the_run_dir() {
    let (layers, _file) = layers("", &[], &[("run_dir", "/tmp/r")]);
    let config = load(&layers).unwrap().config;
    assert_eq!(config.socket, Path::new("/tmp/r/riklet.sock"));
    assert!(!config.node_name.is_empty());
}

#[test]
fn a_relative_path_is_whole_once_it_is_read_for_programs_run_elsewhere() {
    let here = std::env::current_dir().unwrap();
    let text = "run_dir = '.run'\n[programs]\nrunc = './bin/runc'\n\
                [images]\ncerts_dir = 'certs.d'\n";
    let (layers, _file) = layers(text, &[], &[("state_dir", "state")]);
    let config = load(&layers).unwrap().config;
    assert_eq!(config.state_dir, here.join("state"));
    assert_eq!(config.run_dir, here.join(".run"));
    assert_eq!(config.socket, here.join(".run/riklet.sock"));
    assert_eq!(config.programs.runc, here.join("bin/runc"));
    assert_eq!(config.images.certs_dir, Some(here.join("certs.d")));
    // A name is for PATH to find.
    assert_eq!(config.programs.conmon, Path::new("conmon"));
}

#[test]
fn the_table_of_settings_has_every_field_and_no_other() {
    let path = || Some(PathBuf::from("/x"));
    let full = Config {
        scheduler: Some("http://x:1".into()),
        host_address: Some("x".into()),
        http: "127.0.0.1:1".parse().ok(),
        images: Images {
            policy: path(),
            registries_conf: path(),
            authfile: path(),
            certs_dir: path(),
            ..Images::default()
        },
        network: Network {
            conf_dir: path(),
            subnet: Some("10.1.2.0/24".into()),
            ..Network::default()
        },
        tls: Tls {
            ca: path(),
            cert: path(),
            key: path(),
        },
        ..Config::default()
    };
    let table = Table::try_from(&full).unwrap();
    fn keys_of(table: &Table, prefix: &str) -> Vec<String> {
        let keys = table.iter().flat_map(|(key, value)| match value {
            Value::Table(inner) => keys_of(inner, &format!("{prefix}{key}.")),
            _ => vec![format!("{prefix}{key}")],
        });
        keys.collect()
    }
    let mut keys = keys_of(&table, "");
    keys.sort();
    let mut known: Vec<&str> = SETTINGS.iter().map(|s| s.key).collect();
    known.sort_unstable();
    assert_eq!(keys, known);
    // What is printed is what is read.
    let again: Config = Value::Table(table).try_into().unwrap();
    assert_eq!(again, full);
}

#[test]
fn what_a_source_may_ask_for_is_set_in_a_table_of_its_own() {
    let text = "[security.scheduler]\nprivileged = true\nhost_paths = ['/srv']\n\
                [images]\ngc_high_percent = 90\n";
    let variable = ("RIKLET_SECURITY__CLI__CAPABILITIES", "NET_ADMIN, KILL");
    let (layers, _file) = layers(text, &[variable], &[]);
    let config = load(&layers).unwrap().config;
    let scheduler = config.security.scheduler;
    assert!(scheduler.privileged && !scheduler.host_pid);
    assert_eq!(scheduler.host_paths, ["/srv"]);
    assert_eq!(config.security.cli.capabilities, ["NET_ADMIN", "KILL"]);
    assert!(config.security.manifest.privileged);
    assert_eq!(config.images.gc_high_percent, 90);
}

#[test]
fn settings_that_would_open_or_empty_everything_by_mistake_are_faults() {
    let all = [
        ("[security.scheduler]\nhost_paths = ['srv']\n", "absolute"),
        ("[security.cli]\nhost_paths = ['/srv/../etc']\n", "absolute"),
        ("[security.sceduler]\nprivileged = true\n", "unknown key"),
        ("[security.scheduler]\nprivilegd = true\n", "unknown key"),
        (
            "[images]\ngc_low_percent = 90\n",
            "gc_low_percent must not be above",
        ),
        ("[images]\ngc_high_percent = 101\n", "100"),
        ("[images]\ngc_high_percent = -1\n", "a whole number"),
    ];
    for (text, wanted) in all {
        let found = faults(text, &[], &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(wanted), "{text}: {found:?}");
    }
}
