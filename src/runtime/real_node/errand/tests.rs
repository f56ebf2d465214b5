use super::{MOST, done};

#[test]
fn what_an_errand_says_is_cut_at_a_character() {
    let long = "ä".repeat(MOST);
    let said = done(long).message;
    assert_eq!((said.len(), said.chars().count()), (MOST, MOST / 2));
    assert_eq!(
        done("x".to_owned() + &"ä".repeat(MOST)).message.len(),
        MOST - 1
    );
}
