{{/* What both programs read: a list is asked of servers that cannot stream one. */}}
{{- define "egret.reading" -}}
- apiGroups: [""]
  resources: [nodes, namespaces, pods, services]
  verbs: [list, watch]
- apiGroups: [egret.dev]
  resources: [egresspools, egresspolicies, clusteregresspolicies, egressaddresses, egressnodes, egressdialects]
  verbs: [list, watch]
- apiGroups: [crd.antrea.io]
  resources: [egresses, externalippools]
  verbs: [list, watch]
- apiGroups: [network.deckhouse.io]
  resources: [egressgateways, egressgatewaypolicies]
  verbs: [list, watch]
- apiGroups: [egress.loxilb.io]
  resources: [egresses]
  verbs: [list, watch]
{{- end }}
