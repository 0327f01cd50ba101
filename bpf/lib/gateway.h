/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A gateway: who may send as an egress address, and whose its answers are. Nothing here is remembered. */
#pragma once
#include "inbound.h"
#include "overlay.h"
#include "wire.h"

/* The node that leases this port; NULL if nobody does. */
static __always_inline const struct addr *leaseholder(const struct addr *egress, const struct served *served, __be16 port)
{
	struct lease_key key = { .egress = *egress, .block = bpf_ntohs(port) >> (served->shift & 15) };

	return bpf_map_lookup_elem(&leases, &key);
}

/* The egress port of a packet that leaves: its source port, or, of an error, the port it complains to. */
static __always_inline enum reason leaving_port(struct __sk_buff *skb, const struct packet *p, __be16 *port)
{
	struct packet quoted = {};

	switch (p->kind) {
	case KIND_TCP:
	case KIND_UDP:
	case KIND_ECHO_REQUEST:
		*port = p->sport;
		return GO_ON;
	case KIND_ICMP_ERROR:
		if (read_quoted(skb, p, &quoted) != GO_ON || !same(&quoted.dst, &p->src))
			return DROP_ICMP_UNMATCHED;
		*port = quoted.dport;
		return GO_ON;
	}
	return DROP_FOREIGN_INNER;
}

/* The egress port of a packet that comes back. */
static __always_inline enum reason returning_port(struct __sk_buff *skb, const struct packet *p, __be16 *port)
{
	struct packet quoted = {};

	switch (p->kind) {
	case KIND_TCP:
	case KIND_UDP:
	case KIND_ECHO_REPLY:
		*port = p->dport;
		return GO_ON;
	case KIND_ICMP_ERROR:
		if (read_quoted(skb, p, &quoted) != GO_ON || !same(&quoted.src, &p->dst))
			return DROP_ICMP_UNMATCHED;
		*port = quoted.sport;
		return GO_ON;
	case KIND_FRAGMENT:
		return DROP_FRAGMENT;
	}
	return DROP_NO_LEASE;
}

/* From a source node to the outside. */
static __always_inline enum reason forward_out(struct __sk_buff *skb, const struct packet *p, const struct addr *node)
{
	const struct served *served_entry = bpf_map_lookup_elem(&served, &p->src);
	const struct addr *owner;
	enum reason reason;
	__be16 port;

	if (!served_entry)
		return DROP_NOT_SERVED;
	reason = leaving_port(skb, p, &port);
	if (reason != GO_ON)
		return reason;
	owner = leaseholder(&p->src, served_entry, port);
	if (!owner || !same(owner, node))
		return DROP_NOT_LEASED;
	if (p->ttl <= 1)
		return DROP_TTL;
	if (!age(skb, p))
		return DROP_KERNEL;
	return to_wire(skb, p, &p->src, served_entry->wire);
}

/* From the outside to an egress address. */
static __always_inline enum reason steer_back(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					      const struct served *served_entry)
{
	const struct addr *owner;
	const struct node *node;
	enum reason reason;
	struct addr to;
	__be16 port;

	reason = returning_port(skb, p, &port);
	if (reason != GO_ON)
		return reason;
	owner = leaseholder(&p->dst, served_entry, port);
	if (!owner)
		return DROP_NO_LEASE;
	to = *owner;
	if (same(&to, &settings->underlay))
		return to_pod_of_flow(skb, p, settings);
	if (p->ttl <= 1)
		return DROP_TTL;
	if (!age(skb, p))
		return DROP_KERNEL;
	node = bpf_map_lookup_elem(&nodes, &to);
	if (node && node->on_link && node->direct)
		return to_neighbour(skb, settings, node, SENT_NODE_LINK);
	return to_node(skb, settings, &to, VNI_TO_POD, SENT_NODE);
}
