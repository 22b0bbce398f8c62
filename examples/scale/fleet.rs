//! The fleet that is assumed, and who uses what in it.

/// What is assumed.
pub(crate) struct Fleet {
    pub(crate) integrations: usize,
    pub(crate) regions: usize,
    pub(crate) callers: usize,
    /// Broker processes in each region, in three zones.
    pub(crate) processes: usize,
    /// Integrations of one org.
    pub(crate) per_org: usize,
    /// How often a caller asks, in seconds.
    pub(crate) asks_every: f64,
}

pub(crate) const FLEET: Fleet =
    Fleet { integrations: 100_000, regions: 50, callers: 1_000_000, processes: 3, per_org: 20, asks_every: 60.0 };

/// One integration in use.
pub(crate) struct Used {
    /// How many callers it has.
    pub(crate) callers: u32,
    /// In which regions they are, a bit each.
    regions: u64,
}

impl Used {
    /// In how many regions it is used.
    pub(crate) fn regions(&self) -> u64 {
        u64::from(self.regions.count_ones())
    }
}

/// Gives each caller one integration and one region. The n-th integration is wanted in proportion to 1/√n: a few by
/// thousands, many by one or two.
pub(crate) fn draw(fleet: &Fleet) -> Vec<Used> {
    let mut all: Vec<Used> = (0..fleet.integrations).map(|_| Used { callers: 0, regions: 0 }).collect();
    let mut random = Random(8);
    for _ in 0..fleet.callers {
        let place = random.fraction();
        let integration = (place * place * fleet.integrations as f64) as usize;
        let region = (random.fraction() * fleet.regions as f64) as u32;
        if let Some(used) = all.get_mut(integration) {
            used.callers += 1;
            used.regions |= 1 << region;
        }
    }
    all.retain(|used| used.callers > 0);
    all
}

/// `SplitMix64`: the same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
