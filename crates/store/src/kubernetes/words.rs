//! What an API server's refusals mean, in words.

use std::error::Error;

use crate::StoreError;

/// The code of the server's answer, if it answered.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// The same may well succeed when it is tried again.
pub(crate) fn is_passing(error: &kube::Error) -> bool {
    // A server calls it its own fault that its definition lacks a field.
    let lasting = error.to_string().contains(super::pruned::UNDECLARED);
    !lasting && code(error).is_none_or(|code| code == 409 || code == 429 || code >= 500)
}

/// A write that failed.
pub(crate) fn refused(action: &'static str, object: String, error: &kube::Error) -> StoreError {
    let cure = match code(error) {
        Some(401) => "the token is not accepted; the service account may have been replaced",
        Some(403) if error.to_string().contains("definition is terminating") => {
            "its definition is being removed; it is tried again"
        }
        Some(403) => "grant it to this process's service account",
        Some(404) => "install the definitions: `egret crds | kubectl apply --server-side -f -`",
        Some(409) => "another process changed it at the same time; it is tried again",
        Some(422) => {
            "the definitions may be of another version: `egret crds | kubectl apply --server-side -f -`"
        }
        Some(_) => "it is tried again",
        None => "the API server does not answer; it is tried again",
    };
    StoreError::Api { action, object, words: chain(error), cure }
}
