//! What kube-vip, and Egret in its place, tells of a Service in annotations.

/// The node that holds the Service's address.
pub const VIP_HOST: &str = "kube-vip.io/vipHost";
/// An IPv4 address of a pod that leaves by the Service's address.
pub const ACTIVE_ENDPOINT: &str = "kube-vip.io/active-endpoint";
/// The same of IPv6.
pub const ACTIVE_ENDPOINT_V6: &str = "kube-vip.io/active-endpoint-ipv6";

/// Every annotation that tells instead of asking.
pub const TOLD: [&str; 3] = [VIP_HOST, ACTIVE_ENDPOINT, ACTIVE_ENDPOINT_V6];
