//! Images for other disks than that of the operating system.
//!
//! People write one as `RULE=IMAGE`: the rule for the disk as for the disk of the operating system
//! ([`crate::os_disk`]), and behind the last `=` the image's id, a start of it, or its name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::ImageId;
use crate::os_disk::{OsDiskRule, OsDiskRuleError};
use crate::root_size::RootSize;

/// How many disks of one node may get an image beside the operating system's (every table is bounded).
pub const DATA_IMAGES_MAX: usize = 16;

/// An image for a data disk. It is written when the disk holds nobody's data, and never over data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataImage {
    /// Which disk. When an image is written it must name exactly one that is not the operating system's.
    pub disk: OsDiskRule,
    /// The image; it has no root.
    pub image: ImageId,
    /// The smallest disk that the image fits on, in bytes.
    pub image_disk_bytes: u64,
    /// How large its last partition becomes.
    #[serde(default, skip_serializing_if = "RootSize::is_grow")]
    pub last_partition: RootSize,
}

/// An image for a data disk, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataImageRequest {
    /// Which disk.
    pub disk: OsDiskRule,
    /// The image: id, start of one, or name.
    pub image: String,
    /// How large its last partition becomes.
    #[serde(default, skip_serializing_if = "RootSize::is_grow")]
    pub last_partition: RootSize,
}

/// Why images for data disks are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataImageError {
    /// There is no `=`, or nothing on one side of it.
    #[error("{text:?} says no disk and image; write RULE=IMAGE, such as nvme,largest=scratch")]
    Form {
        /// The text, cut to a length that can be shown.
        text: String,
    },
    /// The rule is none.
    #[error(transparent)]
    Rule(#[from] OsDiskRuleError),
    /// Too many at once.
    #[error("{count} images for data disks are more than the {DATA_IMAGES_MAX} that a node may have")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// The same rule twice.
    #[error("the rule {rule} stands there twice; each data disk gets one image")]
    Twice {
        /// Which, as people write it.
        rule: String,
    },
    /// The rule is the one for the operating system.
    #[error("the rule {rule} is the one for the disk of the operating system; name a data disk")]
    OsDisk {
        /// Which, as people write it.
        rule: String,
    },
}

/// Refuses what cannot be meant, whatever disks a node has. Which disks the rules name is seen when a plan
/// is made.
///
/// # Errors
/// [`DataImageError`], for the first rule that is wrong.
pub fn check_data_images(images: &[DataImage], os_disk: &OsDiskRule) -> Result<(), DataImageError> {
    if images.len() > DATA_IMAGES_MAX {
        return Err(DataImageError::TooMany { count: images.len() });
    }
    for (at, one) in images.iter().enumerate() {
        one.disk.check()?;
        if &one.disk == os_disk {
            return Err(DataImageError::OsDisk { rule: one.disk.to_string() });
        }
        if images.iter().take(at).any(|other| other.disk == one.disk) {
            return Err(DataImageError::Twice { rule: one.disk.to_string() });
        }
    }
    Ok(())
}

impl FromStr for DataImageRequest {
    type Err = DataImageError;

    fn from_str(text: &str) -> Result<Self, DataImageError> {
        let form = || DataImageError::Form { text: text.chars().take(80).collect() };
        let (rule, image) = text.rsplit_once('=').ok_or_else(form)?;
        if rule.trim().is_empty() || image.trim().is_empty() {
            return Err(form());
        }
        let disk: OsDiskRule = rule.parse()?;
        Ok(Self { disk, image: image.trim().to_owned(), last_partition: RootSize::Grow })
    }
}

impl fmt::Display for DataImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.disk, self.image)?;
        if self.last_partition.is_grow() {
            return Ok(());
        }
        write!(f, " (last partition: {})", self.last_partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    fn data(rule: &str) -> DataImage {
        DataImage {
            disk: rule.parse().unwrap(),
            image: ImageId(Digest([7; 32])),
            image_disk_bytes: 1 << 30,
            last_partition: RootSize::Grow,
        }
    }

    #[test]
    fn a_rule_and_an_image_are_read_apart_at_the_last_sign() {
        for (text, rule, image) in [
            ("nvme,largest=scratch", "nvme,largest", "scratch"),
            ("serial=S 1=scratch", "serial=S 1", "scratch"),
            ("nvme-eui.1= 3f2a ", "nvme-eui.1", "3f2a"),
            ("at-least=1T,rotating=data 1", "rotating,at-least=1T", "data 1"),
        ] {
            let read: DataImageRequest = text.parse().unwrap();
            assert_eq!((read.disk.to_string().as_str(), read.image.as_str()), (rule, image), "{text}");
            assert_eq!(read.last_partition, RootSize::Grow);
        }
        for wrong in ["", "=", "nvme", "nvme=", "=scratch", "serial=X", "sdb=scratch", "blue=scratch"] {
            assert!(wrong.parse::<DataImageRequest>().is_err(), "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_typed_is_read_or_refused_and_reads_back(
            text in "(nvme|ata|serial=|,|largest|=|at-least=1G|[a-z0-9 =,é]){0,8}",
        ) {
            if let Ok(read) = text.parse::<DataImageRequest>() {
                let again: DataImageRequest = format!("{}={}", read.disk, read.image).parse().unwrap();
                proptest::prop_assert_eq!(read, again);
            }
        }
    }

    #[test]
    fn no_rule_stands_twice_or_is_the_operating_system_s() {
        let os_disk: OsDiskRule = "nvme,smallest".parse().unwrap();
        let check = |rules: &[&str]| {
            let images: Vec<DataImage> = rules.iter().map(|rule| data(rule)).collect();
            check_data_images(&images, &os_disk)
        };
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["nvme,largest", "smallest", "serial=X"]), Ok(()));
        assert!(matches!(check(&["largest", "serial=X", "largest"]), Err(DataImageError::Twice { .. })));
        assert!(matches!(check(&["largest", "nvme,smallest"]), Err(DataImageError::OsDisk { .. })));
        let kernel_name = DataImage { disk: OsDiskRule::Disk("sdb".parse().unwrap()), ..data("largest") };
        assert!(matches!(check_data_images(&[kernel_name], &os_disk), Err(DataImageError::Rule(_))));
        let many: Vec<String> = (0..=DATA_IMAGES_MAX).map(|at| format!("serial={at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(check(&many), Err(DataImageError::TooMany { count: DATA_IMAGES_MAX + 1 }));
        assert_eq!(check(&many[1..]), Ok(()));
    }

    #[test]
    fn it_is_shown_as_it_was_given() {
        let mut one = data("nvme,largest");
        assert_eq!(one.to_string(), format!("nvme,largest={}", one.image));
        one.last_partition = RootSize::Image;
        assert!(one.to_string().ends_with(" (last partition: image)"));
        let carried = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<DataImage>(&carried).unwrap(), one);
    }
}
