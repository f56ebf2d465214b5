use super::*;

#[test]
fn links_are_not_followed_out_of_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/b"), [0; 10]).unwrap();
    let link = dir.path().join("a/c");
    std::os::unix::fs::symlink("/usr", &link).unwrap();
    let own = link.symlink_metadata().unwrap().len();
    assert_eq!(size(dir.path()), (10 + own, 3));
    assert_eq!(size(&dir.path().join("missing")), (0, 0));
}

#[tokio::test]
async fn what_grows_is_not_stalled_and_what_stands_still_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let limit = Duration::from_millis(400);
    let began = Instant::now();
    let grow = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        for n in 0..20 {
            tick.tick().await;
            fs::write(path.join("f"), vec![0; n]).unwrap();
        }
    };
    let (grown, ()) = tokio::join!(
        async {
            stalled(path.clone(), limit).await;
            began.elapsed()
        },
        grow
    );
    assert!(grown >= Duration::from_millis(950) + limit, "{grown:?}");
}
