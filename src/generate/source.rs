//! What each source system asks its customers for, and how carefully it is entered.

/// How often a source has each value, and in what state; every rate is a probability.
pub(super) struct SourceProfile {
    /// The source's name.
    pub(super) name: &'static str,
    /// Of 100 records of a member of the loyalty programme, how many are of this source.
    pub(super) weight_of_member: u32,
    /// The same of anyone else.
    pub(super) weight_of_other: u32,
    pub(super) given: f64,
    pub(super) family: f64,
    pub(super) email: f64,
    pub(super) phone: f64,
    pub(super) birth_date: f64,
    /// The whole address.
    pub(super) address: f64,
    /// The ZIP code where the whole address is missing.
    pub(super) postcode: f64,
    /// The loyalty number, given that the person has one.
    pub(super) loyalty: f64,
    /// An order number of its own.
    pub(super) order: f64,
    /// The given name is written as the initial.
    pub(super) initial: f64,
    pub(super) upper_case: f64,
    pub(super) lower_case: f64,
    /// A name is written in its own letters where it has any.
    pub(super) native: f64,
    pub(super) junk_name: f64,
    pub(super) junk_email: f64,
    pub(super) junk_phone: f64,
    pub(super) shop_value: f64,
    /// Birth dates are written `MM/DD/YYYY` in place of `YYYY-MM-DD`.
    pub(super) american_date: f64,
    /// How a typist's error rates compare with the usual ones.
    pub(super) carelessness: f64,
}

/// Position of each source in [`SOURCES`]: in the order of their names.
pub(super) const CDP: usize = 0;
pub(super) const ECOMMERCE: usize = 1;
pub(super) const LOYALTY: usize = 2;
pub(super) const POS: usize = 3;

/// The four sources, in the order of their names.
pub(super) const SOURCES: [SourceProfile; 4] = [
    SourceProfile {
        name: "cdp",
        weight_of_member: 14,
        weight_of_other: 20,
        given: 0.79,
        family: 0.75,
        email: 0.91,
        phone: 0.51,
        birth_date: 0.26,
        address: 0.22,
        postcode: 0.5,
        loyalty: 0.35,
        order: 0.0,
        initial: 0.012,
        upper_case: 0.003,
        lower_case: 0.01,
        native: 0.5,
        junk_name: 0.002,
        junk_email: 0.004,
        junk_phone: 0.004,
        shop_value: 0.0,
        american_date: 0.04,
        carelessness: 0.7,
    },
    SourceProfile {
        name: "ecommerce",
        weight_of_member: 30,
        weight_of_other: 43,
        given: 0.99,
        family: 0.99,
        email: 0.99,
        phone: 0.79,
        birth_date: 0.12,
        address: 0.95,
        postcode: 0.97,
        loyalty: 0.225,
        order: 0.55,
        initial: 0.012,
        upper_case: 0.005,
        lower_case: 0.15,
        native: 0.6,
        junk_name: 0.001,
        junk_email: 0.004,
        junk_phone: 0.008,
        shop_value: 0.0,
        american_date: 0.05,
        carelessness: 1.0,
    },
    SourceProfile {
        name: "loyalty",
        weight_of_member: 27,
        weight_of_other: 0,
        given: 0.99,
        family: 0.99,
        email: 0.77,
        phone: 0.85,
        birth_date: 0.76,
        address: 0.82,
        postcode: 0.9,
        loyalty: 0.985,
        order: 0.0,
        initial: 0.011,
        upper_case: 0.01,
        lower_case: 0.002,
        native: 0.35,
        junk_name: 0.001,
        junk_email: 0.01,
        junk_phone: 0.008,
        shop_value: 0.004,
        american_date: 0.9,
        carelessness: 0.9,
    },
    SourceProfile {
        name: "pos",
        weight_of_member: 29,
        weight_of_other: 37,
        given: 0.86,
        family: 0.9,
        email: 0.5,
        phone: 0.66,
        birth_date: 0.035,
        address: 0.18,
        postcode: 0.57,
        loyalty: 0.5,
        order: 0.0,
        initial: 0.14,
        upper_case: 0.3,
        lower_case: 0.004,
        native: 0.0,
        junk_name: 0.012,
        junk_email: 0.05,
        junk_phone: 0.035,
        shop_value: 0.03,
        american_date: 0.1,
        carelessness: 1.35,
    },
];
