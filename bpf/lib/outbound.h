/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* From a pod to the outside, on the pod's node: the decision. How the translated packet then leaves is send_out's
 * business alone, so that another way out (through the kernel's stack) is another case there. */
#pragma once
#include "classify.h"
#include "flow.h"
#include "icmp_error.h"
#include "mss.h"
#include "overlay.h"
#include "wire.h"

static __always_inline enum reason send_out(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					    const struct addr *src, const struct egress *egress)
{
	const struct node *node;

	switch (egress->path) {
	case PATH_WIRE:
		return to_wire(skb, p, src, egress->link);
	case PATH_OVERLAY:
		return to_node(skb, settings, &egress->gateway, VNI_TO_WIRE, SENT_OVERLAY);
	case PATH_LINK:
		node = bpf_map_lookup_elem(&nodes, &egress->gateway);
		return node && node->on_link ? to_neighbour(skb, settings, node, SENT_LINK) : DROP_NO_GATEWAY;
	}
	return DROP_NO_GATEWAY;
}

/* No flow yet. GO_ON when `flow` holds a new one. */
static __always_inline enum reason first_packet(const struct packet *p, const struct pod *pod, const struct flow_key *key,
						struct flow *flow)
{
	const struct addr *address;
	const struct egress *egress_entry;

	if (is_inside(&p->dst))
		return PASS_INSIDE;
	if (bpf_map_lookup_elem(&inbound, key))
		return PASS_REPLY;
	address = chosen_egress(p, pod->rules);
	if (!address)
		return PASS_ORDINARY;
	switch (p->kind) {
	case KIND_TCP:
		if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
			return DROP_NO_FLOW;
		break;
	case KIND_UDP:
	case KIND_ECHO_REQUEST:
		break;
	case KIND_ECHO_REPLY:
		return DROP_NO_FLOW;
	case KIND_FRAGMENT:
		return DROP_FRAGMENT;
	default:
		return DROP_PROTOCOL;
	}
	egress_entry = bpf_map_lookup_elem(&egress, address);
	if (!egress_entry)
		return DROP_EGRESS_GONE;
	if (egress_entry->path == PATH_NONE)
		return DROP_NO_GATEWAY;
	return open_flow(p, key, address, egress_entry, flow);
}

/* The pod complains about a packet that came back to one of its flows. */
static __always_inline enum reason pod_error(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					   const struct pod *pod)
{
	const struct egress *egress_entry;
	const struct flow *found;
	struct packet quoted = {};
	struct flow_key key = {};
	struct flow flow;
	enum reason reason;

	if (is_inside(&p->dst))
		return PASS_INSIDE;
	reason = read_quoted(skb, p, &quoted);
	if (reason != GO_ON)
		return reason;
	key.pod = quoted.dst;
	key.remote = quoted.src;
	key.pod_port = quoted.dport;
	key.remote_port = quoted.sport;
	key.protocol = quoted.protocol;
	if (bpf_map_lookup_elem(&inbound, &key))
		return PASS_REPLY;
	found = bpf_map_lookup_elem(&flows, &key);
	if (!found || !same(&quoted.dst, &p->src))
		return chosen_egress(p, pod->rules) ? DROP_ICMP_UNMATCHED : PASS_ORDINARY;
	flow = *found;
	egress_entry = bpf_map_lookup_elem(&egress, &flow.egress);
	if (!egress_entry)
		return DROP_EGRESS_GONE;
	if (p->ttl <= 1)
		return DROP_TTL;
	if (!age(skb, p) || !rewrite_quoted(skb, p, &quoted, DESTINATION, &flow.egress, flow.egress_port) ||
	    !rewrite_error(skb, p, SOURCE, &flow.egress))
		return DROP_KERNEL;
	return send_out(skb, p, settings, &flow.egress, egress_entry);
}

static __always_inline enum reason selected_pod(struct __sk_buff *skb, struct packet *p, const struct settings *settings,
						const struct pod *pod)
{
	const struct egress *egress_entry;
	struct flow_key key;
	struct flow *found, flow;
	enum reason reason = read_ports(skb, p);

	if (reason != GO_ON)
		return reason;
	if (p->kind == KIND_ICMP_ERROR)
		return pod_error(skb, p, settings, pod);
	flow_key_of(p, &key);
	found = bpf_map_lookup_elem(&flows, &key);
	if (found && has_ports(p)) {
		touch_flow(&key, found, p);
		flow = *found;
	} else {
		reason = first_packet(p, pod, &key, &flow);
		if (reason != GO_ON)
			return reason;
	}
	egress_entry = bpf_map_lookup_elem(&egress, &flow.egress);
	if (!egress_entry)
		return DROP_EGRESS_GONE;
	if (p->ttl <= 1)
		return DROP_TTL;
	clamp_mss(skb, p, settings);
	if (!age(skb, p) || !rewrite(skb, p, SOURCE, &flow.egress, flow.egress_port))
		return DROP_KERNEL;
	return send_out(skb, p, settings, &flow.egress, egress_entry);
}

static __always_inline enum reason pod_packet(struct __sk_buff *skb)
{
	const struct settings *settings = node_settings();
	const struct pod *pod;
	struct packet p = {};
	enum reason reason = read_addresses(skb, &p);

	if (reason != GO_ON)
		return reason;
	if (!settings)
		return DROP_KERNEL;
	pod = bpf_map_lookup_elem(&pods, &p.src);
	if (!pod)
		return stranger(&p, settings, DROP_UNKNOWN_POD);
	if (pod->link != skb->ifindex)
		return stranger(&p, settings, DROP_SPOOFED);
	if (!pod->rules)
		return PASS_UNSELECTED;
	return selected_pod(skb, &p, settings, pod);
}
