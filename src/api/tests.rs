use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    model::fold::Fold,
    view::{Live, status},
};

/// A desk that writes down what it was asked.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Desk for Notes {
    async fn status(&self) -> Result<StatusView, DeskError> {
        Ok(status(&Fold::default(), &Live::default()))
    }

    async fn ps(&self) -> Result<Vec<PsRow>, DeskError> {
        Err(DeskError::Failed {
            tried: "cannot look".into(),
            source: "it is\ndark".into(),
        })
    }

    async fn describe(&self, instance: &str, _: Secrets) -> Result<DescribeView, DeskError> {
        Err(FindError::NotFound(instance.to_owned()).into())
    }

    async fn plan(&self, instance: Option<&str>) -> Result<PlanView, DeskError> {
        self.note(format!("plan {instance:?}"));
        Ok(PlanView::default())
    }

    async fn apply(&self, definition: &str) -> Result<Applied, DeskError> {
        self.note(format!("apply {definition}"));
        Ok(Applied {
            instance: "web@cli".into(),
            uid: "0123456789".into(),
            outcome: Outcome::Created,
            generation: 1,
            warnings: Vec::new(),
        })
    }

    async fn delete(&self, instance: &str, force: bool) -> Result<Deleted, DeskError> {
        self.note(format!("delete {instance} {force}"));
        Err(DeskError::Refused {
            reason: Reason::Forbidden,
            message: "it belongs to the scheduler: use --force".into(),
        })
    }

    async fn drain(&self) -> Result<Drained, DeskError> {
        Ok(Drained {
            drained: true,
            already: false,
        })
    }

    async fn uncordon(&self) -> Result<Drained, DeskError> {
        Err(DeskError::Busy("starting"))
    }

    async fn images(&self) -> Result<Vec<ImageRow>, DeskError> {
        Ok(Vec::new())
    }

    async fn pull_image(
        &self,
        image: &str,
        progress: mpsc::Sender<PullView>,
    ) -> Result<Pulling, DeskError> {
        self.note(format!("pull {image}"));
        let step = PullView {
            bytes: 7,
            ..PullView::default()
        };
        if image == "endless" {
            let _left = Left(self, "the pull was given up");
            return std::future::pending().await;
        }
        progress.send(step).await.unwrap();
        // Until it was read.
        progress
            .reserve_many(progress.max_capacity())
            .await
            .unwrap();
        Ok(Pulling::Done {
            digest: "sha256:00".into(),
            snapshot: "sha256-00".into(),
        })
    }

    async fn prune_images(&self, all: bool) -> Result<Pruned, DeskError> {
        self.note(format!("prune {all}"));
        Ok(Pruned::default())
    }

    async fn exec(&self, ask: ExecAsk) -> Result<Session, DeskError> {
        Err(DeskError::Unfit(format!("{} runs nothing", ask.instance)))
    }

    async fn repair(&self, accept: bool) -> Result<RepairView, DeskError> {
        self.note(format!("repair {accept}"));
        Ok(RepairView::default())
    }
}

/// Notes that it was dropped.
struct Left<'a>(&'a Notes, &'static str);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.note(self.1.to_owned());
    }
}

#[tokio::test]
async fn a_pull_says_its_steps_and_is_given_up_with_its_caller() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("riklet.sock");
    let served = served(&path);
    let mut client = Client::connect(&path).await.unwrap();
    let mut steps = Vec::new();
    let done = client.pull_image("app:1", |step| steps.push(step.clone()));
    let done = done.await.unwrap();
    assert!(
        matches!(&steps[0], Pulling::Progress(step) if step.bytes == 7),
        "{steps:?}"
    );
    assert_eq!(steps.last(), Some(&done));
    assert_eq!(client.prune_images(true).await.unwrap(), Pruned::default());

    let noted = |what: &str| {
        served
            .desk
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|note| note == what)
    };
    let pull = client.pull_image("endless", |_| {});
    tokio::select! {
        _ = pull => panic!("it has no end"),
        () = until(|| noted("pull endless")) => {}
    }
    until(|| noted("the pull was given up")).await;
    served.end.cancel();
    served.task.await.unwrap().unwrap();
}

async fn until(is: impl Fn() -> bool) {
    let looking = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    let within = std::time::Duration::from_secs(30);
    tokio::time::timeout(within, looking).await.unwrap();
}

struct Served {
    end: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
    desk: Arc<Notes>,
}

fn served(path: &Path) -> Served {
    let (desk, end) = (Arc::new(Notes::default()), CancellationToken::new());
    let socket = bind(path).unwrap();
    let task = tokio::spawn(serve(socket, desk.clone(), end.clone()));
    Served { end, task, desk }
}

#[tokio::test]
async fn requests_reach_the_desk_and_its_answers_and_refusals_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/riklet.sock");
    let served = served(&path);
    let mut client = Client::connect(&path).await.unwrap();
    assert_eq!(client.status().await.unwrap().instances.total, 0);
    assert_eq!(
        client.apply("{}".into()).await.unwrap().outcome,
        Outcome::Created
    );
    client.plan(None).await.unwrap();
    assert!(!client.repair(true).await.unwrap().accepted);
    client.plan(Some("web")).await.unwrap();
    assert!(client.drain().await.unwrap().drained);

    let error = client.describe("web", Secrets::Hidden).await.unwrap_err();
    assert!(matches!(error, ClientError::NotFound(_)), "{error}");
    let error = client.delete("web", true).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Forbidden: it belongs to the scheduler: use --force"
    );
    let error = client.ps().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot look: it is; dark");
    let error = client.uncordon().await.unwrap_err();
    assert!(matches!(error, ClientError::BrokeOff { .. }), "{error}");
    assert_eq!(
        *served.desk.0.lock().unwrap(),
        [
            "apply {}",
            "plan None",
            "repair true",
            "plan Some(\"web\")",
            "delete web true"
        ]
    );
    served.end.cancel();
    served.task.await.unwrap().unwrap();
    assert!(!path.exists());
    let error = Client::connect(&path).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }));
}

#[tokio::test]
async fn the_socket_is_for_nobody_else_and_a_stale_one_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/riklet.sock");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut first = bind(&path).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(matches!(bind(&path), Err(SocketError::InUse(_))));
    // The daemon is killed: its file stays, nobody answers.
    drop(first.listener.take());
    let second = bind(&path).unwrap();
    drop(first);
    assert!(path.exists(), "the second one's file is not the first's");
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_socket_is_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(&path), Err(SocketError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let long = dir.path().join("x".repeat(120));
    assert!(matches!(bind(&long), Err(SocketError::TooLong(_))));
}
