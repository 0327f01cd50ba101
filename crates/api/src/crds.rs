//! The CustomResourceDefinitions, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use crate::antrea::{Egress, ExternalIPPool};
use crate::deckhouse::{EgressGateway, EgressGatewayPolicy};
use crate::loxilb;
use crate::{ClusterEgressPolicy, EgressAddress, EgressDialect, EgressNode, EgressPolicy, EgressPool};

/// Every definition: Egret's own kinds, then the dialects'.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        EgressPool::crd(),
        EgressPolicy::crd(),
        ClusterEgressPolicy::crd(),
        EgressAddress::crd(),
        EgressNode::crd(),
        EgressDialect::crd(),
        also_served(Egress::crd(), "v1alpha2"),
        also_served(ExternalIPPool::crd(), "v1alpha2"),
        EgressGateway::crd(),
        EgressGatewayPolicy::crd(),
        loxilb::Egress::crd(),
    ];
    for version in all.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            name_operators(schema);
            flow(schema);
        }
    }
    all
}

/// Descriptions come with the line breaks of the source; who prints them breaks lines for their own width.
fn flow(schema: &mut JSONSchemaProps) {
    if let Some(text) = &mut schema.description {
        *text = text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(flow);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        flow(items);
    }
}

/// Label selectors come from a type that leaves the operator open; the API server can tell a slip at once.
fn name_operators(schema: &mut JSONSchemaProps) {
    let properties = schema.properties.get_or_insert_default();
    if properties.contains_key("operator") && properties.contains_key("values") {
        let operators = ["In", "NotIn", "Exists", "DoesNotExist"];
        if let Some(operator) = properties.get_mut("operator") {
            operator.enum_ = Some(operators.map(|name| JSON(name.into())).into());
        }
    }
    properties.values_mut().for_each(name_operators);
    if properties.is_empty() {
        schema.properties = None;
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        name_operators(items);
    }
}

/// The same schema under an older name, so that manifests of both versions apply.
fn also_served(mut crd: CustomResourceDefinition, version: &str) -> CustomResourceDefinition {
    if let Some(mut older) = crd.spec.versions.first().cloned() {
        older.name = version.to_owned();
        older.storage = false;
        crd.spec.versions.push(older);
    }
    crd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialect_is_served_in_both_versions_and_stored_in_one() {
        let all = crds();
        let egress = all.iter().find(|c| c.spec.names.plural == "egresses").unwrap();
        let versions: Vec<_> =
            egress.spec.versions.iter().map(|v| (v.name.as_str(), v.served, v.storage)).collect();
        assert_eq!(versions, [("v1beta1", true, true), ("v1alpha2", true, false)]);
        assert_eq!(egress.spec.scope, "Cluster");
    }

    #[test]
    fn every_kind_that_is_no_part_of_kubernetes_has_a_definition() {
        let defined: Vec<(String, String)> =
            crds().into_iter().map(|c| (c.spec.group, c.spec.names.kind)).collect();
        for kind in crate::Kind::ALL.iter().filter(|kind| kind.api_versions() != ["v1"]) {
            let (group, _) = kind.api_versions()[0].split_once('/').unwrap();
            let wanted = (group.to_owned(), kind.in_manifests().to_owned());
            assert!(defined.contains(&wanted), "{kind:?}");
        }
    }

    #[test]
    fn bounds_reach_the_schema() {
        let text = serde_json::to_string(&crds()).unwrap();
        assert!(text.contains("\"maximum\":8192") || text.contains("\"maximum\":8192.0"));
    }

    #[test]
    fn timeouts_and_the_share_of_a_pod_have_their_bounds_and_defaults_in_the_schema() {
        let pool = serde_json::to_value(EgressPool::crd()).unwrap();
        let spec =
            &pool["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let timeouts = &spec["timeouts"]["properties"];
        for (name, least, most, usual) in [
            ("tcpEstablished", 7440, 604_800, 7440),
            ("tcpTransitory", 240, 604_800, 240),
            ("tcpClosed", 1, 240, 2),
            ("udp", 120, 604_800, 300),
            ("icmp", 60, 604_800, 60),
        ] {
            let field = &timeouts[name];
            let bounds = [&field["minimum"], &field["maximum"]].map(|bound| bound.as_f64());
            assert_eq!(bounds, [least, most].map(|bound| Some(f64::from(bound))), "{name}: {field}");
            assert_eq!(field["default"], usual, "{name}: {field}");
        }
        let share = &spec["ports"]["properties"]["podShare"];
        assert_eq!(
            (&share["enum"], &share["default"]),
            (&serde_json::json!([1, 2, 4, 8]), &2.into()),
            "{share}"
        );
    }
}
