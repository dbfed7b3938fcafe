//! A picture of a console, as a file for the incident record.

use super::{
    failure,
    task::{Act, Task},
};
use mainstay_model::{Detail, FailureKind, Outcome, WorkloadId};

pub(super) async fn screenshot(task: &Task<'_>, workload: &WorkloadId) -> Act {
    let domain = task.expect(workload).await?;
    let picture = task.connection.screenshot(&domain, task.left()).await.map_err(failure::before)?;
    let extension = match picture.mime.as_str() {
        "image/png" => "png",
        "image/x-portable-pixmap" => "ppm",
        _ => "img",
    };
    // A domain's name may hold anything but a slash stays out of a file's name.
    let name = format!("{}-{}.{extension}", workload.as_str().replace('/', "_"), task.tools.clock.now().0);
    let path = task.tools.pictures.join(name);
    let written = async {
        tokio::fs::create_dir_all(&task.tools.pictures).await?;
        tokio::fs::write(&path, &picture.bytes).await
    };
    let failed = |error| Outcome::failed(FailureKind::Other, format!("{} can't be written: {error}", path.display()));
    written.await.map_err(failed)?;
    Ok(Detail::File(path.display().to_string()))
}
