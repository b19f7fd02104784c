//! Images for data disks: which image is meant, and whether it may be on one.

use contract::assignment::Assignment;
use contract::data_image::{DataImage, DataImageRequest, check_data_images};
use contract::id::ImageId;
use imaging::layout::{check_data_image, minimum_data_disk_bytes};
use imaging::manifest::Manifest;

use crate::refusal::Refusal;
use crate::service::Service;

impl Service {
    /// The images that a technician means for data disks, each of them without a system.
    ///
    /// # Errors
    /// If there is no such image, or one of them is none for a data disk.
    pub async fn data_images(
        &self,
        connection: &mut sqlx::AnyConnection,
        asked: Vec<DataImageRequest>,
    ) -> Result<Vec<DataImage>, Refusal> {
        let mut images = Vec::with_capacity(asked.len());
        for DataImageRequest { disk, image, last_partition } in asked {
            let image = self.image_by_reference(connection, &image).await?.id;
            let manifest = self.stored_manifest(image).await?;
            check_data_image(&manifest).map_err(|error| {
                Refusal::bad_request(error.to_string(), "list the images (`reprieve image list`)")
            })?;
            let image_disk_bytes = minimum_data_disk_bytes(&manifest);
            images.push(DataImage { disk, image, image_disk_bytes, last_partition });
        }
        Ok(images)
    }

    async fn stored_manifest(&self, image: ImageId) -> Result<Manifest, Refusal> {
        let path = self.images.manifest_path(image);
        let key = self.authority.image_key.verifying_key();
        let opened = tokio::task::spawn_blocking(move || {
            let sealed = std::fs::read(&path).map_err(|error| error.to_string())?;
            imaging::signed::open(&sealed, &key, image).map_err(|error| error.to_string())
        });
        let opened = opened.await.map_err(Refusal::internal)?;
        opened
            .map_err(|why| Refusal::internal(format!("could not read the manifest of image {image}: {why}")))
    }
}

/// Refuses rules for data disks that cannot all be meant.
///
/// # Errors
/// Names the rule.
pub fn check_rules(assignment: &Assignment) -> Result<(), Refusal> {
    check_data_images(&assignment.data_images, &assignment.os_disk)
        .map_err(|refused| Refusal::bad_request(refused.to_string(), "look at the node's disks"))
}
