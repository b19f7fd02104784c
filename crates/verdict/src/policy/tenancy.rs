//! `[tenancy]`: what data are worth, and how thoroughly they are made unreadable before somebody else gets
//! the machine.

use std::collections::{BTreeMap, BTreeSet};

use contract::assignment::DataOwner;
use contract::decision::SanitizeLevel;
use contract::id::TenantId;
use serde::{Deserialize, Serialize};

use super::section::{BadValue, section};

/// How many tenants may be named.
const TENANTS_MAX: usize = 10_000;

/// What data are worth to whom they belong. Ordered from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DataClass {
    Public,
    Internal,
    Confidential,
    Regulated,
}

impl DataClass {
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Regulated => "regulated",
        }
    }
}

section!(
    /// Whose data are of which class, and what each class demands.
    TenancyPolicy, TenancyFragment {
        default_class: DataClass,
        classes: BTreeMap<TenantId, DataClass>,
        public_level: SanitizeLevel,
        internal_level: SanitizeLevel,
        confidential_level: SanitizeLevel,
        regulated_level: SanitizeLevel,
        media_stay: BTreeSet<DataClass>,
    } also ordered
);

fn ordered(tenancy: &TenancyPolicy) -> Result<(), BadValue> {
    if tenancy.classes.len() > TENANTS_MAX {
        return Err(BadValue::new("classes", format!("names more than {TENANTS_MAX} tenants")));
    }
    let levels = [
        ("internal_level", tenancy.public_level, tenancy.internal_level),
        ("confidential_level", tenancy.internal_level, tenancy.confidential_level),
        ("regulated_level", tenancy.confidential_level, tenancy.regulated_level),
    ];
    for (key, milder, level) in levels {
        if level < milder {
            return Err(BadValue::new(key, "is milder than the level of the class before it"));
        }
    }
    Ok(())
}

impl TenancyPolicy {
    /// The class of these data. Data whose owner nobody knows may be anybody's, so they are of the highest
    /// class that anybody here has.
    pub fn class_of(&self, owner: &DataOwner) -> DataClass {
        match owner {
            DataOwner::Tenant(tenant) => self.classes.get(tenant).copied().unwrap_or(self.default_class),
            DataOwner::Nobody => self.default_class,
            DataOwner::Unknown => self.classes.values().copied().fold(self.default_class, DataClass::max),
        }
    }

    /// Whether media with these data stay at the site until they are sanitized. Data whose owner nobody knows
    /// stay if data of anybody here do, and nobody's need not.
    pub fn media_stay(&self, owner: &DataOwner) -> bool {
        let stays = |class| self.media_stay.contains(&class);
        match owner {
            DataOwner::Tenant(_) => stays(self.class_of(owner)),
            DataOwner::Unknown => stays(self.default_class) || self.classes.values().copied().any(stays),
            DataOwner::Nobody => false,
        }
    }

    /// The least level to which data of a class are sanitized.
    pub fn level_of(&self, class: DataClass) -> SanitizeLevel {
        match class {
            DataClass::Public => self.public_level,
            DataClass::Internal => self.internal_level,
            DataClass::Confidential => self.confidential_level,
            DataClass::Regulated => self.regulated_level,
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::assignment::Floor;
    use contract::decision::{Action, Confidentiality};

    use super::*;
    use crate::policy::Policy;
    use crate::testing::Case;

    const CLASSES: &str = "[tenancy]\nclasses = { bank = \"regulated\", blog = \"public\" }\n";

    fn owner(name: &str) -> DataOwner {
        DataOwner::Tenant(name.parse().unwrap())
    }

    #[test]
    fn the_class_of_the_data_decides_the_level_and_unknown_data_are_of_the_highest() {
        let policy = Policy::parse(CLASSES).unwrap();
        let table = [
            (owner("bank"), "regulated", SanitizeLevel::Purge),
            (owner("blog"), "public", SanitizeLevel::Clear),
            (owner("other"), "internal", SanitizeLevel::Clear),
            (DataOwner::Unknown, "regulated", SanitizeLevel::Purge),
            (DataOwner::Nobody, "internal", SanitizeLevel::Clear),
        ];
        for (owner, class, level) in table {
            assert_eq!(
                (policy.data_class(&owner), policy.sanitize_level(&owner)),
                (class, level),
                "{owner:?}"
            );
        }
        // What every change of tenant demands counts besides.
        let more =
            Policy::parse(&format!("{CLASSES}[confidentiality]\ntenant_change_level = \"purge\"\n")).unwrap();
        assert_eq!(more.sanitize_level(&owner("blog")), SanitizeLevel::Purge);
        let default = Policy::parse("").unwrap();
        assert_eq!(default.sanitize_level(&DataOwner::Unknown), SanitizeLevel::Clear);
    }

    #[test]
    fn the_verdict_demands_the_level_of_the_class_and_a_request_cannot_lower_it() {
        let level = |of: DataOwner| {
            let case = Case::healthy().policy(CLASSES).context(|context| {
                context.data_owner = of;
                context.floor = Some(Floor::Wipe);
                context.sanitize_level = Some(SanitizeLevel::Clear);
            });
            assert_eq!(case.action(), Action::Wipe);
            match case.judge().confidentiality {
                Confidentiality::Sanitize { level, .. } => level,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(level(owner("bank")), SanitizeLevel::Purge);
        assert_eq!(level(owner("blog")), SanitizeLevel::Clear);
    }

    #[test]
    fn classes_that_contradict_their_order_and_names_that_are_none_are_refused() {
        let cases = [
            ("[tenancy]\npublic_level = \"purge\"\n", "internal_level"),
            ("[tenancy]\nregulated_level = \"clear\"\nconfidential_level = \"purge\"\n", "regulated_level"),
            ("[tenancy]\nclasses = { \"a b\" = \"public\" }\n", "classes"),
            ("[tenancy]\nclasses = { a = \"regulatet\" }\n", "classes"),
            ("[tenancy]\nmedia_stay = [\"regulatet\"]\n", "media_stay"),
        ];
        for (text, key) in cases {
            let error = Policy::parse(text).unwrap_err();
            assert!(error.key == key, "{error}");
        }
    }
}
