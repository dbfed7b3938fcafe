//! The API's description.

/// The OpenAPI document.
pub fn openapi() -> serde_json::Value {
    serde_json::json!({ "openapi": "3.1.0" })
}
