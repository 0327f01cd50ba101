//! Follows the store on a thread of its own: reading a large directory, or much that a server tells at once, must hold
//! up nothing else.

use egret_store::{Changes, Store};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Tells each change until nobody listens any more.
pub(crate) fn follow<S: Store + 'static>(mut store: S, batches: mpsc::UnboundedSender<Changes>) {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            loop {
                let changes = store.changes().await;
                for problem in &changes.problems {
                    // The controller tells people; here it is for those who look for the reason on this node.
                    tracing::debug!("{problem}");
                }
                if batches.send(changes).is_err() {
                    return;
                }
            }
        });
    });
}
