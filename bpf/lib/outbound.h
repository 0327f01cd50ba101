/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* From a pod to the outside, on the pod's node: whose packet is it, which flow, and what does it leave with? */
#pragma once
#include "classify.h"
#include "fragment.h"
#include "icmp_error.h"
#include "mss.h"
#include "way_out.h"

/* What a packet leaves with. */
struct source {
	struct addr addr;
	__be32 id;
	__be16 port;
};

/* No flow yet. GO_ON when there is a new one, and `source` is what it leaves with. */
__noinline int first_packet(struct __sk_buff *skb, const struct packet *p, const struct pod *pod, const struct flow_key *key,
			    struct source *source)
{
	const struct addr *address;
	int reason;

	if (!p || !pod || !key || !source)
		return DROP_KERNEL;
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
	default:
		return DROP_PROTOCOL;
	}
	source->addr = *address;
	reason = open_flow(skb, p, key, &source->addr, &source->port);
	if (reason == GO_ON)	/* told here: under it, the stack is full */
		tell_opened(key, &source->addr, source->port, skb->ifindex);
	return reason;
}

/* The pod complains about a packet that came back to one of its flows. GO_ON when `source` is what the complaint leaves
 * with. */
__noinline int pod_error(struct __sk_buff *skb, const struct packet *p, struct source *source)
{
	const struct flow *found;
	struct packet quoted = {};
	struct flow_key key = {};
	enum reason reason;

	if (!p || !source)
		return DROP_KERNEL;
	if (is_inside(&p->dst))
		return PASS_INSIDE;
	reason = read_quoted(skb, p, &quoted);
	if (reason != GO_ON)
		return reason;
	if (!same(&quoted.dst, &p->src))	/* another pod's business */
		return DROP_ICMP_UNMATCHED;
	key.pod = quoted.dst;
	key.remote = quoted.src;
	key.pod_port = quoted.dport;
	key.remote_port = quoted.sport;
	key.protocol = quoted.protocol;
	if (bpf_map_lookup_elem(&inbound, &key))
		return PASS_REPLY;
	found = bpf_map_lookup_elem(&flows, &key);
	if (!found || found->link != skb->ifindex)
		return DROP_ICMP_UNMATCHED;
	source->addr = found->egress;
	source->port = found->egress_port;
	source->id = p->id;
	return GO_ON;
}

/* A fragment without ports goes where its first one went. */
static __noinline enum reason later_fragment(const struct packet *p, struct source *source)
{
	const struct fragment *found;

	if (is_inside(&p->dst))
		return PASS_INSIDE;
	found = recall(p, FRAGMENT_OF_POD);
	if (!found)
		return DROP_FRAGMENT;
	if (found->passed)
		return found->passed;
	source->addr = found->to;
	source->id = found->id;
	return GO_ON;
}

/* The flow of a packet with ports, known or new. GO_ON when `source` is what it leaves with. */
static __always_inline enum reason flow_of(struct __sk_buff *skb, const struct packet *p, const struct pod *pod,
					   struct source *source)
{
	struct flow_key key;
	struct flow *found;

	source->id = fresh_id(p);
	flow_key_of(p, &key);
	found = bpf_map_lookup_elem(&flows, &key);
	if (found && found->link != pod->link) {	/* of a pod that had this address before */
		end_flow(&key, found, FLOW_ORPHANED);
		found = NULL;
	}
	if (found && has_ports(p)) {
		touch_flow(skb, &key, found, p);
		source->addr = found->egress;
		source->port = found->egress_port;
		return GO_ON;
	}
	return first_packet(skb, p, pod, &key, source);
}

__noinline int translate_error(struct __sk_buff *skb, const struct packet *p, const struct source *source)
{
	struct packet quoted = {};

	return p && source && read_quoted(skb, p, &quoted) == GO_ON && rewrite_quoted(skb, p, &quoted, DESTINATION, &source->addr, source->port) &&
	       rewrite_error(skb, p, SOURCE, &source->addr);
}

static __always_inline bool translate(struct __sk_buff *skb, const struct packet *p, const struct source *source)
{
	switch (p->kind) {
	case KIND_ICMP_ERROR:
		return translate_error(skb, p, source);
	case KIND_FRAGMENT:
		return rewrite_address(skb, p, SOURCE, &source->addr);
	default:
		return rewrite(skb, p, SOURCE, &source->addr, source->port);
	}
}

/* The packet has a flow: it is translated and sent, or its pod is told why not. */
static __always_inline enum reason depart(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					  const struct pod *pod, const struct source *source)
{
	const struct egress *egress_entry = bpf_map_lookup_elem(&egress, &source->addr);
	struct way way = {};
	enum reason reason;

	if (!egress_entry)
		return DROP_EGRESS_GONE;
	if (p->ttl <= 1)
		return tell_pod(skb, p, pod, DROP_TTL, 0);
	reason = find_way_out(skb, p, settings, &source->addr, egress_entry, &way);
	if (reason != GO_ON)
		return tell_pod(skb, p, pod, reason, way.mtu);
	remember(p, FRAGMENT_OF_POD, &source->addr, source->id, 0);
	clamp_mss(skb, p, settings);
	if (!age(skb, p) || !renumber(skb, p, source->id) || !translate(skb, p, source))
		return DROP_KERNEL;
	return send_out(skb, p, settings, egress_entry, &way);
}

static __always_inline enum reason selected_pod(struct __sk_buff *skb, struct packet *p, const struct settings *settings,
						const struct pod *pod)
{
	enum reason reason = read_ports(skb, p);
	struct source source = {};

	if (reason != GO_ON)
		return reason;
	switch (p->kind) {
	case KIND_ICMP_ERROR:
		reason = pod_error(skb, p, &source);
		break;
	case KIND_FRAGMENT:
		reason = later_fragment(p, &source);
		break;
	default:
		reason = flow_of(skb, p, pod, &source);
	}
	switch (reason) {
	case GO_ON:
		return depart(skb, p, settings, pod, &source);
	case PASS_REPLY:
	case PASS_ORDINARY:
		remember(p, FRAGMENT_OF_POD, NULL, 0, reason);
		return reason;
	case DROP_ICMP_UNMATCHED:
	case DROP_FRAGMENT:
		return chosen_egress(p, pod->rules) ? reason : PASS_ORDINARY;
	case DROP_NO_PORT:
	case DROP_PROTOCOL:
		return tell_pod(skb, p, pod, reason, 0);
	default:
		return reason;
	}
}

/* Whoever masquerades a pod towards nodes would make its node the sender of what it puts into the overlay. */
static __always_inline bool to_overlay_port(struct __sk_buff *skb, const struct packet *p, const struct settings *settings)
{
	__be16 *ports;

	if (p->protocol != IPPROTO_UDP || p->piece == LATER_FRAGMENT)
		return false;
	ports = bytes(skb, p->l4, 4);
	if (!ports || ports[1] != settings->overlay_port)
		return false;
	return same(&p->dst, &settings->underlay) || bpf_map_lookup_elem(&nodes, &p->dst);
}

/* People want to know what was refused, and path MTU discovery and traceroute are at work all the time. */
static __always_inline enum reason tell_if_refused(struct __sk_buff *skb, const struct packet *p, enum reason reason)
{
	if (reason > TOLD_TOO_BIG && reason < REASONS)
		tell_refused(p, skb->ifindex, reason);
	return reason;
}

static __always_inline enum reason known_packet(struct __sk_buff *skb, struct packet *p)
{
	const struct settings *settings = node_settings();
	const struct pod *pod;

	if (!settings)
		return DROP_KERNEL;
	if (to_overlay_port(skb, p, settings))
		return DROP_OVERLAY_PORT;
	pod = bpf_map_lookup_elem(&pods, &p->src);
	if (!pod)
		return stranger(p, settings, DROP_UNKNOWN_POD);
	if (pod->link != skb->ifindex)
		return stranger(p, settings, DROP_SPOOFED);
	if (!pod->rules)
		return PASS_UNSELECTED;
	return selected_pod(skb, p, settings, pod);
}

static __always_inline enum reason pod_packet(struct __sk_buff *skb)
{
	struct packet p = {};
	enum reason reason = read_addresses(skb, &p);

	if (reason != GO_ON)
		return reason;
	return tell_if_refused(skb, &p, known_packet(skb, &p));
}
