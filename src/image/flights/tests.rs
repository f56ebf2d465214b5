use std::{sync::atomic::AtomicUsize, time::Duration};

use tokio::sync::Notify;

use super::*;

const BOUND: Duration = Duration::from_secs(5);

#[tokio::test]
async fn ten_waiters_share_one_piece_of_work() {
    let flights = Flights::<u32>::default();
    let begun = Arc::new(AtomicUsize::new(0));
    let go = Arc::new(Notify::new());
    let join = || {
        let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
        flights.join("k", move |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            async move {
                go.notified().await;
                7
            }
        })
    };
    let mut all: Vec<_> = (0..10).map(|_| Box::pin(join())).collect();
    for one in &mut all {
        assert!(tokio::time::timeout(Duration::ZERO, one).await.is_err());
    }
    drop(all.pop());
    go.notify_one();
    for one in all {
        assert_eq!(tokio::time::timeout(BOUND, one).await.unwrap(), Some(7));
    }
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    assert!(lock(&flights.board).is_empty());
}

#[tokio::test]
async fn the_work_is_told_when_its_last_waiter_is_gone_and_a_newcomer_begins_anew() {
    let flights = Flights::<u32>::default();
    let told = Arc::new(Notify::new());
    let tell = Arc::clone(&told);
    let mut first = Box::pin(flights.join("k", move |cancel| async move {
        cancel.cancelled().await;
        tell.notify_one();
        1
    }));
    assert!(
        tokio::time::timeout(Duration::ZERO, &mut first)
            .await
            .is_err()
    );
    drop(first);
    let second = flights.join("k", |_| async { 2 });
    assert_eq!(tokio::time::timeout(BOUND, second).await.unwrap(), Some(2));
    tokio::time::timeout(BOUND, told.notified()).await.unwrap();
}

#[tokio::test]
async fn work_that_panics_leaves_nobody_waiting() {
    let flights = Flights::<u32>::default();
    let panics = flights.join("k", |_| async { panic!("as the test wants") });
    assert_eq!(tokio::time::timeout(BOUND, panics).await.unwrap(), None);
    assert_eq!(flights.join("k", |_| async { 3 }).await, Some(3));
}
