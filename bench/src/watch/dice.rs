/// Numbers that a seed alone decides (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of its own for a part of the world: what another part draws changes nothing here.
    pub(super) fn part(&mut self) -> Self {
        Self(self.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// From `least` to `most`, both of them too.
    pub(super) fn between(&mut self, least: i64, most: i64) -> i64 {
        least + (self.share() * (most - least + 1) as f64) as i64
    }

    /// As [`Self::between`], small numbers as likely as large ones by their order of magnitude.
    pub(super) fn about(&mut self, least: f64, most: f64) -> f64 {
        (least.ln() + self.share() * (most / least).ln()).exp()
    }

    /// How often something happens that does so `mean` times on average (Knuth).
    pub(super) fn times(&mut self, mean: f64) -> i64 {
        let limit = (-mean).exp();
        let (mut times, mut product) = (0, self.share());
        while product > limit && times < 1_000 {
            times += 1;
            product *= self.share();
        }
        times
    }

    /// A spread around one: a factor.
    pub(super) fn factor(&mut self, spread: f64) -> f64 {
        let sum: f64 = (0..12).map(|_| self.share()).sum();
        ((sum - 6.0) * spread).exp()
    }

    pub(super) fn uuid(&mut self) -> uuid::Uuid {
        let (high, low) = (self.next(), self.next());
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            .into_uuid()
    }

    pub(super) fn network(&mut self) -> String {
        let octets = [
            self.between(1, 223),
            self.between(0, 255),
            self.between(0, 255),
        ];
        octets.map(|octet| octet.to_string()).join(".")
    }
}
