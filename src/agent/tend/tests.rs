use super::Lull;

#[test]
fn memory_is_given_back_once_after_each_time_of_work() {
    let mut lull = Lull::default();
    let ticks = [3, 9, 9, 9, 9, 12, 12, 12];
    let given = ticks.map(|seq| lull.begins(seq));
    let expected = [false, false, true, false, false, false, true, false];
    assert_eq!(given, expected);
}
