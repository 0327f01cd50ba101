//! Taking a datapath out of the kernel. Nothing is loaded or read for that, so it can be the work of any version.

use std::fs;
use std::io;
use std::path::Path;

use crate::attach::{Attach, Attachments};
use crate::error::DatapathError;
use crate::{guard, links, load, overlay, reserved};

/// Takes everything out of the kernel: attachments, maps with all flows, the overlay device, the guard. What is not
/// there is removed already. Must be called on a tokio runtime, in the node's network namespace.
///
/// # Errors
/// When `pin_dir` is no place for pins, or the kernel refuses; what was removed until then stays so.
pub async fn remove(pin_dir: &Path, overlay: &str) -> Result<(), DatapathError> {
    // Directories below it are removed whole: they must be ours.
    if pin_dir.exists() {
        load::check_file_system(pin_dir)?;
    }
    let handle = links::connect()?;
    let filters = links::filters::find(&handle).await?;
    let mut attachments = Attachments::new(pin_dir, Attach::Auto, filters);
    let attached = attachments.attached();
    for (link, role) in &attached {
        attachments.detach(*link, *role)?;
    }
    let links = attached.into_iter().map(|(link, _)| link).collect();
    links::filters::remove_empty(&handle, &links).await?;
    overlay::remove(&handle, overlay).await?;
    guard::remove()?;
    reserved::release(pin_dir)?;
    for directory in [load::maps_dir(pin_dir), load::links_dir(pin_dir)] {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DatapathError::io(directory.display().to_string())(error));
            }
            _ => {}
        }
    }
    Ok(())
}
