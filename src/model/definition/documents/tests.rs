use super::{super::parse, *};

fn file(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: a
    image: b:1
    envFrom: [{configMapRef: {name: settings}}]
    env:
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: login, key: password}}}
";
const SETTINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {MODE: fast}
";
const LOGIN: &str = "
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: hunter2}
";
const PLAIN: &str = "kind: Pod\nname: plain\nspec: {containers: [{name: a, image: b}]}\n";

#[test]
fn a_pod_gets_the_documents_that_it_names_from_its_file_and_from_others() {
    let one = format!("{POD}---{SETTINGS}---{LOGIN}---\n---\n{PLAIN}");
    let apart = [
        file("a.yaml", POD),
        file("b.yaml", SETTINGS),
        file("c.yaml", LOGIN),
        file("d.yaml", PLAIN),
    ];
    let (one, apart) = (split(&[file("a.yaml", &one)]), split(&apart));
    let names = |pieces: &[Piece]| -> Vec<String> {
        pieces.iter().filter_map(|p| p.name.clone()).collect()
    };
    assert_eq!(names(&one), ["web", "plain"]);
    assert_eq!(names(&apart), ["web", "plain"]);
    assert_eq!(apart[1].file, "d.yaml");
    for pieces in [&one, &apart] {
        assert!(pieces.iter().all(|p| p.faults.is_empty()), "{pieces:?}");
        let spec = parse(&pieces[0].definition, Strictness::Strict)
            .unwrap()
            .spec;
        let env: Vec<_> = spec.containers[0]
            .env
            .iter()
            .map(|v| (v.name.as_str(), v.value.as_str(), v.literal))
            .collect();
        assert_eq!(env, [("MODE", "fast", true), ("PASSWORD", "hunter2", true)]);
        assert!(!pieces[1].definition.contains("hunter2"));
        assert!(parse(&pieces[1].definition, Strictness::Strict).is_ok());
    }
    assert_eq!(one[0].definition, apart[0].definition);
}

#[test]
fn a_list_is_its_items_and_json_documents_may_follow_each_other() {
    let pod = r#"{"kind":"Pod","name":"a","spec":{"containers":[{"name":"a","image":"b"}]}}"#;
    let other = pod.replacen("\"a\"", "\"z\"", 1);
    let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{pod},{other}]}}"#);
    for text in [
        list,
        format!("{pod}\n{other}"),
        format!("{pod}\n---\n{other}"),
    ] {
        let pieces = split(&[file("x", &text)]);
        let names: Vec<_> = pieces.iter().map(|p| p.name.as_deref()).collect();
        assert_eq!(names, [Some("a"), Some("z")], "{text}");
    }
}

#[test]
fn kubernetes_lists_of_one_kind_are_lists_whose_items_need_not_say_it() {
    let pods = r#"{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":[
        {"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i",
            "envFrom":[{"configMapRef":{"name":"m"}}]}]}}]}"#;
    let maps =
        "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {metadata: {name: m}, data: {k: v}}\n";
    let pieces = split(&[file("pods.json", pods), file("maps.yaml", maps)]);
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    assert_eq!(pieces[0].name.as_deref(), Some("a"));
    let parsed = parse(&pieces[0].definition, Strictness::Strict).unwrap();
    assert_eq!(parsed.spec.containers[0].env[0].name, "k");
    // From the scheduler, too; and what isn't a list is said.
    let one = pods.replace(r#","envFrom":[{"configMapRef":{"name":"m"}}]"#, "");
    let one = one.replace(
        ",\n            \"envFrom\":[{\"configMapRef\":{\"name\":\"m\"}}]",
        "",
    );
    assert!(parse(&one, Strictness::Lenient).is_ok(), "{one}");
    let wrong = split(&[file("x", "kind: PodList\nitems: 7\n")]);
    assert!(!wrong[0].faults.is_empty());
}

#[test]
fn other_kinds_are_faults_that_name_the_kind_and_the_mend() {
    let text = "kind: Deployment\n---\nkind: Service\n---\nkind: hunter2\n---\na: 1\n";
    let pieces = split(&[file("x.yaml", text), file("y.yaml", PLAIN)]);
    let faults: Vec<String> = pieces
        .iter()
        .flat_map(|p| p.faults.iter().map(Warning::to_string))
        .collect();
    assert_eq!(
        faults,
        [
            "document 1: kind is Deployment, which a node doesn't run: write its Pod template as a Pod",
            "document 2: kind is Service, which a node has no use for: leave it out",
            "document 3: kind is not a kind that riklet runs; it must be \"Pod\"",
            "document 4: kind is missing; it must be Pod, ConfigMap, Secret or List",
        ]
    );
    // The other file's Pod is there all the same.
    assert_eq!(pieces[4].name.as_deref(), Some("plain"));
    assert!(pieces[4].faults.is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_of_that_file_only() {
    let big = "x".repeat(MAX_BYTES + 1);
    let files = [
        file("a", "kind: [hunter2"),
        file("b", PLAIN),
        file("c", &big),
        file("d", "{\"kind\": hunter2}"),
        file("e", ""),
        file("f", "kind: List\nitems: 7\n"),
    ];
    let pieces = split(&files);
    let bad: Vec<&str> = pieces
        .iter()
        .filter(|p| !p.faults.is_empty())
        .map(|p| p.file.as_str())
        .collect();
    assert_eq!(bad, ["a", "c", "d", "f"]);
    assert!(!format!("{pieces:?}").contains("hunter2"));
    assert_eq!(pieces.iter().filter(|p| p.name.is_some()).count(), 1);
}

#[test]
fn of_two_documents_with_one_name_the_first_holds_and_the_second_is_a_fault() {
    let second = SETTINGS.replace("fast", "slow");
    let files = [
        file("a.yaml", &format!("{POD}---{LOGIN}")),
        file("b.yaml", SETTINGS),
        file("c.yaml", &second),
    ];
    let pieces = split(&files);
    assert_eq!(pieces.len(), 2);
    assert_eq!(
        pieces[1].faults[0].to_string(),
        "metadata.name is there already in b.yaml"
    );
    assert_eq!(pieces[1].file, "c.yaml");
    assert!(pieces[0].definition.contains("fast"));
}

#[test]
fn a_reference_to_nothing_is_a_fault_of_the_pod_with_its_path() {
    let pieces = split(&[file("a.yaml", POD)]);
    let error = parse(&pieces[0].definition, Strictness::Strict).unwrap_err();
    let paths: Vec<&str> = error.faults.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.containers[0].envFrom[0].configMapRef.name",
            "spec.containers[0].env[0].valueFrom.secretKeyRef.name",
        ]
    );
}
