//! Pods that have more to them than containers, as definitions.

/// What a pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An init container, a sidecar, an init container; one main container.
    Inits,
    /// Every probe and every hook; a sidecar with a startup probe.
    Probes,
    /// A port of the node that is the instance's own.
    OwnPort,
    /// A port of the node that others want, too.
    SharedPort,
    /// An init container, a sidecar and two main ones.
    Job,
    /// A sidecar and a main container; a volume with a limit of 1 KiB.
    Bounded,
}

impl Shape {
    /// Those of which several may be on a node.
    pub const ANY: [Self; 4] = [Self::Inits, Self::Probes, Self::OwnPort, Self::Job];
}

fn exec(word: &str) -> String {
    format!(r#""exec":{{"command":["{word}"]}}"#)
}

fn probe(name: &str, word: &str) -> String {
    let exec = exec(word);
    format!(r#""{name}":{{{exec},"periodSeconds":10,"failureThreshold":2}}"#)
}

fn container(name: &str, tag: u32, more: &str) -> String {
    format!(r#"{{"name":"{name}","image":"image-{tag}"{more}}}"#)
}

/// A definition's text.
pub(super) fn definition(id: u8, policy: &str, shape: Shape, tag: u32) -> String {
    let sidecar = |more: &str| {
        let more = format!(r#","restartPolicy":"Always"{more}"#);
        container("side", tag, &more)
    };
    let port = |port: u32| {
        let more = format!(r#","ports":[{{"containerPort":80,"hostPort":{port}}}]"#);
        container("web", tag, &more)
    };
    let init = |name| container(name, tag, "");
    let plain = || container("main", tag, "");
    let (inits, mains) = match shape {
        Shape::Inits => (
            vec![init("first"), sidecar(""), init("last")],
            vec![plain()],
        ),
        Shape::Job => (
            vec![init("first"), sidecar("")],
            vec![plain(), container("other", tag, "")],
        ),
        Shape::Bounded => (vec![sidecar("")], vec![plain()]),
        Shape::Probes => {
            let hooks = format!(
                r#""lifecycle":{{"postStart":{{{}}},"preStop":{{{}}}}}"#,
                exec("post"),
                exec("pre")
            );
            let all = [
                probe("startupProbe", "up"),
                probe("livenessProbe", "live"),
                probe("readinessProbe", "ready"),
                hooks,
            ];
            let main = container("main", tag, &format!(",{}", all.join(",")));
            let side = sidecar(&format!(",{}", probe("startupProbe", "up")));
            (vec![side], vec![main])
        }
        Shape::OwnPort => (Vec::new(), vec![port(8_000 + u32::from(id))]),
        Shape::SharedPort => (Vec::new(), vec![port(9_000)]),
    };
    // Some have ids of their own, which nobody else may have.
    let users = match shape {
        Shape::Job | Shape::Probes => r#""hostUsers":false,"#,
        _ => "",
    };
    let volumes = match shape {
        Shape::Bounded => r#"{"name":"v","emptyDir":{"sizeLimit":"1Ki"}}"#,
        _ => "",
    };
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"i{id}"}},"spec":{{{users}"volumes":[{volumes}],"restartPolicy":"{policy}","terminationGracePeriodSeconds":7,"initContainers":[{}],"containers":[{}]}}}}"#,
        inits.join(","),
        mains.join(",")
    )
}
