//! Configuration that changes while a run lasts: limits, vendors and customers that come, go, rest and come back. Single
//! thread; drawn anew with every reload.
//!
//! What is drawn is never wider than the scenario's own settings, so that what these allow is what the model allows. Those
//! who are new come in the scenario's order: a customer's or vendor's id is its number in every run.

use smpp_shards::Settings;
use smpp_shards::settings::{CustomerSettings, VendorSettings};

use crate::random::Stream;
use crate::scenario::Scenario;

/// Milliseconds between two changes, at least and at most.
const EVERY_MS: (u64, u64) = (30, 2_500);

/// That the configuration of a run changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LivePlan {
    /// Milliseconds between two changes.
    pub every_ms: u64,
    /// How many customers there are at first.
    pub customers: usize,
    /// How many vendors there are at first.
    pub vendors: usize,
}

impl LivePlan {
    /// A plan for so many customers and vendors.
    pub(crate) fn draw(customers: usize, vendors: usize, random: &mut Stream) -> Self {
        Self {
            every_ms: random.spread(EVERY_MS.0, EVERY_MS.1),
            customers: random.range(1, customers as u64) as usize,
            vendors: random.range(1, vendors as u64) as usize,
        }
    }

    /// What the first process of the run is started with.
    pub(crate) fn first(&self, scenario: &Scenario) -> Settings {
        let mut settings = scenario.settings.clone();
        settings.customers.truncate(self.customers);
        settings.vendors.truncate(self.vendors);
        fitting(settings)
    }

    /// What comes next.
    pub(crate) fn next(&mut self, scenario: &Scenario, random: &mut Stream) -> Settings {
        let (known_customers, known_vendors) = (self.customers, self.vendors);
        self.customers = (self.customers + usize::from(random.chance(300))).min(scenario.customers.len());
        self.vendors = (self.vendors + usize::from(random.chance(300))).min(scenario.vendors.len());
        let mut settings = scenario.settings.clone();
        settings.customers.truncate(self.customers);
        settings.vendors.truncate(self.vendors);
        let mut number = 0;
        settings.customers.retain_mut(|customer| {
            change_customer(customer, random);
            number += 1;
            random.chance(900) || number > known_customers
        });
        let mut number = 0;
        settings.vendors.retain_mut(|vendor| {
            change_vendor(vendor, random);
            number += 1;
            random.chance(850) || number > known_vendors
        });
        if random.chance(200) {
            let window = settings.gateway.deliver_window;
            settings.gateway.deliver_window = random.range(1, u64::from(window)) as u32;
        }
        fitting(settings)
    }
}

fn change_customer(customer: &mut CustomerSettings, random: &mut Stream) {
    customer.active = random.chance(900);
    customer.smpp_window = narrower(customer.smpp_window, 100, random);
    customer.smpp_throughput = narrower(customer.smpp_throughput, 400, random);
}

fn change_vendor(vendor: &mut VendorSettings, random: &mut Stream) {
    vendor.is_active = random.chance(850);
    vendor.binds = narrower(vendor.binds, vendor.binds, random);
    vendor.window_size = narrower(vendor.window_size, vendor.window_size, random);
    // Where there is a burst it is never more than before; and no slower than a look at idle vendors allows.
    if vendor.throughput > 20 && random.chance(300) {
        vendor.throughput = random.range(20, u64::from(vendor.throughput)) as u32;
        vendor.burst = vendor.burst.min(vendor.throughput);
    }
    if random.chance(150) {
        // Another port: bound anew, and found at the same place all the same.
        vendor.port += 1;
    }
}

/// No more than that limit, which 0 means is none.
fn narrower(limit: u32, most: u32, random: &mut Stream) -> u32 {
    let most = if limit == 0 { most } else { limit };
    if random.chance(300) { random.range(1, u64::from(most)) as u32 } else { limit }
}

/// Without rules and routes that name somebody who is not there.
fn fitting(mut settings: Settings) -> Settings {
    let (customers, vendors) = (&settings.customers, &settings.vendors);
    let has_customer = |name: &str| customers.iter().any(|customer| customer.smpp_system_id == name);
    let has_vendor = |name: &str| vendors.iter().any(|vendor| vendor.instance_name == name);
    settings.routing_rules.retain(|rule| has_vendor(&rule.vendor) && rule.customer.as_deref().is_none_or(has_customer));
    settings.inbound_routes.retain(|route| has_customer(&route.smpp_system_id));
    settings
}
