//! Numbers that a seed gives again.

/// A small generator.
pub struct Draw(pub u64);

impl Draw {
    /// One below the limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The same in each run; `RIKLET_SEED=n` draws others.
pub fn seed() -> u64 {
    let given = std::env::var("RIKLET_SEED");
    given.map_or(0x5eed, |text| text.parse().unwrap())
}
