//! The difficulties that are built into the data, so that they can be counted.

/// One kind of difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Trap {
    /// Person: a brother or sister was born the same day.
    Twin,
    /// Person: father or son of a namesake in the same household.
    FatherAndSon,
    /// Person: unrelated bearer of a name that others of the neighbourhood have too, often in the same city.
    Namesake,
    /// Person: moved while records were written.
    Move,
    /// Person: changed the family name while records were written.
    Marriage,
    /// Person: has more than one e-mail address.
    SeveralEmails,
    /// Person: has a second loyalty card.
    SecondCard,
    /// Person: the name has letters outside ASCII.
    AccentedName,
    /// Person: the name is written in another script than the Latin one.
    NonLatinName,
    /// Person: lives with others of another family name.
    Flatmate,
    /// Record: states the address from before a move.
    OldAddress,
    /// Record: states the family name from before the marriage.
    FormerName,
    /// Record: states the e-mail address of the family or of another of its members.
    FamilyEmail,
    /// Record: states the landline number of the household or the number of another member.
    FamilyPhone,
    /// Record: states the loyalty number of another member's card.
    LentCard,
    /// Record: a typing error in a name, address or e-mail address.
    TypingError,
    /// Record: a name written as it sounds.
    PhoneticSpelling,
    /// Record: a nickname in place of the given name.
    Nickname,
    /// Record: the given name is its initial only.
    Initial,
    /// Record: a middle initial stands with the given name.
    MiddleInitial,
    /// Record: a generational suffix stands with the family name.
    Suffix,
    /// Record: given and family name in each other's place.
    SwappedNames,
    /// Record: written in upper case or in lower case only.
    LetterCase,
    /// Record: white space before, after or doubled within a value.
    WhiteSpace,
    /// Record: a wrong digit in the phone number.
    PhoneDigit,
    /// Record: a wrong digit in the loyalty number.
    LoyaltyDigit,
    /// Record: a wrong digit in the ZIP code.
    PostcodeDigit,
    /// Record: a ZIP code of nine digits.
    PostcodePlusFour,
    /// Record: day and month of the birth date in each other's place.
    DayMonthSwap,
    /// Record: a birth date on the first of January that stands for a year alone.
    JanuaryFirst,
    /// Record: a wrong digit in the birth year.
    WrongYear,
    /// Record: an e-mail address that stands for none.
    JunkEmail,
    /// Record: a phone number that stands for none.
    JunkPhone,
    /// Record: a name that stands for none.
    JunkName,
    /// Record: a birth date that stands for none.
    JunkBirthDate,
    /// Record: the phone number of the shop in place of the customer's.
    ShopPhone,
    /// Record: the e-mail address of the shop in place of the customer's.
    ShopEmail,
    /// Record: something bought online and brought back to a shop; the order number and little else.
    StoreReturn,
    /// Record: a later signal changed what an earlier one had said.
    LaterChange,
    /// Record: at least one of its signals is a snapshot.
    Snapshot,
}

impl Trap {
    /// Every trap, in the order of declaration.
    pub const ALL: [Self; 40] = [
        Self::Twin,
        Self::FatherAndSon,
        Self::Namesake,
        Self::Move,
        Self::Marriage,
        Self::SeveralEmails,
        Self::SecondCard,
        Self::AccentedName,
        Self::NonLatinName,
        Self::Flatmate,
        Self::OldAddress,
        Self::FormerName,
        Self::FamilyEmail,
        Self::FamilyPhone,
        Self::LentCard,
        Self::TypingError,
        Self::PhoneticSpelling,
        Self::Nickname,
        Self::Initial,
        Self::MiddleInitial,
        Self::Suffix,
        Self::SwappedNames,
        Self::LetterCase,
        Self::WhiteSpace,
        Self::PhoneDigit,
        Self::LoyaltyDigit,
        Self::PostcodeDigit,
        Self::PostcodePlusFour,
        Self::DayMonthSwap,
        Self::JanuaryFirst,
        Self::WrongYear,
        Self::JunkEmail,
        Self::JunkPhone,
        Self::JunkName,
        Self::JunkBirthDate,
        Self::ShopPhone,
        Self::ShopEmail,
        Self::StoreReturn,
        Self::LaterChange,
        Self::Snapshot,
    ];

    /// The name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Twin => "twin",
            Self::FatherAndSon => "father_and_son",
            Self::Namesake => "namesake",
            Self::Move => "move",
            Self::Marriage => "marriage",
            Self::SeveralEmails => "several_emails",
            Self::SecondCard => "second_card",
            Self::AccentedName => "accented_name",
            Self::NonLatinName => "non_latin_name",
            Self::Flatmate => "flatmate",
            Self::OldAddress => "old_address",
            Self::FormerName => "former_name",
            Self::FamilyEmail => "family_email",
            Self::FamilyPhone => "family_phone",
            Self::LentCard => "lent_card",
            Self::TypingError => "typing_error",
            Self::PhoneticSpelling => "phonetic_spelling",
            Self::Nickname => "nickname",
            Self::Initial => "initial",
            Self::MiddleInitial => "middle_initial",
            Self::Suffix => "suffix",
            Self::SwappedNames => "swapped_names",
            Self::LetterCase => "letter_case",
            Self::WhiteSpace => "white_space",
            Self::PhoneDigit => "phone_digit",
            Self::LoyaltyDigit => "loyalty_digit",
            Self::PostcodeDigit => "postcode_digit",
            Self::PostcodePlusFour => "postcode_plus_four",
            Self::DayMonthSwap => "day_month_swap",
            Self::JanuaryFirst => "january_first",
            Self::WrongYear => "wrong_year",
            Self::JunkEmail => "junk_email",
            Self::JunkPhone => "junk_phone",
            Self::JunkName => "junk_name",
            Self::JunkBirthDate => "junk_birth_date",
            Self::ShopPhone => "shop_phone",
            Self::ShopEmail => "shop_email",
            Self::StoreReturn => "store_return",
            Self::LaterChange => "later_change",
            Self::Snapshot => "snapshot",
        }
    }
}

/// A set of traps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrapSet(u64);

impl TrapSet {
    /// Adds one trap.
    pub fn insert(&mut self, trap: Trap) {
        self.0 |= 1 << trap as u8;
    }

    /// Adds all traps of another set.
    pub fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether the trap is in the set.
    pub fn contains(self, trap: Trap) -> bool {
        self.0 & (1 << trap as u8) != 0
    }

    /// The traps of the set, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Trap> {
        Trap::ALL
            .into_iter()
            .filter(move |trap| self.contains(*trap))
    }
}
